"""Commands beside the real daemon, on a real firewall: at once, and against nothing of its own."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

from harness import Place
from residents import busy, configure, drops, in_force, listed, running, told, until

from reconciler import Network

Nft = Callable[..., str]


def pending(place: Place) -> int:
    """Return how many networks are in force and not stored yet, as the status tells."""
    return int(told(place)["pending"])


@contextmanager
def watched() -> Iterator[list[str]]:
    """Gather what is removed from our sets, by whomever."""
    found: list[str] = []
    command = ["nft", "monitor", "destroy", "elements"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as monitor:
        yield found
        monitor.terminate()
        found += [line for line in monitor.communicate()[0].splitlines() if "inet treason" in line]


def test_many_bans_and_a_network_around_them_are_in_force_at_once(place: Place, host: None) -> None:
    """A thousand addresses by the reflexes; what takes more than adding, by a pass."""
    configure(place)
    many = place.path / "many"
    addresses = [str(IPv4Address("198.51.100.0") + number) for number in range(1000)]
    many.write_text("\n".join(addresses))
    with running(place):
        result = place.treason("ban", "--file", str(many))
        assert result.out.endswith("in force: nftables\n")
        assert drops(*addresses)
        assert place.treason("ban", "198.51.100.0/24").code == 0
        assert Network.parse("198.51.100.0/24") in in_force()
        result = place.treason("reconcile", "--no-scan", "--check", "--full")
        assert (result.code, result.out) == (0, "nftables: in sync\n")


def test_a_long_list_is_in_force_at_once(place: Place, host: None) -> None:
    """Of so much no change is noted; what replaces it removes the others as soon, and no more."""
    configure(place)
    many = [str(IPv4Address("11.0.0.1") + 2 * number) for number in range(21_000)]
    path = place.path / "hostile.txt"
    place.treason("ban", "192.0.2.7")
    with running(place):
        for addresses in (many, many[:9]):
            path.write_text("\n".join(addresses))
            result = place.treason("import", str(path), "--replace", "hostile")
            assert (result.code, result.out.splitlines()[1:]) == (0, ["in force: nftables"])
            assert {str(each) for each in in_force()} == {"192.0.2.7", *addresses}
        result = place.treason("reconcile", "--no-scan", "--check", "--full")
        assert (result.code, result.out) == (0, "nftables: in sync\n")


def test_what_cannot_be_stored_stays_in_force(place: Place, host: None) -> None:
    """The database is locked: who offends is dropped at once and stays so; then it is stored."""
    configure(place)
    place.treason("ban", "192.0.2.7")
    with running(place) as daemon:
        with busy(place):
            daemon.offend("203.0.113.5")
            until(lambda: drops("203.0.113.5"))
            assert pending(place) == 1, (place.treason("status").out, daemon.error, listed(place))
            for words in (("--check",), ()):
                result = place.treason("reconcile", "--no-scan", "--full", *words)
                assert result.out == "nftables: in sync\n"
                assert drops("192.0.2.7", "203.0.113.5")
        until(lambda: pending(place) == 0)
        assert listed(place) == {"192.0.2.7", "203.0.113.5"}
        assert place.treason("reconcile", "--no-scan", "--full").code == 0
        assert drops("192.0.2.7", "203.0.113.5")


def test_passes_by_hand_while_offenders_come_remove_nothing(place: Place, nft: Nft) -> None:
    """Not for a moment, also when nothing can be stored in between; and all is stored then."""
    configure(place)
    place.treason("ban", "192.0.2.7")
    peers = [f"203.0.{number}.5" for number in range(120)]
    with running(place) as daemon, watched() as removed:
        for start in range(0, len(peers), 40):
            daemon.offend(*peers[start : start + 20])
            passing = place.start("reconcile", "--no-scan", "--full")
            daemon.offend(*peers[start + 20 : start + 30])
            if start == 40:
                passing.wait(30)
                with busy(place):
                    daemon.offend(*peers[start + 30 : start + 40])
                    place.treason("reconcile", "--no-scan", "--full")
            else:
                daemon.offend(*peers[start + 30 : start + 40])
            passing.wait(30)
        until(lambda: drops(*peers))
        until(lambda: pending(place) == 0)
    assert removed == []
    assert listed(place) == {"192.0.2.7", *peers}


def test_under_attack_commands_have_their_way(place: Place, host: None) -> None:
    """Hundreds of offenders a second: what is unbanned or whitelisted is let through."""
    configure(place)
    place.treason("ban", "192.0.2.7", "192.0.2.8")
    stopped = threading.Event()

    def attack() -> None:
        for number in range(20_000):
            if stopped.wait(0.003):
                break
            daemon.offend(f"203.0.{number >> 8}.{number & 255}")

    with running(place) as daemon:
        attacking = threading.Thread(target=attack)
        attacking.start()
        try:
            until(lambda: drops("203.0.0.1"))
            assert place.treason("reconcile", "--no-scan", "--full").code == 0
            assert place.treason("unban", "192.0.2.7").out.endswith("in force: nftables\n")
            assert place.treason("whitelist", "add", "192.0.2.8").code == 0
            assert not drops("192.0.2.7")
            assert not drops("192.0.2.8")
        finally:
            stopped.set()
            attacking.join()


def test_beside_a_daemon_that_is_stopped_nothing_is_removed(place: Place, host: None) -> None:
    """And all is put right once it goes on."""
    configure(place)
    place.treason("ban", "192.0.2.7")
    with running(place) as daemon:
        daemon.send(signal.SIGSTOP)
        assert place.treason("unban", "192.0.2.7").code == 1
        result = place.treason("reconcile", "--no-scan")
        assert result.code == 1
        assert f"the daemon (process {daemon.process.pid}) does not answer" in result.err
        assert drops("192.0.2.7")
        daemon.send(signal.SIGCONT)
        assert place.treason("unban", "192.0.2.7").code == 0
        assert not in_force()


def test_after_a_kill_the_next_daemon_takes_the_socket(place: Place, host: None) -> None:
    """Meanwhile commands work as without one."""
    configure(place)
    with running(place) as daemon:
        daemon.kill()
        result = place.treason("ban", "192.0.2.8")
        assert (result.code, result.out) == (0, "192.0.2.8: banned permanently\n")
    with running(place):
        assert drops("192.0.2.8")
        assert place.treason("ban", "192.0.2.9").out.endswith("in force: nftables\n")
