"""Scans killed at any moment, while the log grows: nothing is lost, nothing counts twice."""

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from attrs import define, field
from harness import Place

KILLS = 20
PHASES = ("started", "reading", "storing")
POLICY = '[policy]\nthreshold = 2\nwindow = "10m"\nkeep_offences = "9999d"\n'
NOISE = [
    f"2026-03-01T10:00:00.000000+00:00 web1 kernel: [{i:5}.000000] usb 1-{i}: new device"
    for i in range(98)
]
MESSAGES = (
    "TCP: Treason uncloaked! Peer {}:{}/{} shrinks window 3:4. Repaired.",
    "Peer {}:{}/{} unexpectedly shrunk window 5:6 (repaired)",
    "Probing zero-window on {}:{}/{}, seq=7:8, recv 9ms ago, lasting 10ms",
)
LAST_PORT = 65_535


def peer(dice: random.Random) -> str:
    """Return one of two thousand addresses, of either family."""
    number = dice.randrange(2000)
    low = f"{number >> 8}.{number & 255}"
    return f"2001:0db8:0000:0000:0000:0000:0000:{number:04x}" if number % 7 == 0 else f"11.0.{low}"


def offences(dice: random.Random) -> Iterator[str]:
    """Yield lines about peers without end: some come again, some say so, some nobody vouches for.

    Their times run over hours, so that a peer may or may not reach the threshold in time.
    """
    for number in count():
        second = number / 2
        text = dice.choice(MESSAGES).format(peer(dice), dice.choice((1, 2, 3, LAST_PORT)), 80)
        time_of_day = f"{int(second / 3600) % 24:02}:{int(second / 60) % 60:02}:{second % 60:09.6f}"
        head = f"2026-03-01T{time_of_day}+00:00 web1 kernel: [{second:12.6f}] "
        kind = dice.randrange(20)
        if kind == 0:
            yield f"<15>{head}{text}"
        elif kind == 1:
            yield f"{head}message repeated {dice.randrange(1, 9)} times: [ {text}]"
        else:
            yield from [f"{head}{text}"] * (2 if kind == 2 else 1)


@define
class Log:
    """A log that grows; so many lines of noise follow each that is about a peer."""

    path: Path
    dice: random.Random
    noise: int
    _offences: Iterator[str] = field(init=False)
    _rest: bytes = field(default=b"", init=False)

    def __attrs_post_init__(self) -> None:
        self._offences = offences(self.dice)

    def grow(self, lines: int) -> None:
        """Append about so many lines: to their end, to just before it, or into their midst."""
        between = "\n".join(["", *NOISE[: self.noise], ""])
        told = (next(self._offences) for _ in range(lines // (self.noise + 1) + 1))
        data = self._rest + between.join(told).encode() + between.encode()
        cut = self.dice.choice((0, 1, self.dice.randrange(1, 100)))
        self._rest = data[len(data) - cut :]
        with self.path.open("ab") as file:
            file.write(data[: len(data) - cut])


@define
class Scan:
    """A scan in a process of its own, and how far it has come."""

    place: Place
    log: Path
    process: "subprocess.Popen[bytes]" = field(init=False)
    _left: tuple[int, int] | None = field(init=False)
    """The journal that a scan before this one left when it was killed."""

    def __attrs_post_init__(self) -> None:
        self._left = self._stamp()
        self.process = self.place.start("scan")

    def is_in(self, phase: str) -> bool:
        """Return whether it has come to this phase: the log is open, or a transaction is."""
        if phase == "reading":
            return self._reads()
        return phase == "started" or self.is_open()

    def is_open(self) -> bool:
        """Return whether a transaction of its own has begun, and has not ended."""
        return self._stamp() not in {None, self._left}

    def has_ended(self) -> bool:
        """Return whether it has ended by itself."""
        return self.process.poll() is not None

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self.place.database.with_name("treason.db-journal").stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_ctime_ns

    def _reads(self) -> bool:
        try:
            descriptors = Path(f"/proc/{self.process.pid}/fd").iterdir()
            return self.log in {each.readlink() for each in descriptors}
        except (FileNotFoundError, ProcessLookupError):
            return False  # it has ended, or closed one meanwhile

    def kill(self, phase: str, moment: float) -> bool:
        """Kill it so many seconds into a phase; tell whether it was still running."""
        while not self.is_in(phase) and not self.has_ended():
            time.sleep(0.0005)
        try:
            self.process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            return True
        return False


def lengths(scan: Scan) -> dict[str, float]:
    """Return the seconds from the beginning of each phase to the end of the transaction."""
    begun: dict[str, float] = {}
    end = 0.0
    while not scan.has_ended():
        for phase in PHASES:
            if phase not in begun and scan.is_in(phase):
                begun[phase] = time.monotonic()
        end = time.monotonic() if scan.is_open() else end
        time.sleep(0.0005)
    assert scan.process.returncode == 0
    assert end, "no transaction was seen"
    return {phase: end - begun[phase] for phase in PHASES}


def stored(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return what a scan leaves, but for the time of the run.

    Which of its offences a ban names depends on where a run began, so the reason is not compared.
    """
    queries = {
        "offences": "SELECT * FROM offences ORDER BY id",
        "bans": "SELECT network, until, key FROM bans ORDER BY network",
        "history": "SELECT action, network FROM history ORDER BY network",
        "cursors": "SELECT source, cursor FROM cursors",
        "integrity": "PRAGMA integrity_check",
    }
    connection = sqlite3.connect(database)
    try:
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}
    finally:
        connection.close()


def disturb(
    scan: Callable[[], Scan],
    seconds: Mapping[str, float],
    grow: Callable[[bool], None],
    dice: random.Random,
) -> tuple[int, str]:
    """Kill twenty scans, a third of them in each phase; ``grow`` is told if one was met.

    A scan that ended first was faster than the one that was measured: the next is met earlier.
    Give how many had a transaction open, and what happened in words.
    """
    kills, torn = dict.fromkeys(PHASES, 0), 0
    latest = {phase: 0.8 * length for phase, length in seconds.items()}
    for _ in range(3 * KILLS):
        phase = PHASES[sum(kills.values()) % 3]
        running = scan()
        moment = dice.uniform(0, latest[phase])
        killed = running.kill(phase, moment)
        if not killed:
            latest[phase] = moment
        kills[phase] += killed
        torn += killed and running.is_open()
        grow(killed)
        if sum(kills.values()) == KILLS:
            break
    told = f"{kills} kills, {torn} in a transaction; {seconds}"
    assert sum(kills.values()) == KILLS, told
    return torn, told


@pytest.mark.slow
@pytest.mark.parametrize(("lines", "noise"), [(1_000_000, 98), (200_000, 0)])
def test_a_killed_scan_is_as_if_it_had_not_been(place: Place, lines: int, noise: int) -> None:
    """Twenty kills: offences, bans, history and cursors are those of a run that nobody disturbed.

    With little noise a scan decides and stores in many batches, which are one transaction.
    """
    seed = random.randrange(1 << 32)  # noqa: S311 - moments, no secrets
    dice = random.Random(seed)  # noqa: S311
    log = Log(place.path / "kern.log", dice, noise)
    place.configure(
        f'{POLICY}[source.file]\npath = "{log.path}"\ntrusted = true', main='sources = ["file"]'
    )
    log.path.touch()
    assert place.treason("scan").code == 0
    empty = place.database.read_bytes()
    log.grow(lines)
    scan = partial(Scan, place, log.path)
    seconds = lengths(scan())
    place.database.write_bytes(empty)
    torn, told = disturb(
        scan,
        seconds,
        lambda killed: log.grow(lines // 100 if killed else lines // 2),
        dice,
    )
    assert place.treason("scan").code == 0
    found = stored(place.database)
    place.database.write_bytes(empty)
    assert place.treason("scan").code == 0
    for name, rows in stored(place.database).items():
        assert rows, name
        assert found[name] == rows, f"seed {seed}, {told}: {name}"
    assert found["integrity"] == [("ok",)]
    assert torn >= KILLS // 5, told


@pytest.mark.slow
@pytest.mark.kmsg
def test_killed_readers_of_the_kernels_buffer_count_each_record_once(
    place: Place, kmsg: Callable[[str], None]
) -> None:
    """A record is written after each of twenty kills; what others write there is not looked at."""
    place.configure("[trust]\nuserspace = true", main='sources = ["kmsg"]')
    dice = random.Random()  # noqa: S311 - moments and addresses, no secrets
    ours = f"11.{dice.randrange(256)}.{dice.randrange(256)}"
    numbers = count(1)

    def grow(_killed: object = None) -> None:
        text = MESSAGES[1].format(f"{ours}.{next(numbers)}", 4, 80)
        Path("/dev/kmsg").write_text(f"<7>{text}\n")  # each opening is allowed ten in five seconds

    scan = partial(Scan, place, Path("/dev/kmsg"))
    grow()
    seconds = lengths(scan())
    _, told = disturb(scan, seconds, grow, dice)
    assert place.treason("scan").code == 0
    written = [(f"{ours}.{number}",) for number in range(1, next(numbers))]
    connection = sqlite3.connect(place.database)
    for query in (
        "SELECT address FROM offences WHERE address GLOB ? ORDER BY id",
        "SELECT network FROM history WHERE network GLOB ? ORDER BY id",
    ):
        assert connection.execute(query, (f"{ours}.*",)).fetchall() == written, told
    connection.close()
