"""Durations as people write them: ``90s``, ``10m``, ``1h``, ``30d``, ``2w``, ``permanent``."""

import re
from typing import Final

from reconciler.errors import InvalidDuration

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
LONGEST: Final = 100 * 365 * 86400
"""Seconds of the longest duration that ends: a hundred years."""

_DIGITS: Final = len(str(LONGEST))


def parse(text: object) -> int | None:
    """Return the seconds, None for ``permanent``; raise `InvalidDuration` otherwise."""
    if text == "permanent":
        return None
    match = re.fullmatch(r"([1-9][0-9]*)([smhdw])", text) if isinstance(text, str) else None
    if match is None:
        raise InvalidDuration(
            f"{text!r} is not a valid duration", "write 90s, 10m, 1h, 30d, 2w or permanent"
        )
    if len(match[1]) > _DIGITS or (seconds := int(match[1]) * _SECONDS[match[2]]) > LONGEST:
        raise InvalidDuration(
            f"{text!r} is too long: a duration is at most 36500d (a hundred years)",
            "write a shorter one",
        )
    return seconds


def finite(text: object) -> int:
    """Return the seconds of a duration that ends."""
    seconds = parse(text)
    if seconds is None:
        raise InvalidDuration(
            "'permanent' is not allowed here: this duration must end",
            "write 90s, 10m, 1h, 30d or 2w",
        )
    return seconds


def render(seconds: int | None) -> str:
    """Return the shortest exact form, in the largest unit that divides it."""
    if seconds is None:
        return "permanent"
    unit = next(unit for unit in "wdhms" if seconds % _SECONDS[unit] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"
