"""A fleet of real processes: hosts with a firewall, a daemon and a feed's process each.

What is dropped is what the kernel says, in the network namespace of each host.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from attrs import define
from fleetplaces import Fleet, Member, until
from harness import Result
from postgres import needed
from proxies import Proxy
from residents import Resident, in_force, running

from reconciler.host.netns import Namespace

pytestmark = needed

TOLD = 'publish = ["manual", "treason-uncloaked"]\nrefresh = "2s"'


@define(eq=False)
class Host:
    """A machine of the fleet."""

    member: Member
    namespace: Namespace
    daemon: Resident
    feed: "subprocess.Popen[bytes]"

    @property
    def errors(self) -> Path:
        """What its feed's process prints."""
        return self.member.place.path / "feed.err"

    @property
    def said(self) -> str:
        """What its feed's process and its daemon have said."""
        return self.errors.read_text() + self.daemon.error

    def dropped(self) -> set[str]:
        """Return what its kernel drops."""
        with self.namespace.entered():
            return {*map(str, in_force())}

    def does(self, *arguments: str) -> Result:
        """Run a command on it."""
        with self.namespace.entered():
            result = self.member.place.treason(*arguments)
        assert result.code == 0, result
        return result


@contextmanager
def hosts(fleet: Fleet, *ways: Proxy | None) -> Iterator[list[Host]]:
    """Start hosts, which connect by these ways."""
    with ExitStack() as stack:
        yield [_host(fleet, stack, number, way) for number, way in enumerate(ways)]


def _host(fleet: Fleet, stack: ExitStack, number: int, way: Proxy | None) -> Host:
    """Start one."""
    member = fleet.add(f"web{number}", home=way.directory if way else None)
    member.resides(TOLD)
    namespace = Namespace()
    stack.callback(namespace.close)
    with namespace.entered():
        daemon = stack.enter_context(running(member.place))
    made = Host(member, namespace, daemon, _feed(member))
    stack.callback(lambda: _end(made))
    return made


def _feed(member: Member) -> "subprocess.Popen[bytes]":
    """Start a feed's process; by its directory of sockets it connects from anywhere."""
    command = [sys.executable, "-P", "-m", "reconciler", "--config", str(member.place.config)]
    with (member.place.path / "feed.err").open("ab") as sink:
        return subprocess.Popen([*command, "feed", "run", "fleet"], stdout=sink, stderr=sink)


def _end(host: Host) -> None:
    host.feed.kill()
    host.feed.wait()


def all_drop(found: Sequence[Host], *networks: str) -> None:
    """Wait until the kernel of each drops exactly these."""
    until(
        lambda: all(each.dropped() == {*networks} for each in found),
        "\n".join(f"{sorted(each.dropped())}\n{each.said}" for each in found),
    )


OWN = "198.51.100.{}"


def test_what_one_host_bans_all_drop_also_behind_a_crash(fleet: Fleet) -> None:
    """The engine is killed; each keeps what it drops, and bans on; back, all are equal."""
    with hosts(fleet, None, None, None) as found:
        one, two, three = found
        one.daemon.offend(OWN.format(1))
        two.does("ban", OWN.format(2))
        all_drop(found, OWN.format(1), OWN.format(2))
        fleet.server.kill()
        three.does("ban", OWN.format(3))
        one.daemon.offend(OWN.format(4))
        until(lambda: OWN.format(4) in one.dropped(), one.said)
        assert one.dropped() == {OWN.format(n) for n in (1, 2, 4)}
        assert two.dropped() == {OWN.format(n) for n in (1, 2)}
        assert three.dropped() == {OWN.format(n) for n in (1, 2, 3)}
        fleet.server.start()
        all_drop(found, *(OWN.format(n) for n in (1, 2, 3, 4)))
        two.does("unban", OWN.format(2))
        all_drop(found, *(OWN.format(n) for n in (1, 3, 4)))
        assert all(each.feed.poll() is None for each in found)
        assert "Traceback" not in "".join(each.said for each in found)


def test_a_half_that_hears_nothing_polls(fleet: Fleet) -> None:
    """Where notifications are swallowed, the time alone brings what is new, and that is said."""
    way = fleet.proxy()
    way.deaf = True
    with hosts(fleet, None, way) as found:
        near, far = found
        near.daemon.offend(OWN.format(1))
        all_drop(found, OWN.format(1))
        near.daemon.offend(OWN.format(2))  # of which it would have heard by now
        all_drop(found, OWN.format(1), OWN.format(2))
        until(lambda: "LISTEN" in far.does("feed", "show", "fleet").out, far.said)
        assert "LISTEN" not in near.does("feed", "show", "fleet").out


def test_forged_notifications_cost_at_most_a_query_a_second(fleet: Fleet) -> None:
    """A thief sends thousands; what others ban is dropped meanwhile."""
    way, thief = fleet.proxy(), fleet.add("thief")
    with hosts(fleet, None, way) as found, thief.raw() as connection:
        near, far = found
        near.daemon.offend(OWN.format(1))
        all_drop(found, OWN.format(1))
        begun, before = time.monotonic(), way.asked
        for number in range(3000):
            connection.execute("SELECT pg_notify('fleet', %s)", [str(number % 3 * 10**9)])
        until(lambda: time.monotonic() > begun + 3)
        passed = time.monotonic() - begun
        assert way.asked - before < 5 + 2 * passed
        near.daemon.offend(OWN.format(2))
        all_drop(found, OWN.format(1), OWN.format(2))
        until(lambda: "told of nothing" in far.does("feed", "show", "fleet").out, far.said)


@pytest.mark.slow
def test_a_partition_heals(fleet: Fleet) -> None:
    """Half of four hosts are cut off for ten seconds, then frozen for as long."""
    way = fleet.proxy()
    with hosts(fleet, None, None, way, way) as found:
        near, far = found[:2], found[2:]
        near[0].daemon.offend(OWN.format(1))
        all_drop(found, OWN.format(1))
        for turn, (stop, go) in enumerate(((way.cut, way.open), (way.freeze, way.thaw))):
            stop()
            near[1].daemon.offend(OWN.format(10 + turn))
            far[0].daemon.offend(OWN.format(20 + turn))
            before = {*far[1].dropped()}
            end = time.monotonic() + 10
            while time.monotonic() < end:
                assert before <= far[1].dropped()
                time.sleep(0.5)
            go()
            bans = [1, *(n + t for t in range(turn + 1) for n in (10, 20))]
            all_drop(found, *(OWN.format(n) for n in bans))
