"""The fleet, to look at: ``make demo-fleet`` attacks one of three hosts, and shows all of them.

As root, with Debian's package postgresql. All of it is in namespaces of its own, of processes too:
whatever ends it, and however, the kernel takes away what is left.
"""

import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import psycopg
from peers import Peers, Server, shrinking

from bench.fleet.engine import Engine
from bench.fleet.member import PATIENCE, Member
from bench.fleet.switch import STREET, Switch
from bench.peers.watch import Watch
from reconciler.errors import TreasonError
from reconciler.execute import Completed, run
from reconciler.network import Network

NAMES: Final = ("one", "two", "three")
ATTACKER: Final = "203.0.113.66"
PARTNER: Final = "203.0.113.77"
"""Who attacks host one; the second is known to host three, and on its whitelist."""

BY_HAND: Final = "198.51.100.20"
_QUOTA, _BELIEVED, _FLOOD = 100, 50, 1_000
"""New networks in an hour: that the engine takes of a member, that a host believes, and how many
somebody tells who has the password of one."""


def story() -> None:
    """Run every scene; raise `TreasonError` where one ends otherwise than announced."""
    with TemporaryDirectory(prefix="treason-fleet-") as directory, ExitStack() as stack:
        switch = stack.enter_context(Switch())
        path = Path(directory)
        say("Three hosts and PostgreSQL, each in a network namespace of its own.")
        ports = [switch.join(name) for name in NAMES]
        engine = stack.enter_context(Engine(switch.join("engine"), path))
        members = [stack.enter_context(Member(port, path / port.name)) for port in ports]
        Scenes(switch, engine, members, stack).all()


class Scenes:
    """What happens, one after the other."""

    def __init__(
        self, switch: Switch, engine: Engine, members: Sequence[Member], stack: ExitStack
    ) -> None:
        self.switch, self.engine, self.members = switch, engine, members
        self.one, self.two, self.three = members
        with self.one.port.entered():
            self.peers = Peers()
            stack.callback(self.peers.close)
            stack.callback(Server().close)
            run(["ip", "route", "add", STREET, "dev", "treason9"])

    def all(self) -> None:
        """Play them."""
        self.founded()
        self.attacked()
        self.whitelisted()
        self.killed()
        self.flooded()
        self.removed()
        say("All came as told. The namespaces end here, and with them all that was made in them.")

    def founded(self) -> None:
        """Make the fleet, and let all hosts join."""
        say("The fleet is made in PostgreSQL's database, and each host becomes a member:")
        self._fleet("init")
        for each in self.members:
            password = str(each.password)
            self._fleet(f"add-member {each.name} --max-new {_QUOTA} --password-file {password}")
            each.configure(
                self.engine.member_dsn(each.name),
                self.engine.ca,
                publish=["zero-window", "manual"],
                sources=["sockets"],
                more=f'max_new = {_BELIEVED}\n[source.sockets]\nlasting = "1s"',
            )
        self.three.treason("whitelist", "add", PARTNER, "--comment", "a partner of ours")
        for each in self.members:
            each.resident()
            click.echo(f"  {each.name}: treason run, treason feed run fleet")
        click.echo(f"  three has {PARTNER} on its whitelist")
        self._packets(ATTACKER, NAMES)

    def attacked(self) -> None:
        """Let one be attacked; all drop the attacker."""
        say(f"{ATTACKER} attacks one: it asks, and shrinks its window with data in flight:")
        with self._seen(self.members):
            self.peers.connect(ATTACKER, 4000, shrinking())
        self._packets(ATTACKER, ())

    def whitelisted(self) -> None:
        """Let somebody attack who is on the whitelist of three."""
        say(f"So does {PARTNER}. What is on the whitelist of three, three does not drop:")
        with self._seen([self.one, self.two]):
            self.peers.connect(PARTNER, 4001, shrinking())
        self.three.until(partial(_has, self.three, PARTNER), "feed")
        self._packets(PARTNER, ["three"])

    def killed(self) -> None:
        """Kill the engine: all goes on with what it knows, and what is new comes later."""
        say("PostgreSQL is killed. All goes on, with what each host knows:")
        before = {each.name: each.in_force() for each in self.members}
        self.engine.server.kill()
        self._show(self.two, f"ban {BY_HAND} --for 1h --reason 'while it was away'")
        self.two.until(lambda: Network.parse(BY_HAND) in self.two.in_force(), "daemon")
        self._packets(ATTACKER, ())
        self._packets(BY_HAND, ["one", "three"], self.switch.reached(BY_HAND, NAMES))
        for each in self.members:
            if before[each.name] - each.in_force():
                raise TreasonError(f"{each.name} has removed bans")
        say("It is back; what was banned meanwhile comes, and nothing was removed:")
        others = [self.one, self.three]
        with self._watched(others) as watches:
            started = time.perf_counter()
            self.engine.start()
            up = time.perf_counter()
            click.echo(f"  PostgreSQL lets members in {_ms(up - started)} after its start")
            for each, moment in zip(others, _moments(watches), strict=True):
                click.echo(f"  {each.name:<6} drops {BY_HAND} {_ms(moment - up)} after that")
        self._packets(BY_HAND, ())

    def flooded(self) -> None:
        """Let somebody with the password of three tell of a thousand."""
        say(f"Somebody has the password of three, and tells the fleet of {_FLOOD:,} networks:")
        before = len(self.one.in_force())
        flood = [f"198.18.{number >> 8}.{number & 255}/32" for number in range(_FLOOD)]
        with self._thief() as thief:
            query = "SELECT fleet.publish(%s::cidr[], %s::bigint[], %s::text[])"
            lasting = ([3600] * _FLOOD, ["no reason"] * _FLOOD)
            taken = _number(thief, query, flood, *lasting)
            removed = _number(thief, "SELECT fleet.remove(%s::cidr[])", [f"{ATTACKER}/32"])
        click.echo(f"  PostgreSQL takes {taken} of them, the quota of an hour, and no more")
        click.echo(
            f"  it asks to remove the ban of {ATTACKER}, which is not its own: {removed} removed"
        )
        if (taken, removed) != (_QUOTA, 0):
            raise TreasonError("the engine did not refuse what it had to")
        say(f"The others believe {_BELIEVED} an hour of a member, so three is quarantined:")
        for each in (self.one, self.two):
            each.until(partial(_quarantines, each, "three"), "feed")
        self._show(self.one, "feed show fleet")
        if len(self.one.in_force()) != before:
            raise TreasonError("what a quarantined member brings is enforced")
        self._packets(ATTACKER, ())

    def removed(self) -> None:
        """Remove three, and what it told with it."""
        say("Three is removed from the fleet. Its bans go, all others stay:")
        self._fleet("remove-member three")
        for each in (self.one, self.two):
            each.until(partial(_has_none_of, each, "three"), "feed")
            click.echo(
                f"  {each.name}: no ban of three is left, {len(each.in_force())} are in force"
            )
        try:
            with self._thief():
                raise TreasonError("a member that was removed comes in")
        except psycopg.OperationalError:
            click.echo("  who has its password is not let in any more")
        self._packets(ATTACKER, ())

    @contextmanager
    def _thief(self) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
        password = self.three.password.read_text().strip()
        tls = f"sslmode=verify-full sslrootcert={self.engine.ca}"
        with (
            self.three.port.entered(),
            psycopg.connect(f"{self.engine.member_dsn('three')} {tls}", password=password,
                            autocommit=True) as connection,
        ):  # fmt: skip
            yield connection

    @contextmanager
    def _watched(self, members: Sequence[Member]) -> Iterator[list[Watch]]:
        with ExitStack() as stack:
            yield [stack.enter_context(each.watch()) for each in members]

    @contextmanager
    def _seen(self, members: Sequence[Member]) -> Iterator[None]:
        """Print when the kernels of these drop whom the block lets attack."""
        with self._watched(members) as watches:
            begun = time.perf_counter()
            yield
            first, *others = _moments(watches)
        click.echo(f"  {members[0].name:<6} drops it {first - begun:.1f} s after the first packet")
        for each, moment in zip(members[1:], others, strict=True):
            click.echo(f"  {each.name:<6} drops it {_ms(moment - first)} after that")

    def _packets(
        self, sender: str, expected: Sequence[str], found: Mapping[str, bool] | None = None
    ) -> None:
        """Send a packet to all, and show where it arrives."""
        reached = found or self.switch.reached(sender, NAMES)
        shown = (f"{name} {'passes' if there else 'drops'}" for name, there in reached.items())
        click.echo(f"  a packet from {sender}: {', '.join(shown)}")
        if {name for name, there in reached.items() if there} != {*expected}:
            raise TreasonError(f"expected to pass at: {', '.join(expected) or 'nobody'}")

    def _fleet(self, words: str) -> None:
        click.echo(f"$ treason fleet {words}")
        _echo(self.engine.treason(*shlex.split(words)))

    def _show(self, member: Member, words: str) -> None:
        click.echo(f"{member.name}$ treason {words}")
        _echo(member.treason(*shlex.split(words)))


def _moments(watches: Sequence[Watch]) -> list[float]:
    """Return when each has seen its first element (`time.perf_counter`)."""
    with ThreadPoolExecutor(len(watches)) as pool:
        return [*pool.map(lambda watch: watch.wait(1, PATIENCE), watches)]


def _quarantines(member: Member, name: str) -> bool:
    return name in _shown(member)["members"]


def _has_none_of(member: Member, name: str) -> bool:
    return name not in {group["member"] for group in _shown(member)["groups"]}


def _has(member: Member, address: str) -> bool:
    groups = _shown(member)["groups"]
    return any(address in group["networks"] for group in groups)


def _shown(member: Member) -> dict[str, Any]:
    """Return what a host knows of its feed."""
    done = member.treason("feed", "show", "fleet", "-o", "json", codes=(0, 1))
    return dict(json.loads(done.output))


def _number(
    connection: "psycopg.Connection[tuple[object, ...]]", query: str, *given: object
) -> int:
    row = connection.execute(query, given).fetchone()
    return int(str(row[0])) if row else 0


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _echo(done: Completed) -> None:
    click.echo(done.output + done.error, nl=False)


def say(text: str) -> None:
    """Print what comes next."""
    click.secho(f"\n{text}", bold=True)


def main() -> int:
    """Play it, and return the exit code; what goes otherwise is told in two lines."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        story()
    except KeyboardInterrupt:
        return 130
    except (TreasonError, psycopg.Error) as failure:
        click.echo(f"treason: the demonstration failed: {failure}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
