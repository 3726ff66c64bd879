"""A pattern that an administrator wrote: what is refused, and the text that every match holds.

RE2 matches it, in time that grows with pattern times text and no faster (github.com/google/re2),
so no message can stall a pass. `re` only parses it: what the two do not share is refused, so that
a pattern means what it says in both.
"""

import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Final

from attrs import field, frozen

from reconciler.detection.detect import Match

GROUPS: Final = ("address", "peer_port", "local_port", "count")
"""The named groups that an offence is made of; others are free."""

_LONGEST: Final = 1000
"""Characters of a pattern."""

_STEPS: Final = 2000
"""Instructions of a compiled pattern; with `LONGEST_RECORD` they bound a record's time."""

LONGEST_RECORD: Final = 8192
"""Characters of a record: the kernel's CONSOLE_EXT_LOG_MAX. No longer one is its own."""

_MEMORY: Final = 1 << 20
"""Bytes that RE2 may use for a pattern; it matches more slowly rather than take more."""

_PLAIN: Final = re.compile(r"[ !#-%(-.0-;=?-\[\]-~]+")
r"""What every carrier writes as it is. kmsg and JSON escape ``"``, ``\`` and all that is not
ASCII, some writers of JSON also ``&``, ``'``, ``/``, ``<`` and ``>``."""

_ALIKE: Final = 0.8
"""How alike a group's name must be to one of ours to be taken for a slip."""

_UNSHARED: Final = (
    (r"\(\?<?[=!]|\(\?<[=!]", "look-around"),
    (r"\(\?P=|\\[1-9]", "back-references"),
    (r"\(\?\(", "conditions"),
    (r"\(\?>|[*+?}]\+", "possessive and atomic parts"),
    (r"\(\?#|\(\?[aiLmsu-]*x", "comments and verbose patterns"),
    (r"\\Z", r"\Z: the whole body is matched anyway, so leave it out"),
    (r"\(\?<[A-Za-z_]", "(?<name>...): write (?P<name>...)"),
    (r"\\[pP]|\[:\^?[a-z]+:\]|\[\[:", "classes by name: list the characters, as in [0-9A-Fa-f]"),
)
"""What only one of the two engines knows, in words."""

_MISSING: Final = (
    "needs the package google-re2, which is not installed: pip install google-re2"
    " (it has wheels for glibc on x86_64 and aarch64)"
)


@frozen
class UserPattern:
    """A pattern that was found right; ``needle`` is a text that stands in every match.

    The needle can be empty: then nothing can be skipped without matching it.
    """

    pattern: str
    needle: str
    _engine: Any = field(repr=False, eq=False)

    def fullmatch(self, text: str, /) -> Match | None:
        """Match the whole text."""
        return self._try(self._engine.fullmatch, text)

    def search(self, text: str, /) -> Match | None:
        """Match any part of the text, the first that does."""
        return self._try(self._engine.search, text)

    def _try(self, method: Any, text: str) -> Match | None:  # noqa: ANN401 - re2 ships no types
        if len(text) > LONGEST_RECORD:
            return None
        try:
            match: Match | None = method(text)
        except UnicodeEncodeError:
            return None  # half a surrogate pair, from JSON: no kernel writes one
        return match


def read(text: object) -> UserPattern:
    """Check and compile a pattern; raise ValueError with the reason."""
    if not isinstance(text, str):
        raise TypeError(f"must be a string, not {text!r}")
    if len(text) > _LONGEST:
        raise ValueError(f"has {len(text):,} characters; at most {_LONGEST:,} are allowed")
    engine = compiled(text)
    parsed = _parsed(text)
    if engine.programsize > _STEPS:
        raise ValueError(
            f"compiles to {engine.programsize:,} steps; at most {_STEPS:,} are allowed:"
            " repeat less, as in \\S+ for \\S{1,500}"
        )
    _check_groups(engine.groupindex)
    if engine.fullmatch(""):
        raise ValueError("matches an empty text, so it would match without any address")
    return UserPattern(text, _needle(parsed), engine)


def compiled(text: str) -> Any:  # noqa: ANN401 - re2 ships no types
    """Compile with RE2; raise ValueError with the reason."""
    try:
        import re2  # noqa: PLC0415 - only a pattern of the administrator's own needs it
    except ImportError:
        raise ValueError(_MISSING) from None
    options = re2.Options()
    options.log_errors = False  # it would write to stderr
    options.max_mem = _MEMORY
    try:
        return re2.compile(text, options)
    except UnicodeEncodeError:
        raise ValueError("holds half a surrogate pair, which is not valid text") from None
    except re2.error as error:
        said = error.args[0]
        reason = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise ValueError(_explained(text, reason)) from None


def parts(text: str) -> list[str]:
    """Cut a pattern into what stands side by side in it; one with alternatives stays whole."""
    found: list[str] = []
    at = 0
    while at < len(text):
        start, at = at, _end_of_atom(text, at)
        if text[start] == "|":
            return [text]
        if repeat := _REPEAT.match(text, at):
            at = repeat.end()
        found.append(text[start:at])
    return found


_REPEAT: Final = re.compile(r"(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\??")
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)


def _end_of_atom(text: str, at: int) -> int:
    """Return where a character, a class or a group ends that begins here."""
    if text[at] == "\\":
        return at + (4 if text[at + 1 : at + 2] == "x" else 2)
    if text[at] == "[" and (bracket := _CLASS.match(text, at)):
        return bracket.end()
    if text[at] != "(":
        return at + 1
    at += 1
    while at < len(text) and text[at] != ")":
        at = _end_of_atom(text, at)
    return at + 1


def _parsed(text: str) -> Any:  # noqa: ANN401 - re._parser is private and has no types
    """Parse with `re`; refuse what it does not take, or what it is not sure to mean."""
    if re.search(r"(?<!\\)(?:\\\\)*\{,[0-9]*\}", text):
        raise ValueError("{,N} is plain text to RE2; write {0,N}")
    if re.search(r"\[:\^?[a-z]+:\]", text):  # to `re`, that is no class inside of another one
        raise ValueError(_explained(text, "[:name:]"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return re._parser.parse(text)  # type: ignore[attr-defined]  # noqa: SLF001 - nothing public parses
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise ValueError(_explained(text, f"{error}")) from None


def _explained(text: str, reason: str) -> str:
    """Return in words what RE2 and `re` do not share, before the engine's own words."""
    place = ""
    for shape, what in _UNSHARED:
        if found := re.search(rf"(?<!\\)(?:\\\\)*({shape})", text):
            place = f"{what}, at character {found.start(1) + 1}, cannot be used: "
            break
    return f"{place or 'is not a valid pattern: '}{reason}"


def _check_groups(names: Iterable[str]) -> None:
    """Refuse a pattern without an address, and names that look like a slip."""
    from difflib import get_close_matches  # noqa: PLC0415 - only such a pattern needs it

    names = list(names)
    if "address" not in names:
        hint = get_close_matches("address", names, 1)
        raise ValueError(
            "has no group (?P<address>...)"
            + (f"; did you mean it by (?P<{hint[0]}>...)?" if hint else ", which names the peer")
        )
    for name in names:
        meant = get_close_matches(name, GROUPS, 1, _ALIKE)
        if name not in GROUPS and meant:
            raise ValueError(f"has the group {name!r}; did you mean {meant[0]!r}?")


def _needle(parsed: Any) -> str:  # noqa: ANN401 - see _parsed
    """Return the longest text that stands in every match; none where anything is unusual."""
    try:
        runs = "".join(_literals(parsed)).split("\0")
    except _Unusual:
        return ""
    plain = [piece for run in runs for piece in _PLAIN.findall(run)]
    return max(plain, key=len, default="")


class _Unusual(Exception):
    """A part of a pattern that is not known to keep its neighbours' text as it is."""


def _literals(parsed: Any) -> Iterator[str]:  # noqa: ANN401 - see _parsed
    """Yield the text that must stand side by side, and NUL where anything may come between.

    What is optional, and alternatives, are such a gap; only what surely comes is looked into.
    """
    for operation, argument in parsed:
        match str(operation):
            case "LITERAL":
                yield chr(argument)
            case "SUBPATTERN":
                _, added, removed, inside = argument
                if added or removed:
                    raise _Unusual
                yield from _literals(inside)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, _, inside = argument
                yield "\0"
                if least:
                    yield from _literals(inside)
                    yield "\0"
            case "ANY" | "IN" | "NOT_LITERAL" | "BRANCH":
                yield "\0"
            case "AT":
                pass  # the beginning, the end, a word's edge: no text
            case _:
                raise _Unusual
    if getattr(parsed, "state", None) is not None and parsed.state.flags & ~re.UNICODE:
        raise _Unusual
