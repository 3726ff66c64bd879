"""How things stand, on one screen."""

from pathlib import Path

import pytest
from attrs import evolve
from pytest_mock import MockerFixture

from reconciler.dropped import Dropped
from reconciler.host import kernel_message
from reconciler.host.control import DaemonStatus
from reconciler.passes.enforce import Outcome, State
from reconciler.passes.status import BackendCount, Status
from reconciler.report import columns, status
from reconciler.store.bans import NotEnforced
from reconciler.store.counts import Counts, OriginCount, SourceCount
from reconciler.store.pauses import Pause

NOW = 1_800_000_000
ORIGINS = tuple(OriginCount(f"rule-{number}", 20 - number, 1) for number in range(12))
FOUND = Status(
    now=NOW,
    database=Path("/var/lib/treason/treason.db"),
    exists=True,
    counts=Counts(
        permanent=174,
        temporary=12,
        offences=4321,
        last_offence=NOW - 60.0,
        sources=("kmsg",),
        origins=ORIGINS,
        of_sources=(SourceCount("", None, 1, 5.0), SourceCount("kmsg", NOW - 7, 4320, NOW - 60.0)),
    ),
    refused=NotEnforced(),
    whitelisted=1,
    protected=13,
    desired=186,
    silent={},
    kernel_message=kernel_message.State.ON,
    clock="",
    mode="enforce",
    withheld=(),
    outcomes=(Outcome("nftables", State.IN_SYNC), Outcome("file:/x", State.FAILED, error="no")),
    dropped=(BackendCount("nftables", Dropped(1_234_567, 1_300_000_000, NOW - 7200)),),
    warnings=("one thing", "another thing"),
)


def shown(found: Status, mocker: MockerFixture, width: int | None = None) -> list[str]:
    """Return the lines on a terminal of this width; None is a pipe."""
    mocker.patch.object(columns, "_columns", return_value=width)
    mocker.patch.object(columns, "_is_coloured", return_value=False)
    return [*status.status(found)]


def row(lines: list[str], name: str) -> list[str]:
    """Return the value of a row, by its lines."""
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{name}  "))
    behind = lines[at + 1 :]
    more = next((n for n, line in enumerate(behind) if line[0] != " "), len(behind))
    return [lines[at][len(name) :].strip(), *(line.strip() for line in behind[:more])]


def test_what_matters_comes_first(mocker: MockerFixture) -> None:
    """What is in force, what is stored, the sources, the machine; a pause ahead of all."""
    lines = shown(FOUND, mocker)
    names = [line.split("  ")[0] for line in lines if line[0] != " "]
    assert names == [
        *("nftables", "file:/x", "dropped", "to drop", "bans", "offences", "exempt"),
        *("sources read", "kernel message", "advice", "advice", "database"),
    ]
    assert shown(evolve(FOUND, paused=Pause(NOW, None)), mocker)[0].startswith("paused  ")


def test_bans_and_packets_are_told(mocker: MockerFixture) -> None:
    """By origin, ten of them; packets and bytes with the time since when, and how long ago."""
    lines = shown(FOUND, mocker)
    bans = row(lines, "bans")
    assert bans[:2] == ["174 permanent, 12 temporary", "rule-0: 20 permanent, 1 temporary"]
    assert (len(bans), bans[-1]) == (12, "21 of 2 other origins")
    assert row(lines, "dropped") == [
        "1,234,567 packets, 1.2 GiB since 2027-01-15T06:00:00Z (2 h ago)"
    ]
    assert row(lines, "sources read") == [
        "from before sources were noted: 1 offence, the last at 1970-01-01T00:00:05Z (20833 d ago)",
        (
            "kmsg: moved on at 2027-01-15T07:59:53Z (7 s ago);"
            " 4,320 offences, the last at 2027-01-15T07:59:00Z (60 s ago)"
        ),
    ]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            BackendCount("nftables", Dropped(1, 1, None)),
            "1 packet, 1 byte since the chain was made",
        ),
        (
            BackendCount("nftables", Dropped(0, 1023, None)),
            "0 packets, 1,023 bytes since the chain was",
        ),
        (
            BackendCount("nftables", Dropped(2, 1024, None)),
            "2 packets, 1.0 KiB since the chain was",
        ),
        (BackendCount("nftables", Dropped(2, 2**63, NOW + 60)), "2 packets, 8.0 EiB since 2027-"),
        (BackendCount("nftables", None, "run as root\n  hint"), "not to be told: run as root"),
    ],
)
def test_what_was_dropped_is_told_in_any_size(
    told: BackendCount, expected: str, mocker: MockerFixture
) -> None:
    """Also where it cannot be told, and where the clock was set back meanwhile."""
    (line,) = row(shown(evolve(FOUND, dropped=(told,)), mocker), "dropped")
    assert line.startswith(expected)


def test_what_counts_nothing_has_no_line(mocker: MockerFixture) -> None:
    """Nor is it a number: nothing is held as yet."""
    lines = shown(evolve(FOUND, dropped=(BackendCount("nftables", None),)), mocker)
    assert not any(line.startswith("dropped") for line in lines)


def test_the_daemon_tells_how_sources_are_read(mocker: MockerFixture) -> None:
    """At once, or by a timer; what troubles it stands in its row, in another colour."""
    how = DaemonStatus(7, NOW, ("kmsg",), ("dmesg",))
    assert "; at once; 4,320" in row(shown(evolve(FOUND, daemon=how), mocker), "sources read")[1]
    how = evolve(how, awake=(), timed=("kmsg",), troubles=("the disk is full",))
    assert "; by a timer;" in row(shown(evolve(FOUND, daemon=how), mocker), "sources read")[1]
    mocker.patch.object(columns, "_is_coloured", return_value=True)
    coloured = "\n".join(status.daemon(how))
    assert "\x1b[31mthe disk is full" in coloured
    assert "\x1b[32m" in "\n".join(status.daemon(evolve(how, troubles=())))


@pytest.mark.parametrize("width", [40, 80])
def test_it_fits_a_terminal(width: int, mocker: MockerFixture) -> None:
    """No line is wider, and nothing is lost of what a pipe gets."""
    lines = shown(FOUND, mocker, width)
    assert max(map(len, lines)) <= width
    words = " ".join(" ".join(shown(FOUND, mocker)).split()).split()
    assert " ".join(lines).split() == words
