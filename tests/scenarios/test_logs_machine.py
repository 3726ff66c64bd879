"""Each true record counts exactly once, whatever becomes of the log that it stands in.

A log is written, rotated, rewritten and cut; clocks jump, machines boot, networks are unbanned and
offences pruned. A reference beside it holds which lines stand where, and which of them were read.
"""

import gzip
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from unittest import mock

import pytest
from attrs import define, frozen
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from reconciler import Network, Record, Source, SourceUnreadable
from reconciler.detection.policy import Policy
from reconciler.passes.reading import Reading
from reconciler.passes.recognise import Recognition
from reconciler.passes.scan import Scanner
from reconciler.store.store import open_store
from sources.file import Settings
from sources.file.source import File

START: Final = 1_772_359_872  # 2026-03-01T10:11:12Z
HOUR: Final = 3600
PEERS: Final = tuple(Network.parse(f"203.0.113.{host}") for host in (7, 8, 9))
EVERYBODY: Final = Network.parse("203.0.113.0/24")
POLICY: Final = Policy(ban_for=HOUR)
LOST: Final = "rotated away"
THEN: Final = st.booleans()
"""Whether a pass follows at once; by itself Hypothesis rarely lets passes and losses alternate."""

TAIL: Final = 3
"""Lines that a log may lose at its end: a source knows its place again by those before them."""

FORMS: Final = {
    "RFC 3339 and stamp": "{iso} web1 kernel: [{stamp}] {text}",
    "stamp": "[{stamp}] {text}",
    "date without year and stamp": "{bsd} web1 kernel: [{stamp}] {text}",
    "date without year": "{bsd} web1 kernel: {text}",
    "neither": "{text}",
}
OTHERS: Final = {
    "RFC 3339 and stamp": "{iso} web1 sshd[77]: {text}",
    "date without year and stamp": "{bsd} web1 sshd[77]: {text}",
    "date without year": "{bsd} web1 sshd[77]: {text}",
}
"""How the same logs hold what another program says; the rest hold what the kernel says alone."""


@frozen
class Line:
    """A line of the log; ``number`` is its identity, and tells what was written before what.

    ``peer`` is None where it is no true record. ``date`` is what the clock said (epoch seconds).
    """

    number: int
    whole: str
    text: str
    peer: Network | None
    date: float


@define
class Generation:
    """A rotated log, and what it holds."""

    path: Path
    lines: list[Line]


@frozen
class Lift:
    """A ban that was lifted, or that had ended, at ``time``; lines from ``first`` on came later."""

    time: int
    first: int


@frozen
class Breaking:
    """A source that fails behind so many records, or, at -1, when it tells how far it came."""

    source: Source
    after: int

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield the first records."""
        for number, record in enumerate(self.source.read(cursor, needles)):
            if number == self.after:
                break
            yield record
        if self.after >= 0:
            raise SourceUnreadable("it is broken")

    def cursor(self) -> str | None:
        """Raise, as all that was read is about to be stored."""
        raise SourceUnreadable("it is broken")


@cache
def empty_database() -> bytes:
    """Return an empty database, which takes longer to make than to copy."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "treason.db"
        with open_store(path, write=True):
            pass
        return path.read_bytes()


class Logs(RuleBasedStateMachine):
    """A log of one form, its generations, and a store; a pass may come between any two steps.

    ``lines`` stand in the log, ``lost`` at its end no more. ``read`` are the numbers of those that
    were there at a pass, ``recent`` the last of them. Since the last pass, lines that were read
    came ``again``, and others were ``cut``. ``pruned`` are the texts of offences that the store has
    forgotten.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        directory = Path(self.stack.enter_context(TemporaryDirectory()))
        self.stack.enter_context(mock.patch("reconciler.passes.scan._BATCH", 2))
        database = directory / "treason.db"
        database.write_bytes(empty_database())
        self.store = self.stack.enter_context(open_store(database, write=True))
        (directory / "log").mkdir()
        self.log = directory / "log" / "kern.log"
        self.log.touch()
        self.form = "neither"
        self.dated = False
        self.now = START
        self.uptime = 82_215
        self.number = 0
        self.rotations = 0
        self.lines: list[Line] = []
        self.old: list[Generation] = []  # newest first
        self.lost: list[Line] = []
        self.read: set[int] = set()
        self.recent: list[int] = []
        self.again: set[int] = set()
        self.pruned: set[str] = set()
        self.lifts: dict[Network, list[Lift]] = {peer: [] for peer in PEERS}
        self.lost_unread = self.ambiguous = self.cut = False

    def teardown(self) -> None:
        """Close the store, and remove everything."""
        self.stack.close()

    @initialize(form=st.sampled_from([*FORMS]), dated=st.booleans())
    def begin(self, form: str, dated: bool) -> None:
        """Choose how lines and the names of generations are written."""
        self.form, self.dated = form, dated

    # What the reference knows.

    @property
    def stamped(self) -> bool:
        """Whether a line is known by its stamp and text; otherwise it is by its place."""
        return "stamp" in self.form

    @property
    def placed(self) -> bool:
        """Whether a log that was cut begins with what was read; else it tells no place.

        Were old lines to come behind new ones then, these would seem to be older.
        """
        return not self.cut or not self.lines or self.lines[0].number in self.read

    @property
    def standing(self) -> list[Line]:
        """All that a source can read, oldest first."""
        return [*(line for each in reversed(self.old) for line in each.lines), *self.lines]

    def fresh(self) -> list[Line]:
        """Return the true records that are to be counted by the next pass."""
        standing = {line.number: line for line in self.standing}
        return [
            line
            for number, line in sorted(standing.items())
            if line.peer is not None and number not in self.read
        ]

    def may_ban(self, line: Line) -> bool:
        """Whether no ban that was lifted, or had ended, settles a record that came before.

        A log that says no whole date does not tell when it came.
        """
        if "RFC" not in self.form or line.peer is None:
            return line.peer is not None
        return all(
            line.date > lift.time or line.number >= lift.first for lift in self.lifts[line.peer]
        )

    def must_ban(self, line: Line) -> bool:
        """Whether a record came later than every lift, by its number and by the time it tells."""
        told = line.date if "RFC" in self.form else int(line.date)
        return line.peer is not None and all(
            min(told, self.now) > lift.time and line.number >= lift.first
            for lift in self.lifts[line.peer]
        )

    def told(self) -> str:
        """Show all that stands there; what was read has a mark."""
        shown = [f"{self.form}; now {datetime.fromtimestamp(self.now, UTC):%d %H:%M:%S}"]
        for name, lines in [
            *((each.path.name, each.lines) for each in reversed(self.old)),
            (self.log.name, self.lines),
            ("lost", self.lost),
        ]:
            shown += [f"{name}:"]
            shown += [f"  {'read' if o.number in self.read else '    '} {o.whole}" for o in lines]
        shown += [f"{peer}: {lifts}" for peer, lifts in self.lifts.items() if lifts]
        return "\n".join(["", *shown])

    # What is written.

    def line(self, peer: int | None) -> Line:
        """Make a line that no other is like: of a peer, or (None) of anything else."""
        self.number += 1
        number = self.number
        address = None if peer is None else PEERS[peer]
        text = (
            f"TCP: Treason uncloaked! Peer {address or PEERS[0]}:{41_797 + number}/443"
            f" shrinks window {2_522_310_880 + number}:1658274117. Repaired."
        )
        form = FORMS[self.form]
        if address is None:
            if number % 2 and self.form in OTHERS:
                form = OTHERS[self.form]  # it says what the kernel would
            else:
                text = f"device veth{number} entered promiscuous mode"
        clock = datetime.fromtimestamp(self.now, UTC).replace(microsecond=number)
        whole = form.format(
            iso=clock.isoformat(timespec="microseconds"),
            bsd=f"{clock:%b} {clock.day:2} {clock:%H:%M:%S}",
            stamp=f"{self.uptime:5}.{number:06}",
            text=text,
        )
        self.now += 1
        self.uptime += 1
        return Line(number, whole, text, address, clock.timestamp())

    def append(self, lines: Sequence[Line]) -> None:
        """Write at the end, as a logging daemon does."""
        with self.log.open("a") as file:
            file.writelines(f"{line.whole}\n" for line in lines)
        self.lines += lines

    def rewrite(self, lines: Sequence[Line], *, in_place: bool) -> None:
        """Write the whole log: as ``cat new > log``, or as ``mv new log``."""
        for line in self.lines:
            if line not in lines and line.number not in self.read:
                self.lost_unread = True
        text = "".join(f"{line.whole}\n" for line in lines)
        if in_place:
            self.log.write_text(text)
        else:
            other = self.log.with_name("new")
            other.write_text(text)
            other.replace(self.log)
        self.lines = [*lines]

    @rule(peers=st.lists(st.sampled_from([0, 1, 2, None]), min_size=1, max_size=5), then=THEN)
    def write(self, peers: list[int | None], then: bool) -> None:
        """Append records among other lines."""
        self.append([self.line(peer) for peer in peers])
        self.follow(then)

    def follow(self, then: bool) -> None:
        """Make a pass, or none."""
        if then:
            self.scan(checked=False)

    @precondition(lambda self: self.lines)
    @rule(back=st.integers(0, 5), then=THEN)
    def repeat(self, back: int, then: bool) -> None:
        """Append a line once more: with its stamp it is the same record, else it is another one."""
        line = self.lines[max(0, len(self.lines) - 1 - back)]
        if self.stamped:
            if line.text not in self.pruned and (self.placed or line.number not in self.read):
                self.again |= {line.number} & self.read
                self.append([line])
        elif not (self.cut and line.number in self.read):
            # A log that was cut, too, would not tell up to which of the two it was read.
            self.ambiguous |= line.number in self.read
            self.number += 1
            self.append([Line(self.number, line.whole, line.text, line.peer, line.date)])
        self.follow(then)

    @precondition(lambda self: self.log.exists())
    @rule(in_place=st.booleans(), then=THEN)
    def write_the_same(self, in_place: bool, then: bool) -> None:
        """Write what stands there, as an editor does."""
        self.rewrite([*self.lines], in_place=in_place)
        self.follow(then)

    @precondition(lambda self: self.lines and not (self.ambiguous or self.again))
    @rule(
        dropped=st.integers(1, 8),
        peers=st.lists(st.sampled_from([0, 1, 2, None]), max_size=3),
        in_place=st.booleans(),
        then=THEN,
    )
    def lose_the_beginning(
        self, dropped: int, peers: list[int | None], in_place: bool, then: bool
    ) -> None:
        """Drop the oldest lines, and add others with that: ``dmesg > log``, ``sed -i 1,9d log``.

        Without stamps the last line that was read stays: by nothing else is the place known.
        """
        if not self.stamped:
            read = [at for at, line in enumerate(self.lines) if line.number in self.read]
            dropped = min([dropped, *read[-1:]])
        added = [self.line(peer) for peer in peers]
        self.cut = True
        self.rewrite([*self.lines[dropped:], *added], in_place=in_place)
        self.follow(then)

    @precondition(
        lambda self: self.lines and not (self.ambiguous or self.again or (self.cut and self.lost))
    )
    @rule(dropped=st.integers(1, TAIL), in_place=st.booleans(), then=THEN)
    def lose_the_end(self, dropped: int, in_place: bool, then: bool) -> None:
        """Lose the last lines, as a machine that dies does; whoever wrote them may do so again.

        Without stamps they come again at once and in their place: later, they would be others.
        """
        lost = self.lines[-dropped:]
        self.rewrite(self.lines[:-dropped], in_place=in_place)
        if self.stamped:
            self.lost = lost
            self.cut = True
        else:
            self.fail(0)
            self.append(lost)
        self.follow(then)

    @precondition(lambda self: self.lost and self.placed)
    @rule(then=THEN)
    def write_the_end_again(self, then: bool) -> None:
        """Write what the log has lost, behind what came meanwhile; not what is long forgotten."""
        lines = [line for line in self.lost if line.text not in self.pruned]
        self.again |= {line.number for line in lines} & self.read
        self.lost = []
        self.append(lines)
        self.follow(then)

    # How it is rotated.

    def next_name(self) -> Path:
        """Make room for a generation."""
        self.rotations += 1
        if self.dated:
            month, day = divmod(self.rotations, 28)
            return self.log.with_name(f"kern.log-2026{month + 3:02}{day + 1:02}")
        for at, each in reversed([*enumerate(self.old, 2)]):
            packing = each.path.suffix if each.path.suffix == ".gz" else ""
            each.path = each.path.rename(self.log.with_name(f"kern.log.{at}{packing}"))
        return self.log.with_name("kern.log.1")

    @precondition(lambda self: self.lines)
    @rule(packed=st.booleans(), created=st.booleans())
    def rename(self, packed: bool, created: bool) -> None:
        """Rotate by a new name; the log is made at once, or by who writes next."""
        name = self.log.rename(self.next_name())
        self.old.insert(0, Generation(name, self.lines))
        self.lines = []
        if created:
            self.log.touch()
        if packed:
            self.pack()

    @precondition(lambda self: self.lines)
    @rule(packed=st.booleans(), watched=st.booleans())
    def copytruncate(self, packed: bool, watched: bool) -> None:
        """Rotate by a copy; a pass may come before the log is truncated."""
        name = self.next_name()
        shutil.copyfile(self.log, name)
        self.old.insert(0, Generation(name, [*self.lines]))
        if watched:
            self.scan(checked=False)
        self.log.write_text("")
        self.lines = []
        if packed:
            self.pack()

    @precondition(lambda self: self.old)
    @rule()
    def pack(self) -> None:
        """Pack the newest generation, if it is not yet, as with ``delaycompress``."""
        newest = self.old[0]
        if newest.path.suffix != ".gz":
            packed = newest.path.with_name(f"{newest.path.name}.gz")
            packed.write_bytes(gzip.compress(newest.path.read_bytes()))
            newest.path.unlink()
            newest.path = packed

    @precondition(lambda self: self.old)
    @rule()
    def remove_the_oldest(self) -> None:
        """Remove a generation that was read, but not the one that was read last."""
        numbers = {line.number for line in self.old[-1].lines}
        if numbers <= self.read and numbers.isdisjoint(self.recent):
            self.old.pop().path.unlink()

    # What becomes of the machine, and of the store.

    @precondition(lambda self: self.stamped)
    @rule()
    def reboot(self) -> None:
        """Let the kernel's stamps begin again."""
        self.uptime = 0

    @rule(hours=st.sampled_from([-30, -5, -1, 1, 5, 30]), then=THEN)
    def change_the_clock(self, hours: int, then: bool) -> None:
        """Let it jump."""
        self.now += hours * HOUR
        self.follow(then)

    @rule(seconds=st.sampled_from([60, HOUR]), then=THEN)
    def wait(self, seconds: int, then: bool) -> None:
        """Let time pass."""
        self.now += seconds
        self.uptime += seconds
        self.follow(then)

    @rule(which=st.integers(0, 2), unread=st.booleans(), then=THEN)
    def unban(self, which: int, unread: bool, then: bool) -> None:
        """Lift a ban by hand, and with ``unread`` just after another record of that peer came."""
        if banned := sorted(self.active()):
            peer = banned[which % len(banned)]
            if unread:
                self.append([self.line(PEERS.index(peer))])
            self.store.bans.lift([peer], self.now)
            self.lifts[peer].append(Lift(self.now, self.number + 1))
        self.follow(then)

    @precondition(lambda self: not self.again)
    @rule(kept=st.sampled_from([0, HOUR, 24 * HOUR]))
    def prune(self, kept: int) -> None:
        """Forget old offences; the place in the log must do to know what was read."""
        before = self.stored()
        self.store.offences.prune(self.now - kept)
        self.pruned |= (before - self.stored()).keys()

    # The passes.

    def stored(self) -> Counter[str]:
        """Return the messages that are stored, and how often."""
        return Counter(each.evidence for each in self.store.offences.of([EVERYBODY], 0))

    def active(self) -> Collection[Network]:
        """Return who is banned now."""
        return self.store.bans.ends(PEERS, self.now).keys()

    def settle(self) -> None:
        """Move the bans that have ended to the history, as every pass does."""
        ended = [Network.parse(text) for text in self.store.bans.ended(self.now)]
        self.store.bans.expire(self.now)
        for peer in ended:
            [event] = self.store.history.latest(peer, 1)
            assert event.action == "expiry"
            self.lifts[peer].append(Lift(event.time, self.number + 1))

    def reading(self, *, write: bool = True, after: int | None = None) -> Reading:
        """Make a pass over the log; with ``after`` it fails behind so many records."""
        source: Source = File(Settings(str(self.log), trusted=True))
        made = source if after is None else Breaking(source, after)
        scanner = Scanner(
            self.store, POLICY, self.now, write=write, recognition=Recognition(own=tuple)
        )
        [reading] = scanner.scan({"file": lambda: made})
        return reading

    @rule(after=st.integers(-1, 3))
    def fail(self, after: int) -> None:
        """Make a pass that fails and leaves nothing behind; the next one reads it all again."""
        self.settle()
        before = self.stored(), {*self.active()}
        assert "it is broken" in self.reading(after=after).error
        assert (self.stored(), {*self.active()}) == before, self.told()

    @rule(checked=st.booleans())
    def scan(self, checked: bool) -> None:
        """Make a pass, and a check before it: what is new counts, once, and nothing else does."""
        self.settle()
        fresh, before, banned = self.fresh(), self.stored(), {*self.active()}
        standing = {line.number for line in self.standing}
        check = self.reading(write=False) if checked else None
        reading = self.reading()
        told = self.told()
        assert reading.error == "", told
        counted = self.stored()
        texts = Counter(line.text for line in fresh)
        assert sorted((counted - before) - texts) == [], f"counted once more: {told}"
        assert sorted(texts - (counted - before)) == [], f"not counted: {told}"
        assert reading.offences == len(fresh), told
        assert check is None or check.offences == len(fresh), told
        newly = {*self.active()} - banned
        assert newly <= {line.peer for line in fresh if self.may_ban(line)}, f"banned again: {told}"
        assert {line.peer for line in fresh if self.must_ban(line)} <= {*self.active()}, told
        gone = self.recent and standing.isdisjoint(self.recent)
        if not (self.lost_unread or gone):
            assert [each for each in reading.notes if LOST in each] == [], told
        self.read |= standing
        last = self.lines or next((each.lines for each in self.old), [])
        self.recent = [line.number for line in last[-TAIL - 1 :]]
        self.again.clear()
        self.lost_unread = self.ambiguous = self.cut = False


class ManyLogs(Logs):
    """The same, many more times."""


BOUNDS: Final = settings(
    deadline=None,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
Logs.TestCase.settings = settings(BOUNDS, max_examples=300, stateful_step_count=25)
ManyLogs.TestCase.settings = settings(BOUNDS, max_examples=1500, stateful_step_count=40)
TestLogs = Logs.TestCase
TestManyLogs = pytest.mark.slow(ManyLogs.TestCase)
