"""What a line must yield, told plainly and apart from the product: no pattern, no code of its own.

The messages are written from the kernel's format strings (net/ipv4/tcp_timer.c), the shapes from
those who print them: printk's device, dmesg(1), journalctl(1), and RFC 3164 and 5424 as rsyslog
writes them. Times that only say when a line was written are looked at, but not checked.
"""

import ipaddress
import json
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import evolve, frozen

FORMATS: Final = (
    ("TCP: Treason uncloaked! Peer ", " shrinks window ", ":", ". Repaired."),
    ("TCP: Peer ", " unexpectedly shrunk window ", ":", " (repaired)"),
    ("MPTCP: Peer ", " unexpectedly shrunk window ", ":", " (repaired)"),
    ("Peer ", " unexpectedly shrunk window ", ":", " (repaired)"),
    ("Probing zero-window on ", ", seq=", ":", ", recv ", "ms ago, lasting ", "ms"),
)
"""The words of each form; an address, its ports and numbers stand between them."""

NEEDLES: Final = ("Treason uncloaked!", "unexpectedly shrunk", "Probing zero-window")
"""A line without any of them has no message, as long as it is written without escapes."""

DIGITS: Final = "0123456789"
HEX: Final = "0123456789abcdef"
SMALL: Final = "abcdefghijklmnopqrstuvwxyz"
LARGE: Final = SMALL.upper()
LEVELS: Final = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")
NATIVE_IPV6: Final = ipaddress.ip_address("127.0.0.6")
EXACT: Final = 10**6 << 32
"""Microseconds since boot, from which on a number of seconds does not tell them apart."""


@frozen
class Peer:
    """Whom a line accuses, and who vouches for it; ``micros`` since boot where the line tells."""

    address: str
    peer_port: int
    local_port: int
    trusted: bool
    count: int = 1
    micros: int | None = None


def message(text: str, *, trusted: bool = True) -> Peer | None:
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
            return Peer(who, int(port), int(numbers[0]), trusted)
    return None


def address(text: str) -> str | None:
    """Read what ``%pI4`` or ``%pI6`` printed; give it as everybody writes it."""
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
    return None if host == NATIVE_IPV6 else str(host)


def line(text: str, *, trusted: bool) -> Peer | None:
    """Read one line in whatever shape."""
    if text.startswith(" "):
        return None
    if text.startswith("{"):
        return json_line(text, trusted=trusted)
    if is_record(text):
        found = record(text)
        return found and evolve(found, trusted=found.trusted and trusted)
    if text.startswith("<"):
        number, closed, rest = text[1:].partition(">")
        if closed and is_number(number, 3):
            text, trusted = rest, trusted and int(number) < 8
    if without_date(text) != text:
        return stamped(without_date(text), trusted=trusted)
    if tagged := new_syslog(text) or old_syslog(text):
        name, tag, body = tagged
        trusted = trusted and name in {"", "kern"}
        return logged(body, trusted=trusted) if tag == "kernel" else None
    if decoded := facility(text):
        name, text = decoded
        trusted = trusted and name == "kern"
    return stamped(without_date(text), trusted=trusted)


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
    )


def record(text: str) -> Peer | None:
    """Read ``PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;text``."""
    head, _, body = text.partition(";")
    priority, _, micros, _ = head.split(",", 3)
    found = message(unescaped(body), trusted=int(priority) < 8)
    return found and evolve(found, micros=exact(int(micros)))


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


def new_syslog(text: str) -> tuple[str, str, str] | None:
    """Return tag and body of RFC 5424, behind its priority; a process is not the kernel."""
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
    return "", tag, rest.removeprefix(" ").removeprefix("\ufeff")


def old_syslog(text: str) -> tuple[str, str, str] | None:
    """Return facility, tag with process, and body of a line as a logger or journalctl writes it."""
    rest = behind_time(text)
    if rest is None:
        return None
    first, _, others = rest.partition(" ")
    named = is_word(first) and not (first.endswith(":") and first.count(":") == 1 < len(first))
    return (named and behind_host(others)) or behind_host(rest) or None


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


def logged(text: str, *, trusted: bool) -> Peer | None:
    """Read the body of a line of a log, which may say that it stands for several."""
    text, micros = without_stamp(text)
    first, times, rest = text.partition(" times: [")
    number = first.removeprefix("message repeated ")
    if times and number != first and is_number(number, 9) and number[0] != "0" and rest[-1:] == "]":
        text, micros = without_stamp(rest[:-1].removeprefix(" "))
        found = message(text, trusted=trusted)
        return found and evolve(found, count=int(number), micros=micros)
    found = message(text, trusted=trusted)
    return found and evolve(found, micros=micros)


def stamped(text: str, *, trusted: bool) -> Peer | None:
    """Read a message that may stand behind the kernel's own stamp."""
    text, micros = without_stamp(text)
    found = message(text, trusted=trusted)
    return found and evolve(found, micros=micros)


def without_date(text: str) -> str:
    """Take off the date of ``dmesg --time-format iso``."""
    is_date = is_like(text[:33], "9999-99-99T########,999999~99:99 ")
    return text[33:] if is_date and text[26] in "+-" else text


def without_stamp(text: str) -> tuple[str, int | None]:
    """Take off what dmesg prints in brackets; give also the microseconds since boot."""
    inside, closed, rest = text.partition("]")
    if not text.startswith("[") or not closed:
        return text, None
    if rest.startswith(("[", " [")):
        caller, closed, behind = rest.lstrip(" ")[1:].partition("]")
        caller = caller.lstrip(" ")
        if closed and caller[:1] in {"T", "C"} and is_number(caller[1:], len(caller)):
            rest = behind if behind.startswith(" ") else rest
    if not rest.startswith(" "):
        return text, None
    time, _, delta = inside[1:].partition(" <")
    if delta and not is_delta(f"<{delta}"):
        return text, None
    if is_delta(time) or is_date(time, delta):
        return rest[1:], None
    seconds, _, micros = time.lstrip(" ").partition(".")
    if not delta and seconds.startswith("+"):
        seconds = seconds[1:]
        time = ""
    if not (is_number(seconds, len(text)) and len(micros) == 6 and only(micros, DIGITS)):
        return text, None
    return rest[1:], exact(int(seconds + micros)) if time else None


def is_date(text: str, delta: str) -> bool:
    """Return whether it is the time of day, as ``dmesg -T`` and ``-e`` write it."""
    short = any(is_like(text, f"Aaa{day} 99:99") for day in ("9", "99", " 9", " 99"))
    return is_like(text, "Aaa Aaa *9 ######## 9999") or (short and not delta)


def is_delta(text: str) -> bool:
    """Return whether it is ``<    0.000001>``, as ``dmesg -d`` writes it."""
    return len(text) > 2 and text[0] + text[-1] == "<>" and only(text[1:-1], DIGITS + " .")


def json_line(text: str, *, trusted: bool) -> Peer | None:
    """Read an entry of the journal, or a record of ``dmesg --json``, in one line."""
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if "MESSAGE" in entry:
        return journal(entry, trusted=trusted)
    return dmesg(entry, trusted=trusted)


def dmesg(entry: Mapping[str, object], *, trusted: bool) -> Peer | None:
    """Read a record of ``dmesg --json``."""
    text, name, priority, time = (entry.get(key) for key in ("msg", "fac", "pri", "time"))
    if not isinstance(text, str):
        return None
    if isinstance(name, str):
        trusted = trusted and name == "kern"
    elif isinstance(priority, int) and not isinstance(priority, bool):
        trusted = trusted and priority < 8
    micros = None
    if isinstance(time, int | float) and not isinstance(time, bool) and 0 <= time < EXACT / 10**6:
        micros = exact(round(time * 1e6))
    found = message(text, trusted=trusted)
    return found and evolve(found, micros=micros)


def journal(entry: Mapping[str, object], *, trusted: bool) -> Peer | None:
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
    found = message(text, trusted=trusted and kernel and of_kernel)
    known = exact(int(str(micros))) if is_number(micros, 20) else None
    return found and evolve(found, micros=known)


def exact(micros: int) -> int | None:
    """Return microseconds that a number of seconds can tell apart."""
    return micros if micros < EXACT else None


def only(text: str, alphabet: Sequence[str]) -> bool:
    """Return whether no other characters are in it."""
    return all(character in alphabet for character in text)


def is_number(text: object, longest: int) -> bool:
    """Return whether it is a row of digits, of some length."""
    return isinstance(text, str) and 1 <= len(text) <= longest and only(text, DIGITS)


def is_port(text: str) -> bool:
    """Return whether ``%u`` of a port printed it."""
    return is_number(text, 5) and str(int(text)) == text and int(text) < 65536


def is_word(text: str) -> bool:
    """Return whether it holds something, and no blanks."""
    return text.split() == [text]


def is_like(text: str, picture: str) -> bool:
    """Compare with a picture: letters A a, a digit 9, that or a blank *, or a colon #, a sign ~."""
    sets = {"A": LARGE, "a": SMALL, "9": DIGITS, "*": DIGITS + " ", "#": DIGITS + ":", "~": "+-"}
    return len(text) == len(picture) and all(
        character in sets.get(place, place) for character, place in zip(text, picture, strict=True)
    )


def document(text: str) -> list[dict[str, object]] | None:
    """Return the records of what ``dmesg --json`` printed; None if it is not printed so."""
    try:
        given = json.loads(text)
        records = list(given["dmesg"])
    except (ValueError, RecursionError, TypeError, KeyError):
        return None
    printed = ["{", '   "dmesg": [']
    for number, entry in enumerate(records):
        if not isinstance(entry, dict) or list(entry)[-1:] != ["msg"]:
            return None
        printed.append("      },{" if number else "      {")
        printed += [f'         "{key}": {json.dumps(entry[key])},' for key in entry]
        printed[-1] = printed[-1].removesuffix(",")
    return records if text.split("\n") == [*printed, "      }", "   ]", "}", ""] else None


def export(content: bytes) -> list[dict[str, object]] | None:
    """Return the whole entries in the journal's export format; None if a value has no end."""
    entries, entry = list[dict[str, object]](), dict[str, object]()
    while b"\n" in content:
        line, _, content = content.partition(b"\n")
        if not line:
            entries.append(entry)
            entry = {}
            continue
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(content[:8], "little")
            if len(content) < 8 + length + 1:
                break
            if content[8 + length : 9 + length] != b"\n":
                return None
            value, content = content[8 : 8 + length], content[8 + length + 1 :]
        key, told = name.decode(errors="replace"), value.decode(errors="replace")
        known = entry.get(key)
        entry[key] = told if known is None else [known, told]
    return entries


def printed(output: str) -> list[str]:
    """Return the kernel's records of ``dmesg -x``: the further lines of one are indented."""
    records = list[str]()
    indent = ""
    for each in output.split("\n"):
        decoded = facility(each)
        if decoded and decoded[0] == "kern":
            body, _ = without_stamp(decoded[1])
            indent = " " * (len(each) - len(body))
            records.append(each)
        elif indent and each.startswith(indent):
            records[-1] += "\n" + each
        else:
            indent = ""
    return records
