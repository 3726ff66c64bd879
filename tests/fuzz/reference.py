"""What a line must yield, told plainly and apart from the product: no pattern, no code of its own.

The messages are written from the kernel's format strings (net/ipv4/tcp_timer.c), the shapes from
those who print them: printk's device, dmesg(1), journalctl(1), and RFC 3164 and 5424 as rsyslog
writes them. `moments` reads the times in them, and `logs` what stands in several lines.
"""

import ipaddress
import json
from collections.abc import Mapping
from typing import Final

from attrs import evolve, frozen
from moments import Moment, iso, moment, rounded
from stamps import called, date_of, is_at_once, is_dated, without_stamp
from texts import DIGITS, HEX, SMALL, is_like, is_number, is_port, is_word, only

FORMATS: Final = (
    ("TCP: Treason uncloaked! Peer ", " shrinks window ", ":", ". Repaired."),
    ("TCP: Peer ", " unexpectedly shrunk window ", ":", " (repaired)"),
    ("MPTCP: Peer ", " unexpectedly shrunk window ", ":", " (repaired)"),
    ("Peer ", " unexpectedly shrunk window ", ":", " (repaired)"),
    ("Probing zero-window on ", ", seq=", ":", ", recv ", "ms ago, lasting ", "ms"),
    ("TCP: peer ", " shrinks window ", ":", ":", ". Bad, what else can I say?"),
)
"""The words of each form; an address, its ports and numbers stand between them."""

LEVELS: Final = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")
NATIVE_IPV6: Final = ipaddress.ip_address("127.0.0.6")
EXACT: Final = 10**6 << 32
"""Microseconds since boot, from which on a number of seconds does not tell them apart."""

NOW: Final = 1_795_900_000.0
"""When the line is read, unless it is said otherwise: in November 2026."""


class Disagreement(Exception):
    """The product gave something else than what is told here."""


@frozen
class Peer:
    """Whom a line accuses, and who vouches for it; ``micros`` since boot where the line tells.

    ``when`` is the time that it tells otherwise.
    """

    address: str
    peer_port: int
    local_port: int
    trusted: bool
    count: int = 1
    micros: int | None = None
    when: Moment = None


@frozen
class Said:
    """What the kernel said in a line, and where.

    All lines of a record have one ``sign``, if any, of the same carrier, host and caller (empty:
    not told). One that is ``at_once`` says itself that it came no time after the record before.
    """

    text: str
    trusted: bool
    count: int = 1
    micros: int | None = None
    when: Moment = None
    carrier: str = ""
    sign: object = None
    host: str = ""
    caller: str = ""
    at_once: bool = False
    date: str = ""

    def peer(self) -> Peer | None:
        """Return whom it accuses."""
        found = message(self.text)
        micros = None if self.micros is None or self.micros >= EXACT else self.micros
        return found and Peer(*found, self.trusted, self.count, micros, self.when)


def message(text: str) -> tuple[str, int, int] | None:
    """Read the kernel's own words; None unless they are all of the text."""
    for first, *words in FORMATS:
        if not text.startswith(first):
            continue
        peer, _, rest = text[len(first) :].partition("/")
        numbers = []
        for word in words:
            number, found, rest = rest.partition(word)
            if not found or not is_number(number, 10):
                break
            numbers.append(number)
        else:
            host, _, port = peer.rpartition(":")
            who = address(host)
            if rest or who is None or not is_port(port) or not is_port(numbers[0]):
                continue
            return who, int(port), int(numbers[0])
    return None


def address(text: str) -> str | None:
    """Read what ``%pI4`` or ``%pI6`` printed of a peer; give it as everybody writes it."""
    if ":" in text:
        groups = text.split(":")
        if len(groups) != 8 or not all(len(g) == 4 and only(g, HEX) for g in groups):
            return None
        six = ipaddress.IPv6Address(text)
        host: ipaddress.IPv4Address | ipaddress.IPv6Address = six.ipv4_mapped or six
    else:
        try:
            host = ipaddress.IPv4Address(text)
        except ValueError:
            return None
    return str(host) if is_somebody(host) else None


def is_somebody(host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether a packet can come from there, or from behind a translator (NAT64)."""
    if host.version == 4:
        first = host.packed[0]
        return first not in {0, 127} and not 224 <= first <= 239 and str(host) != "255.255.255.255"
    network, last = host.packed[:12], host.packed[12:]
    if network == bytes.fromhex("0064ff9b") + bytes(8):
        return is_somebody(ipaddress.IPv4Address(last))
    return network != bytes(12) and network[0] != 0xFF


def line(text: str, *, trusted: bool, now: float = NOW) -> Peer | None:
    """Read one line in whatever shape."""
    found = said(text, trusted=trusted, now=now)
    return found.peer() if found else None


def said(text: str, *, trusted: bool, now: float = NOW) -> Said | None:
    """Read one line in whatever shape; None if it is none of the kernel's."""
    if text.startswith(" "):
        return None
    text = without_colours(text)
    if text.startswith("["):
        return hosted(text, now, trusted=trusted)
    text = without_frame(text)
    if text.startswith("{"):
        return json_line(text, trusted=trusted)
    if is_record(text):
        return record(text, trusted=trusted)
    return worded(text, now, trusted=trusted)


def worded(text: str, now: float, *, trusted: bool) -> Said | None:
    """Read a line that may begin with a priority, and then with a time or a facility."""
    if text.startswith("<"):
        number, closed, rest = text[1:].partition(">")
        if closed and is_number(number, 3):
            text, trusted = rest, trusted and int(number) < 8
    if is_dated(text):
        return by_dmesg(text, trusted=trusted)
    if tagged := new_syslog(text) or old_syslog(text):
        name, tag, body, host = tagged
        if tag != "kernel":
            return None
        found = logged(body, now, trusted=trusted and name in {"", "kern"}, when=written(text, now))
        return evolve(found, host=host)
    if behind_time(text) is not None:
        return None
    if decoded := facility(text):
        name, text = decoded
        trusted = trusted and name == "kern"
    return (
        by_dmesg(text, trusted=trusted) if is_dated(text) else stamped(text, now, trusted=trusted)
    )


def by_dmesg(text: str, *, trusted: bool) -> Said:
    """Read a line with the time of ``dmesg --time-format iso``, behind which no stamp stands."""
    when = iso(text[:32])
    sign = when if isinstance(when, float) else None
    return Said(text[33:], trusted, 1, None, when, "dmesg", sign)


def without_colours(text: str) -> str:
    """Take off what colours text on a terminal: the escape, a bracket, numbers, and a letter."""
    first, *others = text.split("\x1b[")
    for other in others:
        rest = other.lstrip(DIGITS + ";")
        first += rest[1:] if rest[:1] in {"m", "K"} else f"\x1b[{other}"
    return first


def without_frame(text: str) -> str:
    """Take off what journalctl's json-seq and json-sse write before an object."""
    for frame in ("\x1e", "data: "):
        if text.startswith(frame + "{"):
            return text[len(frame) :]
    return text


def is_record(text: str) -> bool:
    """Return whether it has the device's shape, with the text of a whole line."""
    head, semicolon, _ = text.partition(";")
    fields = head.split(",", 3)
    return (
        bool(semicolon)
        and len(fields) == 4
        and is_number(fields[0], 9)
        and is_number(fields[1], 20)
        and is_number(fields[2], 20)
        and not fields[3].startswith(("c", "+"))
        and ",ncfrag=" not in fields[3]
    )


def record(text: str, *, trusted: bool) -> Said:
    """Read ``PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;text``."""
    head, _, body = text.partition(";")
    priority, number, micros, _ = head.split(",", 3)
    trusted = trusted and int(priority) < 8
    return Said(
        unescaped(body), trusted, 1, int(micros), carrier="kmsg", sign=(int(number), int(micros))
    )


def unescaped(text: str) -> str:
    """Undo ``xNN`` behind a backslash: a byte."""
    made = bytearray()
    while text:
        if text.startswith("\\x") and len(text) >= 4 and only(text[2:4], HEX):
            made.append(int(text[2:4], 16))
            text = text[4:]
        else:
            made += text[0].encode(errors="surrogatepass")
            text = text[1:]
    return made.decode(errors="replace")


def new_syslog(text: str) -> tuple[str, str, str, str] | None:
    """Return tag, body and host of RFC 5424, behind its priority; a process is not the kernel."""
    words = text.split(" ", 6)
    if len(words) < 7 or words[0] != "1" or not all(map(is_word, words[1:6])):
        return None
    rest = words[6]
    if rest.startswith("-"):
        rest = rest[1:]
    elif rest.startswith("["):
        while rest.startswith("["):
            _, closed, after = rest.partition("]")
            if not closed:
                break  # it is the message that begins with a bracket
            rest = after
        if rest == words[6]:
            return None
    else:
        return None
    tag = words[3] if words[4] == "-" else f"{words[3]}[{words[4]}]"
    return "", tag, rest.removeprefix(" ").removeprefix("\ufeff"), words[2]


def old_syslog(text: str) -> tuple[str, str, str, str] | None:
    """Return facility, tag with process, body and host of what a logger or journalctl writes."""
    rest = behind_time(text)
    if rest is None:
        return None
    first, _, others = rest.partition(" ")
    if is_host(first) and (tagged := behind_host(others)):
        return *tagged, first
    tagged = behind_host(rest)
    return tagged and (*tagged, "")


def is_host(text: str) -> bool:
    """Return whether a word may name a host: a tag ends in a colon."""
    return is_word(text) and not text.endswith(":")


def behind_host(text: str) -> tuple[str, str, str] | None:
    """Return facility, tag and body of what stands behind the host."""
    first, _, others = text.partition(" ")
    name, dot, level = first.partition(".")
    named = dot and 2 <= len(name) <= 10 and only(name, SMALL + DIGITS)
    named = named and 3 <= len(level) <= 7 and only(level, SMALL)
    if named and (tagged := behind_host(others)) and not tagged[0]:
        return name, *tagged[1:]
    tag, colon, body = text.partition(":")
    if not colon or not body.startswith((" ", "[")) or not is_word(tag):
        return None
    if "[" in tag:
        number = tag[tag.index("[") + 1 : -1]
        if tag.startswith("[") or not tag.endswith("]") or not is_number(number, len(tag)):
            return None
    return "", tag, body.removeprefix(" ")


def behind_time(text: str) -> str | None:
    """Return what stands behind a time in one of the forms that loggers and journalctl write."""
    if is_like(text[:15], "Aaa *9 ########"):
        rest = text[15:]
        if rest.startswith("."):
            part, _, rest = rest.partition(" ")
            return rest if is_number(part[1:], 9) else None
        return rest[1:] if rest.startswith(" ") else None
    if is_like(text[:15], "Aaa 9999-99-99 "):
        time, _, zoned = text[15:].partition(" ")
        zone, _, rest = zoned.partition(" ")
        right = 8 <= len(time) <= 15 and only(time, DIGITS + ":.") and is_word(zone)
        return rest if right else None
    if is_like(text[:10], "9999-99-99") and text[10:11] in {"T", " "}:
        time, _, rest = text[11:].partition(" ")
        right = len(time) >= 8 and only(time[:8], DIGITS + ":.,") and is_word(time)
        return rest if right else None
    time, _, rest = text.partition(" ")
    seconds, _, micros = time.partition(".")
    right = is_number(seconds, 11) and len(seconds) >= 9 and len(micros) == 6
    return rest if right and only(micros, DIGITS) else None


def facility(text: str) -> tuple[str, str] | None:
    """Return facility and body of a line of ``dmesg -x``."""
    name, _, rest = text.partition(":")
    level, colon, body = rest.partition(":")
    name = name.rstrip(" ")
    if not (2 <= len(name) <= 10 and only(name, SMALL + DIGITS)):
        return None
    if level.rstrip(" ") not in LEVELS or not colon or not body.startswith(" "):
        return None
    return name, body[1:]


def written(text: str, now: float) -> Moment:
    """Read the time that a logger or journalctl wrote; which form it is decides where it ends."""
    if new_syslog(text):
        word = text.split(" ")[1]
        return None if word == "-" else iso(word)
    rest = behind_time(text) or ""
    return moment(text[: len(text) - len(rest)].rstrip(" "), now)


def logged(text: str, now: float, *, trusted: bool, when: Moment) -> Said:
    """Read the body of a line of a log, which may say that it stands for several."""
    found = logged_once(text, now, trusted=trusted, when=when)
    first, times, rest = found.text.partition(" times: [")
    number = first.removeprefix("message repeated ")
    folded = times and number != first and is_number(number, 9) and number[0] != "0"
    if folded and rest[-1:] == "]" and found.micros is None:
        return evolve(
            logged_once(rest[:-1].removeprefix(" "), now, trusted=trusted, when=when),
            count=int(number),
        )
    return found


def logged_once(text: str, now: float, *, trusted: bool, when: Moment) -> Said:
    """Read a message in a log; only the kernel's own stamp is a sign there."""
    found = stamped(text, now, trusted=trusted, when=when)
    sign = None if found.micros is None else found.sign
    return evolve(found, carrier="syslog", sign=sign, at_once=False)


def stamped(text: str, now: float, *, trusted: bool, when: Moment = None) -> Said:
    """Read a message that may stand behind the kernel's own stamp."""
    body, micros, own = without_stamp(text, now)
    sign = None if micros is None else float(f"{micros}e-6")
    return Said(
        body,
        trusted,
        1,
        micros,
        own if when is None else when,
        "dmesg",
        sign,
        caller=called(text),
        at_once=is_at_once(text),
        date=date_of(text),
    )


def hosted(text: str, now: float, *, trusted: bool) -> Said:
    """Read what begins with a stamp; journalctl writes a host and the kernel's name behind it."""
    found = stamped(text, now, trusted=trusted)
    if found.micros is None or "\n" in found.text:
        return found
    host, blank, behind = found.text.partition(" ")
    if not (blank and is_host(host) and behind.startswith("kernel: ")):
        host, behind = "", found.text
    if not behind.startswith("kernel: "):
        return found
    return evolve(found, text=behind.removeprefix("kernel: "), host=host)


def json_line(text: str, *, trusted: bool) -> Said | None:
    """Read an entry of the journal, or a record of ``dmesg --json``, in one line."""
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if "MESSAGE" in entry:
        return journal(entry, trusted=trusted)
    return dmesg(entry, trusted=trusted)


def dmesg(entry: Mapping[str, object], *, trusted: bool) -> Said | None:
    """Read a record of ``dmesg --json``."""
    text, name, priority, time = (entry.get(key) for key in ("msg", "fac", "pri", "time"))
    if not isinstance(text, str):
        return None
    if isinstance(name, str):
        trusted = trusted and name == "kern"
    elif isinstance(priority, int) and not isinstance(priority, bool):
        trusted = trusted and priority < 8
    micros = sign = None
    if isinstance(time, int | float) and not isinstance(time, bool) and 0 <= time < 10**12:
        micros, sign = round(time * 1e6), float(time)
    return Said(text, trusted, micros=micros, carrier="dmesg", sign=sign)


def journal(entry: Mapping[str, object], *, trusted: bool) -> Said | None:
    """Read an entry of the journal; values are text, or a list of bytes."""
    text, identifier = entry["MESSAGE"], entry.get("SYSLOG_IDENTIFIER")
    if isinstance(text, list):
        if not all(type(byte) is int and 0 <= byte <= 255 for byte in text):
            return None
        text = bytes(text).decode(errors="replace")
    if not isinstance(text, str):
        return None
    kernel = entry.get("_TRANSPORT") == "kernel"
    if kernel and isinstance(identifier, str) and identifier != "kernel":
        text = f"{identifier}: {text}"  # where journald took it from
    own, micros = entry.get("SYSLOG_FACILITY"), entry.get("_SOURCE_MONOTONIC_TIMESTAMP")
    of_kernel = is_number(own, 20) and int(str(own)) == 0 and identifier == "kernel"
    known = int(str(micros)) if is_number(micros, 20) else None
    real = entry.get("__REALTIME_TIMESTAMP")
    when = rounded(int(str(real)) / 1e6) if is_number(real, 20) else None
    return Said(text, trusted and kernel and of_kernel, 1, known, when, "journal")
