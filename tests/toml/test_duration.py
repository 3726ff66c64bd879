"""Durations as people write them."""

import pytest

from reconciler.errors import InvalidDuration
from reconciler.toml import duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h", 3600), ("30d", 2_592_000), ("permanent", None)],
)
def test_durations_are_read_as_seconds(text: str, seconds: int | None) -> None:
    """Each unit counts its seconds; permanent has none."""
    assert duration.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "1", "1.5h", "-1h", "1 h", "1w", "9" * 12 + "d", 60])
def test_other_text_is_refused(text: object) -> None:
    """What is not a valid duration is refused with the forms that are."""
    with pytest.raises(InvalidDuration, match="not a valid duration"):
        duration.parse(text)


def test_a_window_must_end() -> None:
    """Where a duration must end, permanent is refused."""
    with pytest.raises(InvalidDuration, match="must end"):
        duration.finite("permanent")
