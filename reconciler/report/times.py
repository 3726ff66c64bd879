"""Times for people and for programs."""

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def iso(time: float | None) -> str | None:
    """Return epoch seconds as ISO 8601 in UTC."""
    if time is None:
        return None
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"@{time:.0f}"  # a year that no calendar has


def ahead(until: int, now: int) -> str:
    """Return when a ban ends, rounded: ``in 3 h``."""
    left = until - now
    number, unit = next((round(left / s), unit) for s, unit in _UNITS if left >= 2 * s or s == 1)
    return f"in {number} {unit}"
