"""What all pages have: a head with the date of the release, and sections that many share."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler import __version__
from reconciler.config import tables
from reconciler.config.feeds import STORES
from reconciler.host.unit_files import DIRECTORY
from release.changelog import InvalidChangelog, sections
from release.manual.prose import sentences
from release.manual.roff import argument, literal, macro, tagged

ROOT: Final = Path(__file__).parent.parent.parent
_MAIN: Final = tables.Main()

CONFIGURATION: Final = str(tables.DEFAULT)
WHITELIST: Final = str(tables.DEFAULT.with_name("whitelist.toml"))
DATABASE: Final = str(_MAIN.database)
LOCK: Final = str(_MAIN.lock)
SOCKET: Final = str(tables.Run().socket)
FEED: Final = f"{STORES}/NAME/feed.db"
UNITS: Final = str(DIRECTORY / "treason*")
FILES: Final = {
    CONFIGURATION: "The configuration.",
    WHITELIST: "What `treason whitelist add` has added.",
    DATABASE: "The database: bans, offences, history, what was read of each source.",
    LOCK: "The lock that a pass holds, and beside it what it remembers of the firewall.",
    SOCKET: "The socket at which the daemon is asked.",
    FEED: "What the feed of this name says.",
    UNITS: "The units of systemd that `treason init --systemd` writes, as far as those of a package"
    " in /usr/lib/systemd/system are not what the configuration needs.",
}
"""The files that the program reads and writes where the configuration names no others."""

ENVIRONMENT: Final = {
    "TREASON_CONFIG": "The configuration file, where `--config` names none.",
    "NO_COLOR": "If it is set and not empty, nothing is coloured.",
}
"""What is read of the environment."""


@frozen
class Page:
    """A manual page: its name, its section and its lines."""

    name: str
    section: int
    lines: tuple[str, ...]

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.{self.section}"

    @property
    def text(self) -> str:
        """The whole file."""
        return "\n".join(self.lines) + "\n"


def released() -> date:
    """Return the day of the latest release that CHANGELOG.md dates. Raise `InvalidChangelog`."""
    days = (each.day for each in sections((ROOT / "CHANGELOG.md").read_text()))
    if found := next(filter(None, days), None):
        return found
    raise InvalidChangelog(
        "CHANGELOG.md has no dated section", "write one, as in: ## [0.2.0] - 2026-11-30"
    )


def head(name: str, section: int, purpose: str) -> Iterator[str]:
    """Yield the beginning of a page, up to the end of NAME."""
    day = released()
    yield r".\" Made by `make generated`; what it says is in the program and in release/manual/."
    yield f".Dd {day:%B} {day.day}, {day.year}"
    yield f".Dt {name.upper()} {section}"
    yield macro("Os", f"treason {__version__}")
    yield ".Sh NAME"
    yield macro("Nm", name)
    yield macro("Nd", purpose)


def environment(names: Iterable[str] = ENVIRONMENT) -> Iterator[str]:
    """Yield the section about the environment."""
    yield ".Sh ENVIRONMENT"
    yield from tagged((f"Ev {argument(name)}", sentences(ENVIRONMENT[name])) for name in names)


def files(names: Iterable[str] = FILES) -> Iterator[str]:
    """Yield the section about files."""
    yield ".Sh FILES"
    yield from tagged((f"Pa {argument(name)}", sentences(FILES[name])) for name in names)


def exit_status(codes: Mapping[int, str], besides: Iterable[str] = ()) -> Iterator[str]:
    """Yield the section about exit codes; ``besides`` are sentences about this command."""
    yield ".Sh EXIT STATUS"
    yield from tagged((str(code), sentences(text)) for code, text in sorted(codes.items()))
    for text in besides:
        yield ".Pp"
        yield from sentences(text)


def examples(lines: Iterable[str]) -> Iterator[str]:
    """Yield the section with commands to type."""
    yield ".Sh EXAMPLES"
    yield from literal("\n".join(lines))


def see_also(pages: Iterable[tuple[str, int]]) -> Iterator[str]:
    """Yield the section that names other pages, in their order."""
    wanted = sorted(set(pages), key=lambda each: (each[1], each[0]))
    yield ".Sh SEE ALSO"
    for number, (name, section) in enumerate(wanted, 1):
        comma = "" if number == len(wanted) else " ,"
        yield f".Xr {name} {section}{comma}"
