"""A log is searched for needles, and only what may hold one is read: nothing may be missed.

What is yielded so is compared with a reading of everything, in small pieces and in one.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from unittest import mock

import carriers
import mutations
from attrs import evolve
from moments import in_the_zone
from mutations import CUT
from reference import Disagreement

from reconciler import Record
from sources import times
from sources.file import Settings, lines
from sources.file.source import File

TEXTS: Final = (
    "trap: IN=eth0 OUT= SRC=192.0.2.1", "trap: Grüße: 日本", 'a\\b "quoted" c/d', "a: b: c: d",
    "usb 1-1: Product: trap", "IN=", "\x7f\x1f\té\u2028\ud7ff\U0001f600", "é: ",
    "kernel: trap: IN=",
)  # fmt: skip
NEEDLES: Final = (
    "trap: IN=", "trap:", "trap: ", " IN=", ": IN=", "p: I", "Grüße: 日", "日本", "a\\b",
    '"quoted"', "c/d", "b: c: d", "a: b", "\U0001f600", "\té", "é: ", "=", ":", " ", "kernel",
    "unexpectedly shrunk window", "Probing zero-window", "Treason uncloaked! Peer ", "kernel: trap",
)  # fmt: skip


def fresh(dice: random.Random) -> str:
    """Return needles, and a log of messages in mixed shapes, of which some hold one."""
    sought = "\t".join(dice.sample(NEEDLES, dice.randrange(1, 4)))
    return f"{sought}{CUT}{log(dice)}"


def log(dice: random.Random) -> str:
    """Return a log of a few records in mixed shapes."""
    made = (record(dice) + dice.choice(("\n", "\n", "\r\n")) for _ in range(dice.randrange(1, 8)))
    return "".join(made)


def record(dice: random.Random) -> str:
    """Return a record in one line or in several."""
    text = mutations.message(dice) if dice.random() < 0.2 else dice.choice(TEXTS)
    told = mutations.told_of(text, dice)
    chance = dice.random()
    if chance < 0.1:
        return carriers.pretty(told, dice)
    if chance < 0.2:
        return carriers.continued(told, dice.choice(TEXTS), dice)
    return carriers.line(told, dice)


def check(data: bytes) -> int:
    """Compare both ways, each in pieces of two sizes; give the number of records."""
    head, _, content = data.partition(CUT.encode())
    needles = [each for each in head.decode(errors="ignore").split("\t") if each]
    if not needles:
        return 0
    path = mutations.place("paths")
    path.write_bytes(content)
    return len(compared(path, needles))


def compared(path: Path, needles: Sequence[str]) -> list[Record]:
    """Read a log in all ways; raise `Disagreement` where they differ."""
    ways = []
    for size in (64, 1 << 18):
        with in_the_zone(), mock.patch.object(lines, "_CHUNK", size):
            every = [each for each in _read(path, [""]) if any(n in each.text for n in needles)]
            ways += [every, [*_read(path, needles)]]
    for each in ways[1:]:
        if each != ways[0]:
            raise Disagreement(f"of {needles}, {each!r} is found, or {ways[0]!r}")
    return ways[0]


def _read(path: Path, needles: Sequence[str]) -> Iterator[Record]:
    """Read a log; of two times that a clock showed the record before decides, if it is yielded.

    When a record was made at the latest, the clock decides, too.
    """
    for each in File(Settings(str(path), trusted=True)).read(None, needles):
        twice = each.time is not None and times.other(each.time) is not None
        yield evolve(each, time=None if twice else each.time, latest=None)
