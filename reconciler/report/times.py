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
    return f"in {_rounded(until - now)}"


def past(time: float, now: int) -> str:
    """Return a time with how long ago it was, rounded: ``2026-11-29T10:00:00Z (3 h ago)``."""
    ago = f"{_rounded(now - time)} ago" if time <= now else f"in {_rounded(time - now)}"
    return f"{iso(time)} ({ago})"


def _rounded(seconds: float) -> str:
    number, unit = next(
        (round(seconds / s), unit) for s, unit in _UNITS if seconds >= 2 * s or s == 1
    )
    return f"{number} {unit}"
