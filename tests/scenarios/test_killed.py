"""Killed at any moment of a large change: one pass mends it; what is not ours is untouched."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from harness import Place

from reconciler.execute import run

Nft = Callable[..., str]

ENTRIES = 20_000
MOMENTS = 20

BACKENDS = {
    "nftables": "",
    "ipset": "",
    "ipset-legacy": '[backend.ipset]\nvariant = "legacy"',
    "iptables-nft": '[backend.iptables]\nvariant = "nft"',
    "iptables-legacy": '[backend.iptables]\nvariant = "legacy"',
    "file": "",
}

FOREIGN = """\
*filter
:OTHER - [0:0]
-A INPUT -s 203.0.113.1/32 -m comment --comment "not ours" -j OTHER
-A OTHER -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
"""


def strangers(legacy: bool) -> Callable[[], list[str]]:
    """Make a table, a set and rules of somebody else's, and give what reads them."""
    run(["nft", "add table inet other; add set inet other s { type ipv4_addr; }"])
    run(["nft", "add element inet other s { 10.0.0.1 }"])
    run(["ipset", "create", "other", "hash:ip"])
    run(["ipset", "add", "other", "10.0.0.1"])
    kind = "legacy" if legacy else "nft"
    run([f"iptables-{kind}-restore", "--noflush"], given=FOREIGN)

    def read() -> list[str]:
        rules = run([f"iptables-{kind}-save"]).output.splitlines()
        return [
            run(["nft", "-a", "list", "table", "inet", "other"]).output,
            run(["ipset", "save", "other"]).output,
            *(line for line in rules if "OTHER" in line),
        ]

    return read


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_one_pass_mends_what_a_killed_one_left(backend: str, place: Place, nft: Nft) -> None:
    """Twenty moments, from nothing and from a wholly other state; all networks are held then."""
    spec = f"file:{place.path}/list" if backend == "file" else backend.partition("-")[0]
    place.configure(BACKENDS[backend], main=f'backends = ["{spec}"]\nsources = ["file"]')
    read = strangers("legacy" in backend)
    before = read()
    seed = random.randrange(1 << 32)  # noqa: S311 - moments, no secrets
    moments = random.Random(seed)  # noqa: S311
    logs = [place.path / "one.log", place.path / "other.log"]
    line = "TCP: Treason uncloaked! Peer {}.0.{}.{}:1/2 shrinks window 3:4. Repaired.\n"
    for number, log in enumerate(logs):
        log.write_text("".join(line.format(11 + number, i >> 8, i & 255) for i in range(ENTRIES)))
        place.treason("scan", "--source", f"file:{log}")
        place.database.rename(log.with_suffix(".db"))
    taking = ("--force", "--adopt") if backend == "file" else ("--force",)
    _use(place, 0)
    start = time.monotonic()
    _killed(place, 60, *taking, group=True)
    whole = time.monotonic() - start
    for turn in range(MOMENTS):
        if turn % 3 == 0:
            assert place.treason("teardown").code == 0
        _use(place, turn % 2)
        moment = moments.uniform(0.1, whole * 1.5)
        _killed(place, moment, *taking, group=turn % 4 < 2)
        told = f"seed {seed}, turn {turn}, after {moment:.3f} s of {whole:.3f} s"
        result = place.treason("reconcile", "--no-scan", *taking)
        assert result.code == 0, (told, result.err)
        check = place.treason("reconcile", "--check", "--no-scan")
        assert (check.code, check.err) == (0, ""), told
        assert read() == before, told
    assert len(place.treason("export", "--observed").json["backends"][spec]["banned"]) == ENTRIES


def _use(place: Place, number: int) -> None:
    """Put one of the two databases in place."""
    name = ("one", "other")[number]
    place.database.write_bytes((place.path / f"{name}.db").read_bytes())
    place.database.chmod(0o600)


def _killed(place: Place, moment: float, *taking: str, group: bool) -> None:
    """Kill a pass after some seconds, with the programs that it runs or without them."""
    process = place.start("reconcile", "--no-scan", *taking)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
