"""From a kernel message to a packet that does not arrive, over veth between namespaces."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Place

from backends.nftables.backend import Nftables
from reconciler import Desired
from reconciler.detection.policy import Policy
from reconciler.execute import run
from reconciler.host.netns import Wire
from reconciler.passes.enforce import Goal, State, enforce
from reconciler.passes.scan import Scanner
from reconciler.planning.desired import desired
from reconciler.store.store import open_store
from sources.file import Settings
from sources.file.source import File

Cable = Callable[..., Wire]
MARTIAN = r"""
[[rule]]
name = "martian"
pattern = 'IPv4: martian source \S+ from (?P<address>\S+), on dev host0'
confirm = "never"
"""
OFFENDER = "198.51.100.77"
OTHER = "203.0.113.5"


def apply(state: Desired) -> None:
    """Make nftables hold the state."""
    [outcome] = enforce({"nftables": Nftables}, Goal(lambda: state), check=False)
    assert outcome.state is State.CHANGED, outcome.error


def limits(switch: str) -> None:
    """Let the kernel refuse packets from where it would not send any, and tell, or stop that."""
    for setting in ("all/log_martians", "all/rp_filter", "host0/rp_filter"):
        Path(f"/proc/sys/net/ipv4/conf/{setting}").write_text(switch)


@pytest.mark.kmsg
def test_a_genuine_kernel_record_becomes_a_dropped_packet(
    kmsg: Callable[[str], None], wire: Cable, place: Place
) -> None:
    """By a rule of the administrator's own; the kernel itself writes the record that it matches."""
    place.configure(MARTIAN + '[policy]\nmode = "observe"\n')
    cable = wire(OFFENDER, OTHER)
    assert place.treason("scan").code == 0  # what was there before, of anybody's tests
    place.configure(MARTIAN)
    limits("1")
    run(["ip", "route", "del", "default", "dev", "host0"])
    run(["ip", "route", "add", "192.0.2.0/24", "dev", "host0"])
    for _ in range(20):  # the kernel limits how often it tells; it does tell within seconds
        cable.arriving([OFFENDER])
        result = place.treason("scan")
        assert result.code == 0, result.err
        if "0 new bans" not in result.out:
            break
        threading.Event().wait(0.5)
    listed = place.treason("list").out.split("\t")
    assert (listed[0], listed[3]) == (OFFENDER, "martian")
    assert listed[4].startswith(f"IPv4: martian source 192.0.2.1 from {OFFENDER}, on dev host0")
    limits("0")
    run(["ip", "route", "add", "default", "dev", "host0"])
    everybody = [OFFENDER, OTHER]
    assert cable.arriving(everybody) == {OFFENDER, OTHER}
    assert place.treason("reconcile", "--no-scan").code == 0
    assert cable.arriving(everybody) == {OTHER}
    assert place.treason("teardown").code == 0
    assert cable.arriving(everybody) == {OFFENDER, OTHER}


def test_an_ipv6_peer_in_a_log_becomes_a_dropped_packet(wire: Cable, tmp_path: Path) -> None:
    """The kernel prints eight full groups; the packet comes from the address they mean."""
    cable = wire("2001:db8:bad::1", "2001:db8:bad::2", OTHER)
    log = tmp_path / "log"
    peer = "2001:0db8:0bad:0000:0000:0000:0000:0001"
    log.write_text(f"Peer {peer}:4638/443 unexpectedly shrunk window 1:2 (repaired)\n")
    with open_store(tmp_path / "db", write=True) as store:
        scanner = Scanner(store, Policy(), 1_000_000, write=True)
        list(scanner.scan({"file": lambda: File(Settings(str(log), trusted=True))}))
        banned, _ = store.bans.networks(1_000_000)
    everybody = ["2001:db8:bad::1", "2001:db8:bad::2", OTHER]
    assert cable.arriving(everybody) == set(everybody)
    apply(desired(banned, []))
    assert cable.arriving(everybody) == {"2001:db8:bad::2", OTHER}
