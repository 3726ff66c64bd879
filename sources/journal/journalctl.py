"""Running journalctl(1): what it shows, how far it came, and what it could not read."""

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from reconciler import SourceUnreadable, TreasonError, execute, lines
from sources import export
from sources.export import Entry

_PATIENCE: Final = 120.0
"""Seconds without a sign of it. It reads 100,000 records of the kernel in a tenth of a second."""

_FIELDS: Final = (
    "--output-fields=MESSAGE,SYSLOG_FACILITY,SYSLOG_IDENTIFIER,_SOURCE_MONOTONIC_TIMESTAMP,"
    "_TRANSPORT"
)
_ERRORS: Final[Mapping[str, str]] = {
    "SYSTEMD_LOG_LEVEL": "info",
    "SYSTEMD_LOG_TARGET": "console",
    "SYSTEMD_LOG_COLOR": "0",
    "SYSTEMD_LOG_LOCATION": "0",
    "SYSTEMD_LOG_TIME": "0",
    "SYSTEMD_LOG_TID": "0",
}
_ALL: Final = {**_ERRORS, "SYSTEMD_LOG_LEVEL": "debug"}
"""For a run that reads: it gives up a damaged file without a word otherwise."""

_DAMAGE: Final = re.compile(
    r"^(?:(?:Journal file|Can't iterate|An error was|Too many journal files|Entry item).*"
    r"(?:ignoring|skipping).*|Failed to (?:open journal|iterate|seek|parse|get|determine).*)",
    re.MULTILINE,
)
_NO_ACCESS: Final = re.compile("insufficient permissions|not seeing messages|Permission denied")
_NO_FILES: Final = "No journal files were found"
_NO_PATTERNS: Final = re.compile(r"without pattern matching|pcre2\S* (?:is )?not", re.IGNORECASE)
_PLACE: Final = "-- cursor: "
_TOLD: Final = 3
"""Reasons that an error names, the last ones."""


@frozen
class Run:
    """How a run of it went.

    ``place`` is the cursor of the last entry that it looked at, whether it showed it or not; None
    if there is none, or if it gave up. ``damage`` is what it could not read, in its own words.
    """

    place: str | None
    damage: tuple[str, ...]


@frozen
class Journalctl:
    """The command, of the machine's own journal or of a directory of journal files."""

    directory: str = ""
    command: tuple[str, ...] = ("journalctl",)
    patience: float = _PATIENCE

    def look(self, *arguments: str) -> Run:
        """Look at one entry: the first from a cursor on, else the last.

        A cursor that it does not understand is damage. Raise `SourceUnreadable` when the journal
        cannot be read, or not all of it.
        """
        argv = [*self._base, "--output=verbose", _FIELDS, "--lines=1", *arguments]
        try:  # where it writes for people it also says what we may not read
            done = execute.run(argv, codes=(0, 1), timeout=self.patience, environment=_ERRORS)
        except TreasonError as error:
            raise self.unreadable([error.what], error.hint) from None
        if _NO_ACCESS.search(done.error):
            raise self.unreadable(
                ["no permission"], "run as root, or add the user to the group systemd-journal"
            )
        if _NO_FILES in done.error:
            raise self.unreadable(
                ["there are no journal files"],
                "check that systemd-journald runs, or set [source.journal] directory",
            )
        said = done.error.splitlines()
        if done.code and said and not any("cursor" in line for line in said):
            raise self.unreadable(said)  # without a word it is an empty journal
        return Run(_place(done.output), _damage(done.error))

    def entries(
        self, needles: Sequence[str], *arguments: str, grep: bool = True
    ) -> Generator[Entry, None, Run]:
        """Yield the entries whose message holds a needle, as they come; no needle is in all."""
        pattern = [f"--grep={_pattern(needles)}", "--case-sensitive=yes"] if needles else []
        pattern = pattern if grep else []
        ended = execute.Completed(0, "", "")

        def pieces() -> Iterator[bytes]:
            nonlocal ended
            ended = yield from execute.streamed(
                [*self._base, "--output=export", "--all", _FIELDS, *pattern, *arguments],
                codes=(0, 1),  # 1 is an error, or that nothing was found
                timeout=self.patience,
                environment=_ALL,
            )

        coming = export.entries(pieces())
        try:
            if pattern or not needles:
                rest = yield from coming
            else:
                rest = yield from _holding(coming, needles)
        except TreasonError as error:
            raise self.unreadable([error.what], error.hint) from None
        if pattern and ended.code and _NO_PATTERNS.search(ended.error):
            return (yield from self.entries(needles, *arguments, grep=False))
        place = _place(rest.text.decode(errors="replace"))
        if rest.text and not place:
            raise self.unreadable(["journalctl printed something that is not an entry"])
        return Run(place, _damage(ended.error))

    def follow(self, start: str, *matches: str) -> execute.Following:
        """Start to print entries from a place on, as they come."""
        argv = [*self._base, "--follow", "--no-tail", "--output=export", "--all", _FIELDS]
        try:
            return execute.Following([*argv, start, *matches], environment=_ERRORS)
        except TreasonError as error:
            raise self.unreadable([error.what], error.hint) from None

    def unreadable(self, reasons: Sequence[str], hint: str = "") -> SourceUnreadable:
        """Make the error that tells why."""
        said = "; ".join(reasons[-_TOLD:]) or "journalctl does not say why"
        where = f"the journal in {self.directory}" if self.directory else "the journal"
        return SourceUnreadable(f"cannot read {where}: {said}", hint)

    @property
    def _base(self) -> tuple[str, ...]:
        # The kernel's records stand in the system's files; those of users are not asked for.
        scope = f"--directory={self.directory}" if self.directory else "--system"
        return (*self.command, "--no-pager", "--show-cursor", scope)


def told(damage: Sequence[str]) -> list[str]:
    """Return what people are told about damage."""
    return lines.shortened(
        [f"not all of the journal could be read: {line}" for line in damage],
        rest="and {} more; journalctl --verify tells what is damaged",
    )


def _holding(
    coming: Generator[Entry, None, export.Rest], needles: Sequence[str]
) -> Generator[Entry, None, export.Rest]:
    while True:
        try:
            entry = next(coming)
        except StopIteration as stop:
            rest: export.Rest = stop.value
            return rest
        if any(needle in str(entry.get("MESSAGE")) for needle in needles):
            yield entry


def _pattern(needles: Sequence[str]) -> str:
    """Return a PCRE2 pattern that finds any of the needles; no argument can hold a NUL."""
    return "|".join(re.escape(needle).replace("\0", r"\x00") for needle in needles)


def _place(output: str) -> str | None:
    last = output[output.rfind("\n", 0, -1) + 1 :].rstrip("\n")
    return last.removeprefix(_PLACE) if last.startswith(_PLACE) else None


def _damage(error: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_DAMAGE.findall(error)))
