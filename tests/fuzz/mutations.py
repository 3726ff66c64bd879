"""Lines that look like what carriers print, and are not quite: created from real ones."""

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import carriers
import reference
from carriers import Message

CORPUS: Final = Path(__file__).parents[1] / "data" / "kernel-messages.jsonl"
CUT: Final = "\x1d"
"""Where a fuzzed input ends a part: a record, or what a writer had written so far."""

_LONG: Final = 4000

PEERS: Final = (
    "192.0.2.7", "218.14.17.182", "255.255.255.255", "127.0.0.6",
    "2001:0db8:0000:0000:0000:0000:0000:0001", "0000:0000:0000:0000:0000:ffff:754f:5370",
    "0000:0000:0000:0000:0000:ffff:7f00:0006", "fe80:0000:0000:0000:0000:0000:0000:0001",
    "0000:0000:0000:0000:0000:0000:0000:0001", "0000:0000:0000:0000:0000:0000:c000:0207",
    "0064:ff9b:0000:0000:0000:0000:c000:0207", "0064:ff9b:0000:0000:0000:0000:7f00:0006",
)  # fmt: skip
STRANGE_PEERS: Final = (
    "010.0.0.1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "::1", "2001:db8::1", "fe80::1%eth0",
    "localhost", "0x7f.1.1.1", "２.2.2.2", "2001:0DB8:0000:0000:0000:0000:0000:0001", "1.2.3.4/24",
    "", "0000:0000:0000:0000:0000:ffff:192.0.2.7",
)  # fmt: skip
_NUMBERS: Final = (
    "0", "1", "00", "01", "65535", "65536", "99999", "4294967295", "4294967296", "9999999999",
    "10000000000", "9" * 25,
    "9" * 5000, "-1", "+1", "0x10", "1_0", "٣", "１２", "²", "1e5", " 7", "",
)  # fmt: skip
_PIECES: Final = (
    "", " ", "  ", "\t", "\r", "\0", "\x1b[31m", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\u2028",
    "\ufeff", "\ufffd", "é", "[", "]", "{", "}", '"', "'", ",", ";", ":", "/", "%", "<", ">", "-",
    ".", "=", "\\", "\\x41", "\\x3b", "\\xc3\\xa9", "\\xff", "\\n", "\\u0054", "null", "true",
    "NaN", "[]", "{}", "[" * 2000, '{"a":' * 2000, "TCP: ", "MPTCP: ", "Peer ", "kernel: ",
    "kern  :debug : ", "user  :info  : ", "<7>", "<15>", "<8>", "<999>", "[12345.678901] ",
    "[    0.000000] ", "[T12] ", "[12345.678901][ T123] ", "[12345.678901 <    0.000000>] ",
    "[Tue Aug 28 13:16:32 2007] ", "[Aug28 13:16] ", "[  +0.000001] ",
    "2007-08-28T13:16:32,123456+02:00 ", "message repeated 3 times: [ ",
    "message repeated 0 times: [ ", "web1 ", "sshd[77]: ", "usb 1-1: Product: ", " (repaired)",
    ". Repaired.", "Aug 28 13:16:32 ", "- ", '[a@1 b="c"] ', "7,1,1,-;", "15,1,1,-;", "6,2,2,c;",
    "6,2,2,+;", " SUBSYSTEM=net", "kern.info ", "user.info ", "kernel[12]: ", "1188306992.123456 ",
    "Tue 2007-08-28 13:16:32 UTC ", "[    0.000000 <    0.000000>] ", "\x1b[0m", "\x1b[1;31m",
    "\x1b[K", "\x1b[", "\x1e", "data: ", "[    0.900001                ] ", "web1 kernel: ",
    "[    0.900003 <    0.000001 >] ", "[土 11月 28 20:52:14 2026] ", "[сен28 20:52] ",
    "[T7 Thg 11 28 20:52:14 2026 <    0,000093>] ", "[  +0,000093] ", "[<    0,000093>] ",
    "\n", "{\n", "}\n", "\n    MESSAGE=", '\n   "dmesg": [\n', "[s=1;t=1]", "__CURSOR=", "CEST ",
    "2026-07-01T10:11:12 ", "\n\n", "a:b[1]: ", "x: kernel: ", "[<    0.000000>] ",
    "[  +0,000000] ", "[ T12]", "web2 kernel: ", ",ncfrag=0/9",
    "[土 11月 28 20:52:14 2026 <    0,000000>] ",
)  # fmt: skip


def message(dice: random.Random) -> str:
    """Return a message of the kernel about a peer, its numbers sometimes strange."""
    first, *words = dice.choice(reference.FORMATS)
    peer = dice.choice(PEERS if dice.random() < 0.9 else STRANGE_PEERS)
    made = f"{first}{peer}:{_number(dice)}/"
    return made + "".join(f"{_number(dice)}{word}" for word in words)


def _number(dice: random.Random) -> str:
    return str(dice.randrange(65536)) if dice.random() < 0.95 else dice.choice(_NUMBERS)


def line(dice: random.Random) -> str:
    """Return a message as some carrier writes it."""
    told = told_of(message(dice), dice)
    if dice.random() < 0.1:
        return dice.choice(SAMPLES)
    if dice.random() < 0.05:
        repeated = f"message repeated {_number(dice)} times: [ {told.text}]"
        stamp = dice.choice(("", "", f"[{told.seconds}] "))
        return f"2026-03-01T10:11:12+00:00 web1 kernel: {stamp}{repeated}"
    return carriers.line(told, dice)


def told_of(text: str, dice: random.Random) -> Message:
    """Return a message of some moment, mostly the kernel's own."""
    return Message(text, dice.randrange(10 ** dice.randrange(1, 18)), dice.choice((7, 7, 7, 4, 15)))


SAMPLES: Final = tuple(str(json.loads(line)["text"]) for line in CORPUS.read_text().splitlines())


def mutated(text: str, dice: random.Random, fresh: Callable[[random.Random], str]) -> str:
    """Change a text in a few places, or none; ``fresh`` gives more of its kind."""
    for _ in range(dice.choice((0, 0, 0, 1, 1, 1, 2, 2, 3, 5))):
        start = dice.randrange(len(text) + 1)
        end = min(len(text), start + dice.choice((0, 1, 1, 2, 4, 8, 40)))
        match dice.randrange(9):
            case 0 | 1:
                text = text[:start] + dice.choice(_PIECES) + text[end:]
            case 2:
                text = text[:start] + text[end:]
            case 3:
                other = fresh(dice)
                text = text[:start] + other[dice.randrange(len(other) + 1) :] + text[end:]
            case 4:
                text = text[:start] + text[end:] + text[start:end]
            case 5:
                text = text[:start] + text[start:end] * dice.choice((2, 2, 3, 300)) + text[end:]
            case 6:
                text = text[:start]
            case 7:
                text = _renumbered(text, start, dice)
            case _:
                text = dice.choice(
                    (fresh(dice) + dice.choice(("\n", CUT, " ")) + text, text + "\n")
                )
    return text[:_LONG]


def _renumbered(text: str, start: int, dice: random.Random) -> str:
    """Put another number in the place of the next one."""
    while start < len(text) and not text[start].isdigit():
        start += 1
    end = start
    while end < len(text) and text[end].isdigit():
        end += 1
    return text[:start] + dice.choice(_NUMBERS) + text[end:]


def place(name: str) -> Path:
    """Return where a log of that name is written: in memory, where there is such a place."""
    return Path(_directory().name, name)


@cache
def _directory() -> TemporaryDirectory[str]:
    return TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
