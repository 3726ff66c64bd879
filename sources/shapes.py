"""Every shape in which a kernel message stands in a line of text.

Whether the text is trusted at all, the caller says. A facility in a record can only take trust
away: 0 is the kernel's (RFC 5424 §6.2.1), but whoever can get a line into a file can write that,
too. ``<7>`` tells nothing, since ``dmesg -r`` of util-linux 2.38 prints it for every facility;
``<15>`` cannot be the kernel's.
"""

import json
import re
import time
from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve, frozen

from reconciler import Record
from sources.times import epoch

# The flags c and + (before 4.9) mark a piece of a line that another message cut, and ncfrag one of
# what netconsole divides (Documentation/networking/netconsole.rst): no whole message.
_KMSG: Final = re.compile(
    r"([0-9]{1,9}),([0-9]{1,20}),([0-9]{1,20}),(?![c+])(?![^;]*,ncfrag=)[^;]*;(.*)", re.DOTALL
)
_ESCAPED: Final = re.compile(r"(?:\\x[0-9a-f]{2})+")  # the bytes of one character stand together
_PRI: Final = re.compile(r"<([0-9]{1,3})>")
_RFC5424: Final = re.compile(
    r"1 (?P<time>\S+) (?P<host>\S+) (?P<tag>\S+) (?P<process>\S+) \S+ "
    r"(?:-|(?:\[[^\]]*\])+) ?\ufeff?(?P<text>.*)"
)
_TIME: Final = (
    r"(?P<time>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}(?:\.[0-9]{1,9})?"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]{8,}\S*"
    r"|[A-Z][a-z]{2} [0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.]{8,15} \S+"
    r"|[0-9]{9,11}\.[0-9]{6}) "
)
_TIMED: Final = re.compile(_TIME)
_SYSLOG: Final = re.compile(
    _TIME + r"(?:(?!\S*: )(?P<host>\S+) )?"  # `syslogd -S` of busybox writes no host
    r"(?:(?P<facility>[a-z0-9]{2,10})\.(?P<level>[a-z]{3,7}) )?"  # busybox writes these
    r"(?P<tag>[^\s:\[]+)(?P<process>\[[0-9]+\])?:(?: |(?=\[))(?P<text>.*)"
)
_DECODED: Final = re.compile(
    r"(?P<facility>[a-z0-9]{2,10}) *:(?P<level>emerg|alert|crit|err|warn|notice|info|debug) *: "
    r"(?P<text>.*)",
    re.DOTALL,
)
_DMESG_ISO: Final = re.compile(
    r"(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8},[0-9]{6}[+-][0-9]{2}:[0-9]{2}) (?P<text>.*)",
    re.DOTALL,
)
_STAMP: Final = re.compile(
    r"\[(?: *(?P<monotonic>[0-9]+\.[0-9]{6})(?: <[ 0-9.,]+>| +)?"
    r"|(?P<time>[^][<>]{1,40} [0-9]{1,2} [0-9:]{8} [0-9]{4})(?: <[ 0-9.,]+>)?"
    r"|<[ 0-9.,]+>"
    r"|[^][<>]{1,30}[0-9]{1,2} [0-9]{2}:[0-9]{2}"
    r"| *\+[0-9]+[.,][0-9]{6})\](?: ?\[ *(?P<caller>[TC][0-9]+)\])? "
)
_HOSTED: Final = re.compile(r"(?:(?!\S*: )(?P<host>\S+) )?kernel: (?P<text>.*)")
"""What journalctl's short-monotonic and short-delta print behind the stamp.

A word that ends in a colon is no host: the kernel itself says ``usb1: kernel: `` and what a user
chose.
"""

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*[mK]")
"""ECMA-48 §5.4: how dmesg and journalctl colour what they print."""

_FRAMES: Final = ("\x1e", "data: ")
"""What stands before an entry with journalctl's json-seq (RFC 7464) and json-sse."""

_LEVELS: Final = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")
_MEMBER: Final = re.compile(r' +"(fac|pri|time|msg)": +(.*?),?')
_AT_ONCE: Final = re.compile(r"\[[^]]*[<+] *0[.,]000000>?\]")
_REPEATED: Final = re.compile(r"message repeated ([1-9][0-9]{0,8}) times: \[ ?(.*)\]")


def parse(line: str, *, trusted: bool, now: float | None = None) -> Record | None:
    """Read one line; None if it is another program's, or no record at all.

    ``trusted`` says whether the text is believed at all. A time without a year is the nearest past
    one, seen from ``now`` (epoch seconds; None: the clock's).
    """
    if line.startswith(" "):
        return None  # a continuation of the record before
    now = time.time() if now is None else now
    if "\x1b" in line:
        line = _COLOUR.sub("", line)
    if line.startswith("["):
        return _bare(line, now, trusted=trusted)  # no prefix but a stamp begins so
    for frame in _FRAMES:
        if line.startswith(f"{frame}{{"):
            line = line.removeprefix(frame)
    if line.startswith("{"):
        return _json(line, trusted=trusted)
    if record := kmsg(line):
        return evolve(record, trusted=record.trusted and trusted)
    priority = None
    if match := _PRI.match(line):
        priority, line = int(match[1]), line[match.end() :]
        trusted = trusted and priority < 8
    return _text(line, priority, now, trusted=trusted)


@frozen
class Origin:
    """Where a line comes from: the host and who called printk there, where they are told.

    ``at_once`` tells that the record came no time after the one before, and ``date`` is what dmesg
    writes of its time.
    """

    host: str | None = None
    caller: str | None = None
    at_once: bool = False
    date: str | None = None

    def may_be(self, other: "Origin") -> bool:
        """Whether both may be the same; what one does not tell separates nothing."""
        return (None in {self.host, other.host} or self.host == other.host) and (
            None in {self.caller, other.caller} or self.caller == other.caller
        )


def origin(line: str) -> Origin:
    """Return where a line comes from that `parse` reads; what the message says does not count."""
    host = None
    line = _COLOUR.sub("", line)
    bare = line.startswith("[")
    if match := _PRI.match(line):
        line = line[match.end() :]
    if (match := _RFC5424.fullmatch(line)) or (match := _SYSLOG.fullmatch(line)):
        host, line = match["host"], match["text"]
        if match := _REPEATED.fullmatch(line):
            line = match[2]
    else:
        for prefix in (_DECODED, _DMESG_ISO):
            if match := prefix.fullmatch(line):
                line = match["text"]
    stamp = _STAMP.match(line)
    if stamp is None:
        return Origin(host)
    if bare and stamp["monotonic"] and (match := _HOSTED.fullmatch(line[stamp.end() :])):
        host = match["host"]
    caller = stamp["caller"] if stamp["monotonic"] else None
    return Origin(host, caller, _AT_ONCE.match(stamp[0]) is not None, stamp["time"])


def is_known(line: str) -> bool:
    """Whether a line has a form that is known here, whoever wrote it."""
    line = _COLOUR.sub("", line)
    if parse(line, trusted=True) is None:
        return bool(_TIMED.match(line) or _RFC5424.fullmatch(_PRI.sub("", line, count=1)))
    bare = (_KMSG, _PRI, _DMESG_ISO, _TIMED, _DECODED, _STAMP)
    return line.startswith(("{", *_FRAMES)) or any(shape.match(line) for shape in bare)


def member(line: str) -> dict[str, Any]:
    """Read the one member of a record that stands in a line of ``dmesg --json``, if there is one.

    That output spreads a record over four lines; the message comes last.
    """
    match = _MEMBER.fullmatch(line)
    try:
        return {match[1]: json.loads(match[2])} if match else {}
    except ValueError:
        return {}


def dmesg(entry: dict[str, Any], *, trusted: bool) -> Record | None:
    """Read a record of ``dmesg --json``; with ``-x`` it names the facility."""
    message, name, priority, time = (entry.get(key) for key in ("msg", "fac", "pri", "time"))
    if not isinstance(message, str):
        return None
    facility = level = None
    if isinstance(name, str):
        facility = 0 if name == "kern" else 1
        level = _level(priority) if isinstance(priority, str) else None
    elif type(priority) is int and priority >= 0:
        facility, level = priority // 8 or None, priority % 8
    return Record(
        text=message,
        carrier="dmesg",
        trusted=trusted and facility in {None, 0},
        facility=facility,
        level=level,
        monotonic=_seconds(time),
    )


def kmsg(line: str) -> Record | None:
    """Read ``PRI,SEQUENCE,MICROSECONDS,FLAGS;text`` (kernel's ABI/testing/dev-kmsg)."""
    match = _KMSG.fullmatch(line)
    if match is None:
        return None
    facility, level = divmod(int(match[1]), 8)
    return Record(
        text=unescaped(match[4]),
        carrier="kmsg",
        trusted=facility == 0,
        facility=facility,
        level=level,
        sequence=int(match[2]),
        monotonic=int(match[3]) / 1e6,
    )


def unescaped(text: str) -> str:
    r"""Undo the kernel's ``\xNN``, which stand for bytes of UTF-8."""

    def decoded(match: re.Match[str]) -> str:
        return bytes.fromhex(match[0].replace("\\x", "")).decode(errors="replace")

    return _ESCAPED.sub(decoded, text)


def _bare(line: str, now: float, *, trusted: bool) -> Record:
    text, monotonic, when = _unstamped(line, now)
    carrier = "dmesg"
    if monotonic is not None and (match := _HOSTED.fullmatch(text)):
        carrier, text = "syslog", match["text"]
    return Record(text=text, carrier=carrier, trusted=trusted, monotonic=monotonic, time=when)


def _text(line: str, priority: int | None, now: float, *, trusted: bool) -> Record | None:
    """Read a line without its ``<PRIORITY>``; that of 0 to 7 is the kernel's in RFC 5424 only."""
    match: re.Match[str] | None
    carrier, when = "dmesg", None
    facility, level = (None, None) if priority is None else divmod(priority, 8)
    facility = facility or None
    if iso := _DMESG_ISO.fullmatch(line):
        match, when, line = iso, epoch(iso["time"], now), iso["text"]
    elif (match := _RFC5424.fullmatch(line)) or (match := _SYSLOG.fullmatch(line)):
        if match["tag"] != "kernel" or match["process"] not in {None, "-"}:
            return None  # the kernel has no number: a process called itself so
        carrier, when, line = "syslog", epoch(match["time"], now), match["text"]
        if match.re is _RFC5424:
            facility = None if priority is None else priority // 8
    elif _TIMED.match(line):
        return None  # a logging daemon wrote it, but not who speaks
    elif match := _DECODED.fullmatch(line):
        line = match["text"]
        if iso := _DMESG_ISO.fullmatch(line):
            when, line = epoch(iso["time"], now), iso["text"]
    named = match.groupdict() if match else {}
    if named.get("facility"):
        facility, level = (0 if named["facility"] == "kern" else 1), _level(named["level"])
    # Behind an ISO time dmesg writes no stamp: what looks like one is of the message.
    line, monotonic, stamped = (line, None, None) if iso else _unstamped(line, now)
    repeated = 1
    # The kernel's stamp stands within: where it stands before, somebody made the kernel say this.
    if carrier == "syslog" and monotonic is None and (match := _REPEATED.fullmatch(line)):
        repeated = int(match[1])
        line, monotonic, stamped = _unstamped(match[2], now)
    return Record(
        text=line,
        carrier=carrier,
        trusted=trusted and facility in {None, 0},
        facility=facility,
        level=level,
        monotonic=monotonic,
        time=stamped if when is None else when,
        repeated=repeated,
    )


def _level(name: str) -> int | None:
    """Return the number of a level; busybox has names of its own for some."""
    name = {"panic": "emerg", "error": "err", "warning": "warn"}.get(name, name)
    return _LEVELS.index(name) if name in _LEVELS else None


def _unstamped(text: str, now: float) -> tuple[str, float | None, float | None]:
    """Take off ``[61238.407346] `` and its kin; return what it tells of time, too."""
    match = _STAMP.match(text)
    if match is None:
        return text, None, None
    monotonic = float(match["monotonic"]) if match["monotonic"] else None
    return text[match.end() :], monotonic, epoch(match["time"], now) if match["time"] else None


def _seconds(time: object) -> float | None:
    """Read a number of JSON; what is no time is none."""
    if isinstance(time, int | float) and not isinstance(time, bool) and 0 <= time < 1e12:
        return float(time)
    return None


def _json(line: str, *, trusted: bool) -> Record | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    read = journal if "MESSAGE" in entry else dmesg
    return read(entry, trusted=trusted)


def journal(entry: Mapping[str, Any], *, trusted: bool) -> Record | None:
    """Read an entry of the journal (systemd's JOURNAL_EXPORT_FORMATS), as its JSON has it.

    journald stamps ``_TRANSPORT=kernel`` on what a process wrote to /dev/kmsg, too, and moves
    the text before the first colon to the identifier there; it goes back to its place here.
    """
    message, identifier = entry["MESSAGE"], entry.get("SYSLOG_IDENTIFIER")
    if isinstance(message, list) and all(type(b) is int and 0 <= b <= 0xFF for b in message):
        message = bytes(message).decode(errors="replace")
    if not isinstance(message, str):
        return None
    kernel = entry.get("_TRANSPORT") == "kernel"
    facility = _number(entry.get("SYSLOG_FACILITY"))
    if kernel and isinstance(identifier, str) and identifier != "kernel":
        message = f"{identifier}: {message}"
    monotonic, time = (
        None if micros is None else micros / 1e6
        for micros in map(
            _number,
            (entry.get("_SOURCE_MONOTONIC_TIMESTAMP"), entry.get("__REALTIME_TIMESTAMP")),
        )
    )
    return Record(
        text=message,
        carrier="journal",
        trusted=trusted and kernel and facility == 0 and identifier == "kernel",
        facility=facility,
        level=_number(entry.get("PRIORITY")),
        monotonic=monotonic,
        time=time,
        boot_id=boot if isinstance(boot := entry.get("_BOOT_ID"), str) else None,
    )


def _number(text: object) -> int | None:
    if isinstance(text, str) and text.isdecimal() and text.isascii() and len(text) <= 20:
        return int(text)
    return None
