"""How feeds stand, on terminals and in pipes."""

import os
from pathlib import Path

import pytest
from attrs import evolve
from fed import group
from pytest_mock import MockerFixture

from reconciler.config.feeds import ConfiguredFeed, FeedSettings
from reconciler.feeds.remarks import Failure, Remarks
from reconciler.passes.feeds import FeedStanding, Untold
from reconciler.report import columns, feed_standing
from reconciler.store.feeds import FeedState

NOW = 1_800_000_000
EVIL = "\x1b]0;owned\x07\nfeed     fine"
FOUND = FeedStanding(
    "drop",
    ConfiguredFeed("drop", FeedSettings("list", Path("/f.db")), None, pytest.fail, None),
    FeedState(
        "drop",
        epoch=EVIL,
        taken=NOW - 60,
        trouble=f"it is not believed\n  {EVIL}",
        cut=3,
        refused=4,
        quarantined=frozenset({EVIL}),
        accepted=NOW - 90,
    ),
    {"held": 1_234_567, "quarantined": 2},
    refreshed=NOW - 7200,
    members=2,
    remarks=Remarks((EVIL, EVIL), 9, *(Failure(EVIL, EVIL, NOW - each) for each in (30, 20))),
    untold=Untold(7, NOW - 40),
)
GROUPS = [
    group(*(f"192.0.2.{number}" for number in range(20)), member=EVIL, reason=EVIL, until=NOW + 60),
    group("198.51.100.1", state="quarantined"),
]


@pytest.mark.parametrize("width", [None, 40, 80, 120])
def test_what_strangers_wrote_does_no_harm_at_any_width(
    width: int | None, mocker: MockerFixture
) -> None:
    """No line is longer than the terminal, and none is a feed's own."""
    mocker.patch.dict(os.environ, {"NO_COLOR": "1"})
    mocker.patch.object(columns, "_columns", return_value=width)
    fails = evolve(FOUND, state=evolve(FOUND.state, trouble=""))
    page = [line for each in (FOUND, fails) for line in feed_standing.page(each, GROUPS, NOW)]
    section = [*columns.aligned([*feed_standing.section([FOUND, fails], NOW)])]
    listed = [*feed_standing.listed([FOUND, fails], NOW)]
    for line in (*page, *section, *listed):
        assert line.replace("\t", " ").isprintable()
        assert width is None or len(line) <= width
        assert not line.startswith("feed     fine")
    assert "1,234,567 held, 2 quarantined" in " ".join(" ".join(page).split())


def test_when_the_next_refresh_is_due_is_told(mocker: MockerFixture) -> None:
    """By now, if it is late; nothing where it cannot be told."""
    mocker.patch.object(columns, "_columns", return_value=None)

    def told(refreshed: float | None) -> list[str]:
        page = feed_standing.page(evolve(FOUND, refreshed=refreshed), GROUPS, NOW)
        return [line for line in page if line.startswith("refreshed")]

    assert told(None) == []
    assert told(NOW - 7200)[0].endswith("(2 h ago); the next is due by now")
    assert told(NOW - 600)[0].endswith("(10 min ago); the next is due in 50 min")
