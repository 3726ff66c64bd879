"""The plainest questions about texts; patterns would be those of the product."""

from collections.abc import Sequence
from typing import Final

DIGITS: Final = "0123456789"
HEX: Final = "0123456789abcdef"
SMALL: Final = "abcdefghijklmnopqrstuvwxyz"
LARGE: Final = SMALL.upper()


def only(text: str, alphabet: Sequence[str]) -> bool:
    """Return whether no other characters are in it."""
    return all(character in alphabet for character in text)


def is_number(text: object, longest: int) -> bool:
    """Return whether it is a row of digits, of some length."""
    return isinstance(text, str) and 1 <= len(text) <= longest and only(text, DIGITS)


def is_port(text: str) -> bool:
    """Return whether ``%u`` of a port printed it."""
    return is_number(text, 5) and str(int(text)) == text and int(text) < 65536


def is_word(text: str) -> bool:
    """Return whether it holds something, and no blanks."""
    return text.split() == [text]


def is_like(text: str, picture: str) -> bool:
    """Compare with a picture: letters A a, a digit 9, that or a blank *, or a colon #, a sign ~."""
    sets = {"A": LARGE, "a": SMALL, "9": DIGITS, "*": DIGITS + " ", "#": DIGITS + ":", "~": "+-"}
    return len(text) == len(picture) and all(
        character in sets.get(place, place) for character, place in zip(text, picture, strict=True)
    )
