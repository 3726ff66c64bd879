"""Durations as people write them."""

import pytest

from reconciler.errors import InvalidDuration
from reconciler.toml import duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("1h", 3600),
        ("30d", 2_592_000),
        ("1w", 604_800),
        ("permanent", None),
    ],
)
def test_durations_are_read_as_seconds(text: str, seconds: int | None) -> None:
    """Each unit counts its seconds; permanent has none."""
    assert duration.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "1", "1.5h", "-1h", "1 h", "1W", "2 weeks", 60])
def test_other_text_is_refused(text: object) -> None:
    """What is not a valid duration is refused with the forms that are."""
    with pytest.raises(InvalidDuration, match="not a valid duration"):
        duration.parse(text)


@pytest.mark.parametrize("text", ["36501d", "5215w", "9" * 12 + "d", "9" * 5000 + "s"])
def test_a_duration_that_is_too_long_is_told_so(text: str) -> None:
    """It is one; so how it is written is not what is wrong."""
    with pytest.raises(InvalidDuration, match="is too long: a duration is at most 36500d"):
        duration.parse(text)


@pytest.mark.parametrize("text", ["36500d", "permanent", "90s", "10m", "5h", "8d", "3w"])
def test_what_is_rendered_is_read_as_the_same(text: str) -> None:
    """In the largest unit that divides it."""
    assert duration.render(duration.parse(text)) == text


def test_a_window_must_end() -> None:
    """Where a duration must end, permanent is refused."""
    with pytest.raises(InvalidDuration, match="must end"):
        duration.finite("permanent")
