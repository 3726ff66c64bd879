"""The shapes of kernel messages in lines of text."""

import json
from datetime import UTC, datetime

import moments
import pytest
from harness import DATA
from hypothesis import given
from hypothesis import strategies as st

from reconciler.detection.detect import detect
from sources import shapes

TEXT = "TCP: Peer 192.0.2.1:1/2 unexpectedly shrunk window 3:4 (repaired)"
SAMPLES = [json.loads(line) for line in (DATA / "kernel-messages.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "sample", SAMPLES, ids=[f"{i}-{s['carrier']}" for i, s in enumerate(SAMPLES)]
)
def test_every_sample_yields_exactly_what_it_must(sample: dict[str, object]) -> None:
    """Address, ports, form and count of each trusted offence; nothing else."""
    record = shapes.parse(str(sample["text"]), trusted=True)
    offence = detect(record) if record else None
    found = (
        [
            {
                "address": str(offence.address),
                "peer_port": offence.peer_port,
                "local_port": offence.local_port,
                "form": offence.rule,
                "count": offence.count,
            }
        ]
        if offence and offence.trusted
        else []
    )
    assert found == sample["expect"], sample["why"]


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "[    1.234567] ",
        "[    1.234567 <    0.000012>] ",
        "[    1.234567][  T123] ",
        "[Sun Nov 22 12:51:59 2026] ",
        "[Nov22 12:51] ",
        "[Nov 2 12:51] ",
        "[  +0.000004] ",
        "[ +12.000004] ",
        "[<    0.000009>] ",
        "[Tue Nov 24 23:28:42 2026 <    0.000009>] ",
        "[    1.234567] [  T123] ",
        "[    1.234567] [    C1] ",
        "kern  :debug : 2026-11-22T12:51:59,123456+00:00 ",
        "kern  :debug : [  +0.000004] ",
        "kern  :debug : [    1.234567] [ T123] ",
        "kern  :debug : ",
        "<7>[    1.234567][  T123] ",
        "<7>[    1.234567] ",
        "<7>",
        "kern  :debug : [    1.234567] ",
        "2026-11-22T12:51:59,123456+00:00 ",
        "Nov 22 12:51:59 web1 kernel: ",
        "Nov  2 12:51:59 web1 kernel: [    1.234567] ",
        "2026-11-22T12:51:59.123456+00:00 web1 kernel: ",
        "<7>Nov 22 12:51:59 web1 kernel: ",
        "<7>1 2026-11-22T12:51:59.123456Z web1 kernel - - - ",
        '<7>1 2026-11-22T12:51:59Z web1 kernel - - [x@1 a="b"] ',
        "<7>1 2026-11-22T12:51:59.123456Z web1 kernel - - - [    1.234567] ",
        "Nov 22 12:51:59 web1 kernel:[    1.234567] ",
        "Nov 22 12:51:59.123456 web1 kernel: ",
        "2026-11-22 12:51:59 web1 kernel: ",
        "2026-11-22T12:51:59+0000 web1 kernel: ",
        "2026-11-22T12:51:59.123456+0000 web1 kernel: ",
        "2026-11-22T12:51:59+01:00 s_sys@web1 kernel: [    1.234567] ",
        "2026-11-22T12:51:59+01:00 fe80::1 kernel: ",
        "Sun 2026-11-22 12:51:59 UTC web1 kernel: ",
        "1795351919.123456 web1 kernel: ",
        "Jan  1 00:00:00 web1 kern.warn kernel: [    1.234567] ",
        "Jan  1 00:00:00 kernel: ",
        "7,1,1,-;",
        "7,1,1,-,caller=T123;",
        "7,1,1,-,caller=C1,more=1;",
    ],
)
def test_every_prefix_is_taken_off(prefix: str) -> None:
    """What stands before the message in each shape is no part of it."""
    record = shapes.parse(prefix + TEXT, trusted=True)
    assert record is not None
    assert (record.text, record.trusted) == (TEXT, True)


@pytest.mark.parametrize(
    "line",
    [
        f"Nov 22 12:51:59 web1 sshd[7]: {TEXT}",
        f"Nov 22 12:51:59 web1 kernel[7]x: {TEXT}",
        f"Nov 22 12:51:59 web1 kernel[7]: {TEXT}",
        f"Nov 22 12:51:59 web1 kernel kernel: {TEXT}",
        f"Nov 22 12:51:59 web1 user.info kernel[7]: {TEXT}",
        f"Nov 22 12:51:59 web1 kernel: kernel: {TEXT}",
        f"Nov 22 12:51:59 kernel: kernel: {TEXT}",
        f"Nov 22 12:51:59 sshd[7]: kernel: {TEXT}",
        f"Nov 22 12:51:59 web1 sshd: kernel: {TEXT}",
        f"2026-11-22T12:51:59,123456+00:00 usb 1-1: kernel: {TEXT}",
        f"<7>1 2026-11-22T12:51:59Z web1 kernel 7 - - {TEXT}",
        f"<7>1 2026-11-22T12:51:59Z web1 evil - - - kernel: {TEXT}",
        f"[    1.234567] [    1.234567] {TEXT}",
        f"Nov 22 12:51:59 web1 kernel: message repeated 0 times: [ {TEXT}]",
        f"[    1.234567] web1 sshd[7]: {TEXT}",
        f"[    1.234567] usb1: kernel: {TEXT}",
        f"[    1.234567] kernel: kernel: {TEXT}",
        f"data: {TEXT}",
        f"\x1e[    1.234567] {TEXT}",
        f"[    1.234567] usb 1-1: Product: kern  :debug : {TEXT}",
        f"kern  :debug : kern  :debug : {TEXT}",
        "__CURSOR=x",
        f"MESSAGE={TEXT}",
        f"kern  :debug : [    1.234567] usb 1-1: Product: x\n{TEXT}",
        f"7,1,1,-;usb 1-1: Product: x\\x0a{TEXT}",
        f"7,1,1,-,ncfrag=900/966;{TEXT}",
        f"7,1,1,-,caller=T1,ncfrag=900/966;{TEXT}",
        f"<7>1 2026-11-22T12:51:59Z web1 sshd - - - {TEXT}",
        f"Nov 22 12:51:59 web1 a tag with spaces: {TEXT}",
        f" {TEXT}",
        "{",
        "{}",
        "[]",
        '{"MESSAGE": null, "_TRANSPORT": "kernel"}',
        '{"MESSAGE": [300], "_TRANSPORT": "kernel"}',
        '{"msg": 3}',
        '{"msg": "x", "time": ' + "9" * 400 + "}",
        '{"msg": "x", "time": 1e999}',
        '{"MESSAGE": "x", "__REALTIME_TIMESTAMP": "99999999999999999999"}',
        '{"a": ' + "[" * 100_000,
    ],
)
def test_what_is_not_the_kernels_is_no_offence(line: str) -> None:
    """Other programs' lines, continuations and broken JSON name nobody."""
    record = shapes.parse(line, trusted=True)
    assert record is None or detect(record) is None


@pytest.mark.parametrize(
    ("line", "trusted"),
    [
        (f"<15>[    1.234567] {TEXT}", False),
        (f"user  :debug : {TEXT}", False),
        (f"15,1,1,-;{TEXT}", False),
        (f"<15>Nov 22 12:51:59 web1 kernel: {TEXT}", False),
        (f"<13>1 2026-11-22T12:51:59Z web1 kernel - - - {TEXT}", False),
        (f"<7>1 2026-11-22T12:51:59Z web1 kernel - - - {TEXT}", True),
        (f"Jan  1 00:00:00 web1 user.notice kernel: {TEXT}", False),
        (f"Jan  1 00:00:00 web1 kern.warn kernel: {TEXT}", True),
        (json.dumps({"fac": "user", "pri": "debug", "msg": TEXT}), False),
        (json.dumps({"pri": 15, "msg": TEXT}), False),
        (f"kern  :debug : {TEXT}", True),
        (f"7,1,1,-;{TEXT}", True),
        (json.dumps({"fac": "kern", "pri": "debug", "msg": TEXT}), True),
    ],
)
def test_a_facility_takes_trust_away_and_never_gives_it(line: str, trusted: bool) -> None:
    """Whoever gets a line into a file can write any facility: the file must be trusted as well."""
    for caller in (True, False):
        record = shapes.parse(line, trusted=caller)
        assert record is not None
        assert record.trusted is (trusted and caller)


@pytest.mark.parametrize("line", [TEXT, f"<7>{TEXT}", f"Nov 22 12:51:59 h kernel: {TEXT}"])
def test_a_bare_line_is_trusted_as_the_caller_says(line: str) -> None:
    """``<7>`` is bare, too: an old dmesg prints it for every facility."""
    for caller in (True, False):
        record = shapes.parse(line, trusted=caller)
        assert record is not None
        assert record.trusted is caller


def test_what_a_process_wrote_into_the_journal_is_put_together_and_refused() -> None:
    """Journald moves the words before the colon; the record is whole again, and untrusted."""
    identifier, message = TEXT.split(": ", 1)
    entry = {"_TRANSPORT": "kernel", "SYSLOG_FACILITY": "1", "SYSLOG_IDENTIFIER": identifier}
    record = shapes.parse(json.dumps(entry | {"MESSAGE": message}), trusted=True)
    assert record is not None
    assert (record.text, record.trusted) == (TEXT, False)


def test_a_message_of_bytes_is_text() -> None:
    """Journald writes a message that is not UTF-8 as a list of bytes."""
    entry = {"_TRANSPORT": "kernel", "SYSLOG_FACILITY": "0", "SYSLOG_IDENTIFIER": "kernel"}
    record = shapes.parse(json.dumps(entry | {"MESSAGE": list(TEXT.encode())}), trusted=True)
    assert record is not None
    assert (record.text, record.trusted) == (TEXT, True)


def test_times_are_told_where_the_carrier_tells_them() -> None:
    """One that tells no zone is of this machine, one without a year is the last one (below)."""
    time = datetime(2026, 11, 22, 12, 51, 59, tzinfo=UTC).timestamp()
    for line in (
        f"2026-11-22T12:51:59+00:00 h kernel: {TEXT}",
        f"2026-11-22T13:51:59,000000+01:00 {TEXT}",
    ):
        record = shapes.parse(line, trusted=True)
        assert record is not None
        assert record.time == time
    yearless = f"Nov 22 12:51:59 h kernel: [ 7.500000] {TEXT}"
    bare = shapes.parse(yearless, trusted=True, now=time + 86400)
    assert bare is not None
    assert (bare.time, bare.monotonic) == (datetime(2026, 11, 22, 12, 51, 59).timestamp(), 7.5)  # noqa: DTZ001 - of this machine


@pytest.mark.parametrize(("zone", "hour"), [("CEST", 0), ("CET", 1)])
def test_the_name_of_a_zone_tells_which_of_two_hours_it_is(zone: str, hour: int) -> None:
    """The clock shows the same twice where summer time ends; journalctl prints the name."""
    with moments.in_the_zone():
        line = f"Sun 2026-10-25 02:30:00 {zone} h kernel: {TEXT}"
        record = shapes.parse(line, trusted=True, now=1_795_900_000.0)
    assert record is not None
    assert record.time == datetime(2026, 10, 25, hour, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "line",
    [
        "7,1,2214888468,-;text",
        "[ 2214.888468] text",
        "[ 2214.888468 <    0.000012>] text",
        "[ 2214.888468] [ T123] text",
        "<7>[ 2214.888468] text",
        "kern  :debug : [ 2214.888468] text",
        '{"fac": "kern", "pri": "debug", "time": 2214.888468, "msg": "text"}',
        '{"pri": 7, "time": 2214.888468, "msg": "text"}',
        "Aug 28 13:16:32 host kernel: [ 2214.888468] text",
        "Aug 28 13:16:32 host kernel: message repeated 2 times: [ [ 2214.888468] text]",
        "<7>1 2026-11-22T12:51:59Z h kernel - - - [ 2214.888468] text",
        "Jan  1 00:00:00 host kern.debug kernel: [ 2214.888468] text",
        '{"_TRANSPORT": "kernel", "MESSAGE": "text", "_SOURCE_MONOTONIC_TIMESTAMP": "2214888468"}',
    ],
)
def test_the_time_since_boot_is_exact(line: str) -> None:
    """To the microsecond, and the same number on every carrier: records are matched by it."""
    record = shapes.parse(line, trusted=True)
    assert record is not None
    assert (record.text, record.monotonic) == ("text", 2214888468 / 1e6)


@given(micros=st.integers(0, 10**14))
def test_microseconds_survive(micros: int) -> None:
    """Whatever the carrier, for three years after boot and longer."""
    for line in (f"7,1,{micros},-;x", f"[{micros // 10**6:5d}.{micros % 10**6:06d}] x"):
        record = shapes.parse(line, trusted=True)
        assert record is not None
        assert record.monotonic is not None
        assert round(record.monotonic * 1e6) == micros


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("7,1,1,-;x", 7),
        ("<4>[    1.234567] x", 4),
        ("kern  :err   : x", 3),
        ('{"pri": 6, "msg": "x"}', 6),
        ('{"fac": "kern", "pri": "warn", "msg": "x"}', 4),
        ("Jan  1 00:00:00 h kern.warning kernel: x", 4),
        ("Jan  1 00:00:00 h kern.odd kernel: x", None),
        ("[    1.234567] x", None),
    ],
)
def test_the_level_is_told_where_the_carrier_tells_it(line: str, level: int | None) -> None:
    """As a number of syslog."""
    record = shapes.parse(line, trusted=True)
    assert record is not None
    assert (record.text, record.level) == ("x", level)


INDENTED = (
    "[    1.234567] ",
    "kern  :info  : [    1.234567] ",
    "Aug 28 13:16:32 h kernel: [    1.234567] ",
    "6,1,1,-;",
)


@pytest.mark.parametrize("prefix", INDENTED)
def test_spaces_that_begin_a_message_are_its_own(prefix: str) -> None:
    """The kernel indents some lines."""
    record = shapes.parse(f"{prefix}  two", trusted=True)
    assert record is not None
    assert record.text == "  two"


def test_escapes_of_the_kernel_are_undone() -> None:
    r"""``\x0a`` is a line break, ``\x5c`` a backslash."""
    record = shapes.kmsg(r"6,1,1,-;a\x0ab\x5cc")
    assert record is not None
    assert record.text == "a\nb\\c"


@given(st.text())
def test_any_text_ends_without_an_error(text: str) -> None:
    """Whatever a stranger writes, there is a record or none."""
    record = shapes.parse(text, trusted=True)
    assert record is None or detect(record) is None


@pytest.mark.parametrize("head", ["Nov 22 12:51:59 web1 a tag", "2026-11-22T12:51:59Z web1 a tag"])
def test_a_line_of_a_daemon_that_names_nobody_is_no_message_of_the_kernel(head: str) -> None:
    """A rule that begins with ``.*`` would match it, whoever wrote it."""
    for colon in ("", ":"):
        assert shapes.parse(f"{head}{colon} {TEXT}", trusted=True) is None
