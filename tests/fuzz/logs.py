"""What must be read in several lines: in a log, in documents, and in what commands print.

Told plainly, and apart from the product.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from attrs import frozen
from reference import (
    NOW,
    Peer,
    Said,
    dmesg,
    facility,
    journal,
    json_line,
    said,
    without_colours,
)
from stamps import without_stamp
from texts import DIGITS, HEX, LARGE, is_like, only

NEAR: Final = 40
"""Lines in which the nearest one decides; farther back one with an equal sign does."""

BACK: Final = 10_000
"""Lines of others that may stand between two lines of one record."""


@frozen
class Log:
    """A log as far as it is written; a line of ``longest`` bytes is none of the kernel's."""

    content: bytes
    longest: int

    def lines(self) -> list[bytes]:
        """Return its lines without their ends; the last is what has none yet."""
        return self.content.split(b"\n")

    def one(self, at: int) -> Said | None:
        """Read a line by itself, and none that continues the record of a line before."""
        lines = self.lines()
        if not self.is_kept(lines, at):
            return None
        found = said(as_text(lines[at]), trusted=True)
        if found is None:
            return None
        if found.sign is None:
            last = said(as_text(lines[at - 1]), trusted=True) if at and found.at_once else None
            if last is None or last.carrier != "dmesg":
                return found
            return found if "" not in {last.date, found.date} and last.date != found.date else None
        earlier = [said(as_text(each), trusted=True) for each in lines[max(0, at - BACK) : at]]
        near, far = earlier[-NEAR:], earlier[:-NEAR]
        nearest = [
            each for each in near if each and each.sign is not None and is_beside(each, found)
        ]
        beside = nearest[-1:] or [each for each in far if each and is_beside(each, found)]
        return None if any(each.sign == found.sign for each in beside) else found

    def is_kept(self, lines: Sequence[bytes], at: int) -> bool:
        """Return whether it is a line that is looked at."""
        ended = at < len(lines) - 1
        return len(lines[at]) > 0 and len(lines[at]) + ended < self.longest

    def all(self) -> list[Said] | None:
        """Return what the kernel says in it, in order; None where nobody would write it so."""
        if self.content.startswith(b"__CURSOR="):
            entries = export(self.content)
            if entries is None:
                return None
            told = [journal(each, trusted=True) for each in entries if "MESSAGE" in each]
            return [each for each in told if each]
        lines = self.lines()
        places = [at for at in range(len(lines)) if self.is_kept(lines, at)]
        found: list[Said | None] = []
        while places:
            rows = [lines[at] for at in places]
            some, taken = spread(rows)
            found += some if taken else [self.one(places[0])]
            places = places[taken or 1 :]
        return [each for each in found if each]

    def is_spread(self) -> bool:
        """Return whether records may be spread over lines in it."""
        rows = [uncoloured(each) for each in self.lines()]
        return any(b" [s=" in each or each.rstrip() == b"{" for each in rows)


def as_text(line: bytes) -> str:
    """Return a line as text, without what a crash and other systems leave at its ends."""
    return line.rstrip(b"\r").lstrip(b"\0").decode(errors="replace")


def is_beside(one: Said, other: Said) -> bool:
    """Return whether both come the same way, and neither host nor caller tells them apart."""
    told = [(one.host, other.host), (one.caller, other.caller)]
    same = all(first == second or "" in {first, second} for first, second in told)
    return one.trusted and one.carrier == other.carrier and same


def uncoloured(row: bytes) -> bytes:
    """Take off what colours it on a terminal."""
    return without_colours(row.decode("latin-1")).encode("latin-1")


def spread(coloured: Sequence[bytes]) -> tuple[list[Said | None], int]:
    """Read what begins in the first row and goes on in others; give also how many rows it has."""
    rows = [uncoloured(each) for each in coloured]
    first = rows[0]
    if first.rstrip() == b"{":
        if rows[1:] and rows[1][:1] in {b" ", b"\t"} and rows[1].strip() == b'"dmesg": [':
            end = 2
            while end < len(rows) and rows[end].startswith(b"   "):
                end += 1
            return members(rows[2:end]), end
        end = 1
        while end < len(rows) and rows[end][:1] in {b" ", b"\t"}:
            end += 1
        if end < len(rows) and rows[end].startswith(b"}"):
            whole = b"\n".join(rows[: end + 1]).decode(errors="replace")
            return [json_line(without_colours(whole), trusted=True)], end + 1
        return [], end
    micros = header(first)
    if micros is None:
        return [], 0
    end = 1
    while end < len(rows) and rows[end].startswith(b"    "):
        end += 1
    return [verbose(micros, rows[1:end])], end


def members(rows: Sequence[bytes]) -> list[Said | None]:
    """Read the members of the records of ``dmesg --json``; one with an equal time is no message."""
    found: list[Said | None] = []
    known: dict[str, object] = {}
    stamp: int | None = None
    for row in rows:
        text = row.rstrip(b"\r").decode(errors="replace")
        name, colon, value = text.lstrip(" ").partition(": ")
        if colon and name in {'"fac"', '"pri"', '"time"', '"msg"'}:
            with suppress(ValueError):
                known[name.strip('"')] = json.loads(value.removesuffix(","))
        record = dmesg(known, trusted=True)
        if record:
            if record.micros is None or record.micros != stamp:
                found.append(record)
            known, stamp = {}, record.micros
        elif row.rstrip().endswith(b"{"):
            known = {}
    return found


def apart(entries: Sequence[Mapping[str, object]]) -> list[Said]:
    """Read the records of a document of dmesg; those of equal times are one, by its first line."""
    found: list[Said] = []
    stamp: int | None = None
    for entry in entries:
        record = dmesg(entry, trusted=True)
        if record:
            if record.micros is None or record.micros != stamp:
                found.append(record)
            stamp = record.micros
    return found


def header(row: bytes) -> int | None:
    """Read the first line of ``journalctl -o verbose``; give the time in the cursor."""
    text = row.decode(errors="replace")
    if not is_like(text[:15], "Aaa 9999-99-99 "):
        return None
    clock, bracket, cursor = text[15:].partition("[")
    inside, closed, _ = cursor.partition("]")
    fields = inside.split(";")[1 : None if closed else -1]
    times = [each[2:] for each in fields if each.startswith("t=")]
    times = [each for each in times if 1 <= len(each) <= 16 and only(each, HEX)]
    right = bracket and cursor.startswith("s=") and clock[-1:] == " " and len(clock) > 1 and times
    return int(times[-1], 16) if right else None


def verbose(micros: int, rows: Sequence[bytes]) -> Said | None:
    """Read the fields of an entry; further lines of a value are farther to the right."""
    fields: dict[str, str] = {"__REALTIME_TIMESTAMP": str(micros)}
    last = ""
    for row in rows:
        text = row.rstrip(b"\r").decode(errors="replace")[4:]
        name, equals, value = text.partition("=")
        if equals and name and only(name, LARGE + DIGITS + "_"):
            last = name
            fields.setdefault(name, value)
        elif last:
            fields[last] += "\n" + text.lstrip()
    return journal(fields, trusted=True) if "MESSAGE" in fields else None


def peers(found: Sequence[Said | None]) -> list[Peer]:
    """Return whom they accuse."""
    return [peer for each in found if each and (peer := each.peer())]


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
            body, _, _ = without_stamp(decoded[1], NOW)
            indent = " " * (len(each) - len(body))
            records.append(each)
        elif indent and each.startswith(indent):
            records[-1] += "\n" + each
        else:
            indent = ""
    return records
