"""How those who print and log messages of the kernel write them: in a line, or in several."""

import json
import random
from collections.abc import Callable
from typing import Final

from attrs import frozen

LOCALES: Final = (
    "土 11月 28 20:52:14 2026", "T7 Thg 11 28 20:52:14 2026", "сб ноя 28 20:52:14 2026",
    "sam. nov. 28 20:52:14 2026", "Sat Nov 28 20:52:14 2026", "Tue Aug 28 13:16:32 2007",
    "Sun Oct 25 02:30:00 2026",
)  # fmt: skip
DAYS: Final = ("сен28 20:52", "11月28 20:52", "Aug28 13:16", "nov.28 20:52", "Thg 1128 20:52")


@frozen
class Message:
    """A message, its microseconds since boot, and its priority."""

    text: str
    micros: int
    priority: int = 7

    @property
    def seconds(self) -> str:
        """Return the time as printk prints it."""
        return f"{self.micros // 10**6:5}.{self.micros % 10**6:06}"

    @property
    def journal(self) -> dict[str, object]:
        """Return its entry in the journal."""
        facility = self.priority // 8
        entry: dict[str, object] = {
            "__CURSOR": f"s=1;i={self.micros % 99}",
            "__REALTIME_TIMESTAMP": str(1_795_000_000_000_000 + self.micros % 10**12),
            "_TRANSPORT": "kernel",
            "SYSLOG_FACILITY": str(facility),
            "SYSLOG_IDENTIFIER": "kernel",
            "_SOURCE_MONOTONIC_TIMESTAMP": str(self.micros),
            "MESSAGE": self.text,
        }
        if facility:
            tag, colon, text = self.text.partition(": ")
            entry |= {"SYSLOG_IDENTIFIER": tag, "MESSAGE": text} if colon else {}
        return entry


def plain(told: Message, dice: random.Random) -> str:
    """Write a line as dmesg, a logger or the device does."""
    text, seconds, priority = told.text, told.seconds, told.priority
    return dice.choice((
        text,
        f"{priority},{dice.randrange(99)},{told.micros},-;{escaped(text)}",
        f"{priority},{dice.randrange(99)},{told.micros},-,caller=T1;{escaped(text)}",
        f"{priority},{dice.randrange(99)},{told.micros},-,ncfrag=0/99;{escaped(text)}",
        f"[{seconds}] {text}",
        f"[{seconds}] {text}",
        f"<{priority}>[{seconds}] {text}",
        f"kern  :debug : [{seconds}] {text}",
        f"user  :debug : [{seconds}] {text}",
        f"Aug 28 13:16:32 web1 kernel: [{seconds}] {text}",
        f"Oct 25 02:{dice.randrange(60):02}:32 web1 kernel: [{seconds}] {text}",
        f"Feb 29 13:16:32 web1 kernel: {text}",
        f"Aug 28 13:16:32 web1 kernel: [{seconds}] message repeated 3 times: [ {text}]",
        f"Aug 28 13:16:32 a:b[1]: kernel: [{seconds}] {text}",
        f"Aug 28 13:16:32 web1 kern.debug kernel: [{seconds}][ T1] {text}",
        f"{dice.choice(('Dec 31', 'Jan  1'))} 00:16:32.5 web1 kernel: {text}",
        f"2026-03-01T10:11:12.12{dice.choice(('+00:00', 'Z', '', '-0330'))} web1 kernel: {text}",
        f"2026-07-01T10:11:12 web1 kernel: [{seconds}] {text}",
        f"<{priority}>1 2026-03-01T10:11:12Z web1 kernel - - - {text}",
        f"Sun 2026-10-25 02:30:00 {dice.choice(('CET', 'CEST'))} web1 kernel: {text}",
        f"Tue 2007-08-28 13:16:32 {dice.choice(('UTC', 'CEST', 'EST'))} web1 kernel: {text}",
    ))  # fmt: skip


def localized(told: Message, dice: random.Random) -> str:
    """Write a line as dmesg does for people: with times of day, in their language."""
    text, comma = told.text, dice.choice(",.")
    return dice.choice(("", "", "kern  :debug : ")) + dice.choice((
        f"[{dice.choice(LOCALES)}] {text}",
        f"[{dice.choice(LOCALES)} <    0{comma}000093>] {text}",
        f"[{dice.choice(DAYS)}] {text}",
        f"[  +0{comma}000093] {text}",
        f"[<    0{comma}000093>] {text}",
        f"[{told.seconds} <    0{comma}000093>] {text}",
        f"[{dice.choice(LOCALES)} <    0{comma}000000>] {text}",
        f"[  +0{comma}000000] {text}",
        f"[<    0{comma}000000>] {text}",
        f"2026-11-28T20:52:14,123456+01:00 {text}",
    ))  # fmt: skip


def journalctl(told: Message, dice: random.Random) -> str:
    """Write a line as journalctl does: short-monotonic, short-delta, JSON and its frames."""
    host = dice.choice(("", "web1 ", "fe80::1 ", "web1: ")) + "kernel:"
    entry = dict(told.journal)
    if dice.random() < 0.2:
        entry["MESSAGE"] = [*str(entry["MESSAGE"]).encode(errors="surrogateescape")]
    printed = json.dumps(entry, ensure_ascii=dice.random() < 0.5)
    spaced = json.dumps(entry, separators=dice.choice(((",", ":"), (" , ", "\t: "))))
    return dice.choice((
        f"[{told.seconds}] {host} {told.text}",
        f"[{told.seconds}                ] {host} {told.text}",
        f"[{told.seconds} <    0.000001 >] {host} {told.text}",
        printed,
        spaced,
        f"\x1e{printed}",
        f"data: {printed}",
    ))  # fmt: skip


def printed(told: Message, dice: random.Random) -> str:
    """Write a line as ``dmesg --json`` does, if it were one line."""
    named = {"fac": "kern", "pri": "debug"} if dice.random() < 0.5 else {"pri": told.priority}
    return json.dumps(named | {"time": told.micros / 1e6, "msg": told.text})


def escaped(text: str) -> str:
    """Return a text as the device writes it."""
    written = text.encode(errors="surrogateescape")
    return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02x}" for b in written)


def pretty(told: Message, dice: random.Random) -> str:
    """Write an entry over lines: as json-pretty, or verbose; sometimes in colours."""
    made, chance = over_lines(told, dice), dice.random()
    if chance < 0.2:
        return "\n".join(f"\x1b[0;1;39m{each}\x1b[0m" for each in made.split("\n"))
    return coloured(made, dice) if chance < 0.3 else made


def over_lines(told: Message, dice: random.Random) -> str:
    """Write an entry as json-pretty, or verbose."""
    if dice.random() < 0.5:
        return json.dumps(told.journal, indent="\t", ensure_ascii=False)
    head = f"Sat 2026-11-28 20:52:14.123456 UTC [s=1;i=2;b=3;m=4;t={told.micros + 16:x};x=5]"
    fields = {key: value for key, value in told.journal.items() if key[:2] != "__"}
    return "\n".join([head, *(f"    {key}={value}" for key, value in fields.items())])


def coloured(line: str, dice: random.Random) -> str:
    """Write colours into a line."""
    for colour in ("\x1b[32m", "\x1b[0m", "\x1b[1;39m", "\x1b[K")[: dice.randrange(1, 5)]:
        at = dice.randrange(len(line) + 1)
        line = line[:at] + colour + line[at:]
    return line


LINEWISE: Final = (
    ("[{}] {}", "[{}][ T1] {}", "[{}] [C2] {}"),
    ("<4>[{}] {}", "<4>[{}][   T1] {}", "<15>[{}] {}"),
    ("kern  :debug : [{}] {}", "kern  :debug : [{}][ T1] {}", "user  :info  : [{}] {}"),
    ("Aug 28 13:16:32 web1 kernel: [{}] {}", "Aug 28 13:16:32 web2 kernel: [{}] {}"),
    ("Aug 28 13:16:32 kernel: [{}] {}", "Aug 28 13:16:33 kernel: [{}] {}"),
    ("Aug 28 13:16:32 web1 kernel: [{}] {}", "Aug 28 13:16:32 web1 kernel: [{}][ T12] {}"),
    ("Aug 28 13:16:32 web1 kern.warn kernel: [{}] {}", "Aug 28 13:16:33 web1 kernel: [{}] {}"),
    ("<4>1 2026-03-01T10:11:12Z web1 kernel - - - [{}] {}",
     "<4>1 2026-03-01T10:11:12Z web2 kernel - - - [{}] {}"),
    ("[{}] web1 kernel: {}", "[{}] web2 kernel: {}", "[{}] kernel: {}", "[{}] {}"),
    ("2026-11-28T20:52:14,123456+01:00 {1}", "2026-11-28T19:52:14,123456+00:00 {1}",
     "2026-11-28T20:52:14,000000+01:00 {1}", "2026-11-28T20:52:14,123457+01:00 {1}"),
    ("7,5,1500000,-;{1}", "7,5,1500001,-;{1}", "7,6,1500000,-;{1}"),
    ("[    1.500000] {1}", "[1.500000] {1}", '{{"pri": 7, "time": 1.5, "msg": "{1}"}}'),
)  # fmt: skip
"""How each line of a record is written: in two ways, and then in those of others.

The second way may be that of another host, caller or moment.
"""

ONE_LINE: Final[tuple[Callable[[Message, random.Random], str], ...]] = (
    plain, plain, plain, localized, journalctl, journalctl, printed,
)  # fmt: skip


def line(told: Message, dice: random.Random) -> str:
    """Write a line as somebody does."""
    made = dice.choice(ONE_LINE)(told, dice)
    return coloured(made, dice) if dice.random() < 0.05 else made


def continued(told: Message, further: str, dice: random.Random) -> str:
    """Write a record of two lines, each with the record's sign; others may come in between.

    Where these are of another host, caller or program, they do not part it.
    """
    shapes = dice.choice(LINEWISE)
    others = (shapes[0], "Aug 28 13:16:32 web1 sshd[77]: [{}] {}")
    between = [
        dice.choice((*shapes, *others)).format(dice.choice((told.seconds, "    1.000000")), "no")
        for _ in range(dice.choice((0, 0, 1, 2, 30)))
    ]
    first, second = (dice.choice(shapes[:2]) for _ in range(2))
    if dice.random() < 0.8:
        second = first
    lines = [first.format(told.seconds, told.text), *between, second.format(told.seconds, further)]
    return "\n".join(lines)
