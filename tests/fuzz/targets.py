"""The parsers that are fuzzed: each is compared with the reference on the same bytes.

A check gives the number of offences that both found, and raises `Disagreement` where they differ.
"""

import ipaddress
import json
import os
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Final
from unittest import mock

import blocklists
import carriers
import logs
import moments
import mutations
import paths
import reference
import structures
from attrs import evolve, frozen
from reference import NOW, Disagreement, Peer
from stamps import without_stamp
from texts import is_number

from reconciler import Record
from reconciler.detection.detect import RULES, detect
from reconciler.errors import InvalidNetwork
from reconciler.execute import Completed
from reconciler.model import Offence
from reconciler.network import Network
from sources import export, kmsg, shapes
from sources.dmesg import source as dmesg
from sources.file import Settings, lines, reading
from sources.file.source import File

CUT: Final = mutations.CUT.encode()
DIGITS: Final = b"0123456789ABCDEFabcdef.:"
BOOT: Final = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
SOUGHT: Final = [rule.needle for rule in RULES]
LONGEST: Final = 1024
"""Bytes of a line of a log, in place of the 65,536 that inputs do not reach."""

NOWS: Final = (NOW, 1_792_890_000.0, 1_709_215_200.0, 1_798_758_000.5)
"""When lines are read: also while summer time ends, on February 29, and at the end of a year."""


@frozen
class Target:
    """A parser: what it is tried on, and the comparison."""

    fresh: Callable[[random.Random], str]
    check: Callable[[bytes], int]

    def changed(self, data: bytes, seed: int, longest: int) -> bytes:
        """Return another input, made of this one or of a new one."""
        dice = random.Random(seed)  # noqa: S311 - inputs, no secrets
        kept = data and dice.random() < 0.5
        text = data.decode(errors="surrogateescape") if kept else self.fresh(dice)
        made = bytearray(mutations.mutated(text, dice, self.fresh).encode(errors="surrogateescape"))
        for _ in range(dice.choice((0, 0, 0, 0, 0, 0, 1, 2)) if made else 0):
            made[dice.randrange(len(made))] = dice.randrange(256)
        return bytes(made[:longest])


def same(found: object, expected: object) -> None:
    """Raise `Disagreement` if they are not equal."""
    if found != expected:
        raise Disagreement(f"treason gives {found!r}, the reference {expected!r}")


def peers(records: Iterable[Record | None]) -> list[Peer]:
    """Return what the product accuses."""
    return [_peer(offence) for record in records if record and (offence := detect(record))]


def _peer(offence: Offence) -> Peer:
    if offence.peer_port is None or offence.local_port is None:
        raise Disagreement(f"no port: {offence}")
    host = str(ipaddress.ip_address(str(offence.address)))
    ports = offence.peer_port, offence.local_port
    when = None if offence.time is None else moments.rounded(offence.time)
    return Peer(host, *ports, offence.trusted, offence.count, offence.micros, when)


def untimed(found: Iterable[Peer]) -> list[Peer]:
    """Leave the time of day out, where it is the clock's."""
    return [evolve(peer, when=None) for peer in found]


def check_network(data: bytes) -> int:
    """Compare `Network.parse` with the standard library."""
    text = data.decode(errors="replace")
    found = expected = None
    with suppress(InvalidNetwork):
        network = Network.parse(text)
        found = (network.version, network.address, network.length)
    _, slash, length = text.partition("/")
    with suppress(ValueError):
        plain = "%" not in text and (not slash or (length.isascii() and str(int(length)) == length))
        given = ipaddress.ip_network(text if plain else "")
        number, bits = int(given.network_address), given.prefixlen
        expected = (given.version, number, bits)
        if given.version == 6 and number >> 32 == 0xFFFF and bits >= 96:
            expected = (4, number & 0xFFFFFFFF, bits - 96)
    same(found, expected)
    return int(found is not None)


def fresh_network(dice: random.Random) -> str:
    """Return an address or a network, sometimes none."""
    bits = dice.choice((32, 128))
    number, length = dice.getrandbits(bits), dice.randrange(bits + 1)
    kind = ipaddress.IPv4Network if bits == 32 else ipaddress.IPv6Network
    network = kind((number, length), strict=False)
    mapped = f"::ffff:{ipaddress.ip_address(number >> bits - 32)}"
    return dice.choice(
        (str(network), str(network[0]), network.exploded, mapped, f"{mapped}/{96 + length % 33}",
         dice.choice(mutations.PEERS + mutations.STRANGE_PEERS))
    )  # fmt: skip


def check_message(data: bytes) -> int:
    """Compare the built-in rules."""
    text = data.decode(errors="replace")
    found = peers([Record(text, "kmsg", trusted=True)])
    same(found, _some(reference.Said(text, trusted=True).peer()))
    return len(found)


def check_line(data: bytes) -> int:
    """Compare every shape, from a source that is trusted and from one that is not."""
    text, found = data.decode(errors="replace"), list[Peer]()
    now = NOWS[len(text) % len(NOWS)]
    for trusted in (True, False):
        with moments.in_the_zone():
            found = peers([shapes.parse(text, trusted=trusted, now=now)])
        same(found, _some(reference.line(text, trusted=trusted, now=now)))
        if not trusted and any(peer.trusted for peer in found):
            raise Disagreement(f"trusted, though the source is not: {found!r}")
    return len(found)


def _some(peer: Peer | None) -> list[Peer]:
    return [peer] if peer else []


def check_kmsg(data: bytes) -> int:
    """Compare a device that gives these records, one after the other."""
    found = peers(played(data).read(None, SOUGHT))
    expected: list[Peer] = []
    last = -1
    for each in data.split(CUT):
        text = each.partition(b"\n")[0].decode(errors="replace")
        number = [*each.decode(errors="replace").split(","), "", ""][1]
        if not is_number(number, 20) or int(number) <= last:
            continue
        last = int(number)
        if reference.is_record(text):
            expected += _some(reference.record(text, trusted=True).peer())
    same(untimed(found), expected)
    return len(found)


def played(data: bytes) -> kmsg.Kmsg:
    """Make a source whose device gives these records."""
    coming = list[bytes]()

    def opened(_path: Path) -> int:
        coming[:] = reversed(data.split(CUT))
        return os.open(os.devnull, os.O_RDONLY)

    def read(_descriptor: int, _size: int) -> bytes:
        if coming:
            return coming.pop()
        raise BlockingIOError

    return kmsg.Kmsg(open_device=opened, read_record=read)


def fresh_records(dice: random.Random) -> str:
    """Return a few records of the device, mostly in order."""
    number, made = dice.randrange(5), []
    for _ in range(dice.randrange(1, 5)):
        number += dice.choice((0, 1, 1, 1, 1, 5))
        text, priority = mutations.message(dice), dice.choice((7, 7, 7, 4, 15))
        flags = dice.choice(("-", "-", "-", "-,caller=C1", "c", "+"))
        made.append(f"{priority},{number},{dice.randrange(10**9)},{flags};{text}")
    return mutations.CUT.join(made)


def check_dmesg(data: bytes) -> int:
    """Compare what the command prints."""
    output = data.decode(errors="replace")
    found = _dmesg(output)
    records = logs.printed(output)
    expected = list[Peer]()
    for record in records:
        if any(needle in record for needle in SOUGHT):
            expected += _some(reference.line(record, trusted=True))
    if not any(map(_micros, records)):  # where printk.time is off, there is no time
        expected = [evolve(peer, micros=None) for peer in expected]
    same(untimed(found), untimed(expected))
    return len(found)


def _micros(record: str) -> int | None:
    """Return the time since boot that stands where dmesg puts it."""
    _, text = reference.facility(record) or ("", "")
    return without_stamp(text, NOW)[1]


def _dmesg(output: str, cursor: str | None = None) -> list[Peer]:
    """Read what the command prints, from a cursor on."""
    command = SimpleNamespace(run=lambda _command: Completed(0, output, ""))
    with mock.patch.multiple(dmesg, execute=command, _refuse_lines=lambda: None):
        return peers(dmesg.Dmesg().read(cursor, SOUGHT))


def fresh_output(dice: random.Random) -> str:
    """Return what the command prints, mostly in order."""
    micros, made = dice.randrange(10**9), ""
    for _ in range(dice.randrange(1, 5)):
        micros += dice.choice((0, 1, 10**6, 10**9))
        name = dice.choice(("kern", "kern", "kern", "user"))
        seconds = f"{micros // 10**6:5}.{micros % 10**6:06}"
        made += f"{name}  :debug : [{seconds}] {mutations.message(dice)}\n"
    return made


def check_file(data: bytes) -> int:
    """Compare a log that grows by these parts, and is read after each from the last cursor."""
    path = mutations.place("log")
    path.unlink(missing_ok=True)
    cursor, found, expected = None, list[Peer](), list[Peer]()
    content = seen = b""
    for part in data.split(CUT):
        with path.open("ab") as file:
            file.write(part)
        some, cursor = _file(path, cursor)
        found += some
        begun = content.count(b"\n")
        content += part
        log = logs.Log(_without_address(content), LONGEST)
        *whole, last = log.lines()[begun:]
        if last != seen or whole:
            known = whole and seen and whole[0] in {seen, seen + b"\r"}
            places = range(begun + bool(known), begun + len(whole) + 1)
            expected += untimed(logs.peers([log.one(at) for at in places]))
        seen = last
    _compare(log, found, expected, parts=data.count(CUT) + 1)
    return len(found)


def _compare(log: logs.Log, found: list[Peer], expected: list[Peer], *, parts: int) -> None:
    """Compare with what each line says, or with the whole log where records have several."""
    if not (log.is_spread() or log.content.startswith(b"__CURSOR=")):
        same(found, expected)
    elif (told := log.all()) is not None:
        if parts == 1:
            same(found, untimed(logs.peers(told)))
        elif missing := {*map(str, untimed(logs.peers(told)))} - {*map(str, found)}:
            raise Disagreement(f"of {found!r}, {missing!r} is not found")


def _without_address(content: bytes) -> bytes:
    """Leave out a last line whose address may go on: it is not read yet."""
    last = content[content.rfind(b"\n") + 1 :]
    token = last[len(last.rstrip(DIGITS)) :]
    goes_on = token and not token.endswith(b".") and (b"." in token or b":" in token)
    return content.removesuffix(last) if goes_on else content


def _file(path: Path, cursor: str | None = None) -> tuple[list[Peer], str | None]:
    """Read a log from a cursor on; give also the new one. It is read in small pieces."""
    source = File(Settings(str(path), trusted=True))
    clock = SimpleNamespace(time=lambda: NOW)
    with (
        moments.in_the_zone(),
        mock.patch.multiple(lines, LONGEST=LONGEST, _CHUNK=64),
        mock.patch.object(reading, "time", clock),
    ):
        return untimed(peers(source.read(cursor, SOUGHT))), source.cursor()


def fresh_log(dice: random.Random) -> str:
    """Return a few lines of a log, cut into parts, with or without an end."""
    made = [_of_log(dice) + dice.choice(("\n", "\n", "\n", "\r\n")) for _ in range(4)]
    log = "".join(made[: dice.randrange(1, 5)])
    if dice.random() < 0.05:
        log = fresh_export(dice).replace(mutations.CUT, "")
    for _ in range(dice.randrange(3)):
        at = dice.randrange(len(log) + 1)
        log = log[:at] + mutations.CUT + log[at:]
    return log[: len(log) - dice.randrange(2)]


def _of_log(dice: random.Random) -> str:
    """Return a line, or a record over several."""
    chance = dice.random()
    if chance < 0.15:
        return carriers.pretty(mutations.told_of(mutations.message(dice), dice), dice)
    if chance < 0.3:
        texts = [dice.choice(("a", mutations.message(dice))) for _ in range(2)]
        return carriers.continued(mutations.told_of(texts[0], dice), texts[1], dice)
    return mutations.line(dice)


def check_document(data: bytes) -> int:
    """Compare what ``dmesg --json`` prints, which spreads a record over lines."""
    path = mutations.place("document")
    path.write_bytes(data)
    found, _ = _file(path)
    log = logs.Log(_without_address(data), LONGEST)
    entries = logs.document(data.decode(errors="replace"))
    short = all(len(each) < LONGEST - 1 for each in log.lines())
    told = log.all() if entries is None or not short else logs.apart(entries)
    same(found, untimed(logs.peers(told or [])))
    return len(found)


def fresh_document(dice: random.Random) -> str:
    """Print some records as the command does."""
    made, seconds = [], 1.5
    for _ in range(dice.randrange(1, 4)):
        entry: dict[str, object] = {"pri": dice.choice((7, 15))}
        if dice.random() < 0.5:
            entry = {"fac": dice.choice(("kern", "user")), "pri": "debug"}
        seconds = seconds if dice.random() < 0.2 else dice.randrange(10**12) / 10**6
        entry["time"] = seconds
        entry["msg"] = mutations.mutated(mutations.message(dice), dice, mutations.message)
        members = (f'         "{key}": {json.dumps(value)}' for key, value in entry.items())
        made.append(",\n".join(members))
    body = "\n      },{\n".join(made)
    return '{\n   "dmesg": [\n      {\n' + body + "\n      }\n   ]\n}\n"


def check_journal(data: bytes) -> int:
    """Compare what journalctl exports, and comes in these pieces."""
    found = peers(
        shapes.journal(entry, trusted=True)
        for entry in export.entries(data.split(CUT))
        if "MESSAGE" in entry
    )
    expected: list[Peer] = []
    entries = logs.export(data.replace(CUT, b""))
    if entries is None:
        return 0
    for entry in entries:
        if "MESSAGE" in entry:
            expected += logs.peers([reference.journal(entry, trusted=True)])
    same(found, expected)
    return len(found)


def fresh_export(dice: random.Random) -> str:
    """Return a few entries; a message with a newline comes with its length."""
    made = ""
    for _ in range(dice.randrange(1, 4)):
        text = mutations.message(dice)
        if dice.random() < 0.2:
            text += dice.choice(("\n", "\n\nMESSAGE=", "\nMESSAGE=")) + mutations.message(dice)
        value = f"={text}\n"
        if dice.random() < 0.1 or "\n" in text:
            size = len(text.encode()).to_bytes(8, "little").decode(errors="surrogateescape")
            value = f"\n{size}{text}\n"
        made += (
            f"__CURSOR=s=1;i={dice.randrange(99)}\n_TRANSPORT=kernel\n"
            f"SYSLOG_FACILITY={dice.choice('0001')}\nSYSLOG_IDENTIFIER="
            f"{dice.choice(('kernel', 'kernel', 'TCP'))}\n"
            f"_SOURCE_MONOTONIC_TIMESTAMP={dice.randrange(10**12)}\nMESSAGE{value}\n"
        )
        made += dice.choice(("", "", mutations.CUT))
    return made


_RECORDS: Final = "\n".join(
    f"kern  :debug : [    {number}.000000] {mutations.message(random.Random(1))}"  # noqa: S311
    for number in range(1, 6)
)
_BUFFER: Final = mutations.CUT.join(
    f"7,{number},{number}000000,-;{mutations.message(random.Random(1))}"  # noqa: S311
    for number in range(1, 6)
)


def check_cursor(data: bytes) -> int:
    """Whatever the cursor, a source reads all, or what is behind a cursor of its own."""
    cursor = data.decode(errors="replace")
    own, _, number = cursor.partition(":")
    known = is_number(number, 4000) and own == BOOT
    behind = max(0, 5 - int(number)) if known and int(number) <= 5 else 5
    same(len(peers(played(_BUFFER.encode()).read(cursor, SOUGHT))), behind)
    found = len(_dmesg(_RECORDS, cursor))
    if own != BOOT or ":" not in number:
        same(found, 5)
    log, told = _log()
    found = len(_file(log, cursor)[0])
    words = cursor.split(":")
    marks = {tuple(each.split(":")[4:6]) for each in told}
    last = told[-1].rpartition(":")[2]
    digests = {last[at : at + 16] for at in range(0, len(last), 16)}
    if tuple(words[4:6]) in marks or len(words) == 4 or any(each in words[-1] for each in digests):
        return found  # it may be a place in this very log, or behind one of its lines
    same(found, 5)
    return found


@cache
def _log() -> tuple[Path, Sequence[str]]:
    """Make a log of five lines; give also the cursors behind each."""
    path, told = mutations.place("told"), []
    for each in _RECORDS.splitlines(keepends=True):
        with path.open("a") as log:
            log.write(each)
        told.append(str(_file(path)[1]))
    return path, told


def fresh_cursor(dice: random.Random) -> str:
    """Return a cursor of one of the sources."""
    number = dice.randrange(8)
    return dice.choice(
        (f"{BOOT}:{number}", f"{BOOT}:{number}000000:1", dice.choice(_log()[1]), "s=1;i=2;b=3")
    )


TARGETS: Final = {
    "network": Target(fresh_network, check_network),
    "message": Target(mutations.message, check_message),
    "line": Target(mutations.line, check_line),
    "kmsg": Target(fresh_records, check_kmsg),
    "dmesg": Target(fresh_output, check_dmesg),
    "file": Target(fresh_log, check_file),
    "document": Target(fresh_document, check_document),
    "journal": Target(fresh_export, check_journal),
    "paths": Target(paths.fresh, paths.check),
    "cursor": Target(fresh_cursor, check_cursor),
    "blocklist": Target(blocklists.fresh, blocklists.check),
    "btf": Target(structures.fresh, structures.check),
}
