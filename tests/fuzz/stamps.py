"""What dmesg prints before a message, in brackets or as a date, told plainly."""

from moments import Moment, dated
from texts import DIGITS, is_like, is_number, only


def is_dated(text: str) -> bool:
    """Return whether it begins with the date of ``dmesg --time-format iso``."""
    return is_like(text[:33], "9999-99-99T########,999999~99:99 ")


def without_stamp(text: str, now: float) -> tuple[str, int | None, Moment]:
    """Take off what dmesg prints in brackets; give also the microseconds since boot, or the time.

    dmesg writes names of months and days, and numbers with commas, in the user's language.
    """
    inside, rest = in_brackets(text)
    time, _, delta = inside.partition(" <")
    nothing = text, None, None
    if is_delta(inside) or is_short(inside):
        return rest, None, None
    if delta and not is_delta(f"<{delta}"):
        return nothing
    if is_date(time):
        return rest, None, dated(time, now)
    seconds, _, micros = time.strip(" ").partition(".")
    if is_number(seconds, len(text)) and is_number(micros, 6) and len(micros) == 6:
        plain = not (delta and time.endswith(" "))
        return (rest, int(seconds + micros), None) if plain else nothing
    return (rest, None, None) if is_ahead(inside) else nothing


def in_brackets(text: str) -> tuple[str, str]:
    """Return what stands in brackets, and what behind it, without the caller; nothing if none."""
    inside, closed, rest = text.partition("]")
    rest = behind_caller(rest)[1]
    if text.startswith("[") and closed and rest.startswith(" "):
        return inside[1:], rest[1:]
    return "", ""


def behind_caller(text: str) -> tuple[str, str]:
    """Return who called printk, if that stands here in brackets, and what stands behind it."""
    if text.startswith(("[", " [")):
        caller, ended, behind = text.lstrip(" ")[1:].partition("]")
        caller = caller.lstrip(" ")
        if ended and caller[:1] in {"T", "C"} and is_number(caller[1:], len(caller)):
            return (caller, behind) if behind.startswith(" ") else ("", text)
    return "", text


def called(text: str) -> str:
    """Return who called printk, where a stamp with seconds stands before a message."""
    _, micros, _ = without_stamp(text, 0)
    return "" if micros is None else behind_caller(text.partition("]")[2])[0]


def is_at_once(text: str) -> bool:
    """Return whether it says that it came no time after the record before."""
    if without_stamp(text, 0)[0] == text:
        return False
    inside, _ = in_brackets(text)
    for sign, end in (("<", ">"), ("+", "")):
        _, found, delta = inside.rpartition(sign)
        if found and delta.lstrip(" ") in {f"0.000000{end}", f"0,000000{end}"}:
            return True
    return False


def is_ahead(text: str) -> bool:
    """Return whether it is the time since the record before, as ``dmesg -H`` writes it."""
    plus, micros = text.lstrip(" ")[:-7], text[-7:]
    right = plus.startswith("+") and is_number(plus[1:], len(text))
    return right and micros[0] in ".," and is_number(micros[1:], 6)


def is_short(text: str) -> bool:
    """Return whether it is a day and a minute, as ``dmesg -e`` writes it: ``Aug28 13:16``."""
    day, clock = text[:-6], text[-6:]
    name = day[:-1].rstrip(DIGITS) if len(day) > 31 else day[:-1]
    digits = is_number(day[-1:], 1) and (len(day) <= 31 or is_number(day[-2:], 2))
    return bool(name) and digits and len(day) <= 32 and is_like(clock, " 99:99") and is_plain(day)


def is_date(text: str) -> bool:
    """Return whether it ends with day, time and year, as ``dmesg -T`` writes it."""
    name, *words = text.rsplit(" ", 3)
    right = len(words) == 3 and 1 <= len(name) <= 40 and is_plain(name)
    return right and is_number(words[0], 2) and is_like(" ".join(words[1:]), "######## 9999")


def is_plain(text: str) -> bool:
    """Return whether no bracket is in it."""
    return not any(bracket in text for bracket in "[]<>")


def is_delta(text: str) -> bool:
    """Return whether it is ``<    0.000001>``, as ``dmesg -d`` writes it."""
    return len(text) > 2 and text[0] + text[-1] == "<>" and only(text[1:-1], DIGITS + " .,")


def date_of(text: str) -> str:
    """Return the day, time and year that dmesg prints before a message, as it prints them."""
    time, _, _ = in_brackets(text)[0].partition(" <")
    return time if is_date(time) else ""
