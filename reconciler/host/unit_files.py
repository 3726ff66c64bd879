"""The files of the installed units: where each stands, and which are to be written or removed.

A package ships what its own configuration needs, so those units are always there. That they are in
use is what systemd enabled. Whatever has to differ, and all that runs another program, stands in
`DIRECTORY`, which goes before what is shipped (systemd.unit(5)).
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler import files
from reconciler.errors import TreasonError
from reconciler.host import feed_units, sandbox, units
from reconciler.host.feed_units import FeedUnit
from reconciler.host.sandbox import word
from reconciler.host.units import DAEMON, EARLY, ONCE, RESTORE, TIMER, Services
from reconciler.host.written import Written, content

DIRECTORY: Final = Path("/etc/systemd/system")
SHIPPED: Final = Path("/usr/lib/systemd/system")
"""Where a package has its units."""

USERS: Final = Path("/etc/sysusers.d/treason-feeds.conf")
ANY: Final = FeedUnit("*")
_NAMES: Final = tuple(units.texts(units.COMMAND, Path(), Services(early=True, feeds=(ANY,))))
_RUN: Final = (DAEMON, TIMER, ONCE, RESTORE, EARLY)


def program() -> str:
    """Return the words that start this very program, for a unit."""
    path = sandbox.program()
    if path is None:
        return f"{word(sys.executable)} -P -m reconciler"
    packaged = Path(units.COMMAND)
    if path.name == packaged.name and path.parent.resolve() == packaged.parent:
        path = packaged  # /bin is a link to /usr/bin
    return word(str(path))


def rendered(configuration: Path, services: Services) -> dict[Path, str]:
    """Return the texts of the units, and of who runs the feeds, by where `init` writes them."""
    named = units.texts(program(), configuration.absolute(), services, [configuration.resolve()])
    users = {USERS: feed_units.users(services.feeds)} if services.feeds else {}
    return {DIRECTORY / name: text for name, text in named.items()} | users


def present() -> list[Path]:
    """Return which of the files are there that are ours by their names."""
    named = [DIRECTORY / name for name in _NAMES]
    of_feeds = [path for name in ANY.beside for path in sorted(DIRECTORY.glob(name))]
    return [path for path in (*named, *of_feeds, USERS) if path.is_file()]


def links(name: str) -> list[Path]:
    """Return what systemd starts a unit by: it is enabled if there is any (systemctl(1))."""
    found = (each / name for each in sorted(DIRECTORY.glob("*.wants")))
    return [link for link in found if link.is_symlink()]  # it may lead nowhere


def started_feeds() -> list[str]:
    """Return the feeds that are read now and after each boot, by what systemd enabled."""
    found = sorted(DIRECTORY.glob(f"*.wants/{ANY.timer}"))
    return [path.stem.partition("@")[2] for path in found]


def is_masked(path: Path) -> bool:
    """Whether somebody lets systemd see no such unit."""
    return path.is_symlink() and os.path.realpath(path) == os.devnull


def file(name: str) -> Path:
    """Return where systemd finds a unit; where a package has it, unless there is another."""
    own = DIRECTORY / name
    return own if os.path.lexists(own) else SHIPPED / name


def is_astray(link: Path) -> bool:
    """Whether what a unit is started by leads to another file than the unit's."""
    unit = file(re.sub(r"@.*\.", "@.", link.name))
    return not (link.exists() and unit.exists() and link.samefile(unit))


def timer_only() -> bool:
    """Whether the units are those without the daemon, whose timer no package ships."""
    daemon = (DIRECTORY / DAEMON).is_file() or links(DAEMON)
    return (DIRECTORY / TIMER).is_file() and not daemon


def in_use() -> list[str]:
    """Return the units that are to run here, but for those of feeds; none where none is enabled.

    Those in `DIRECTORY` are, enabled or not.
    """
    own = {name for name in _RUN if (DIRECTORY / name).exists() or links(name)}
    idle = {DAEMON} if timer_only() else set()
    return [name for name in _RUN if own and name not in idle and file(name).exists()]


def of_another() -> Path | None:
    """Return a unit that runs another program than this one, if one does; also one of a package."""
    ours = f"ExecStart={program()} "
    enabled = [file(name) for name in _RUN if links(name)]
    for path in dict.fromkeys([*present(), *enabled]):
        runs = re.findall(r"^ExecStart=.*", content(path) or "", re.MULTILINE)
        if runs and not any(line.startswith(ours) for line in runs):
            return path
    return None


@frozen
class Layout:
    """What is to become of the files: ``texts`` are to be written to `DIRECTORY`.

    ``shipped`` is what a package has just so, ``surplus`` are ours that nothing needs, and
    ``spared`` stays as it is.
    """

    texts: dict[Path, str]
    shipped: dict[Path, str]
    surplus: list[Path]
    spared: list[Path]

    @classmethod
    def of(
        cls, wanted: dict[Path, str], spare: Callable[[Path], bool] = lambda _path: False
    ) -> "Layout":
        """Return it for what is ``wanted``; files that somebody would ``spare`` stay."""
        surplus = [path for path in present() if path not in wanted]
        spared = [*filter(spare, wanted)]
        left = {path: text for path, text in wanted.items() if path not in spared}
        shipped = {path: text for path, text in left.items() if _ships(path, text)}
        texts = {path: text for path, text in left.items() if path not in shipped}
        return cls(texts, shipped, surplus, spared)

    @property
    def units(self) -> set[str]:
        """The names of the units that are to be there."""
        return {path.name for path in (*self.texts, *self.shipped, *self.spared)}

    @property
    def files(self) -> dict[Path, str | None]:
        """What each of the files is to hold; None for what is to be removed."""
        return {**dict.fromkeys(self.surplus), **self.texts, **self.shipped}

    def wrong(self) -> Iterator[Path]:
        """Yield what systemd reads otherwise than it is to."""
        yield from self.surplus
        yield from (path for path, text in self.texts.items() if content(path) != text)
        for path, text in self.shipped.items():
            if content(path) not in {None, text} or is_masked(path):
                yield path

    def write(self, written: Written, *, alike: bool = True) -> Iterator[str]:
        """Write the texts, those that are there as well if ``alike``; what is shipped goes before.

        Tell each step. Raise `TreasonError`.
        """
        for path, text in self.texts.items():
            if alike or content(path) != text:
                written.announce(path, text)
                _write(path, text)
                yield f"{path}: written"
        for path in self.shipped:
            if os.path.lexists(path):
                remove(path)
                yield f"{path}: removed, {SHIPPED / path.name} takes its place"


def remove(path: Path) -> None:
    """Remove a file, and the directory of one that stood beside a unit if nothing else is there."""
    path.unlink()
    if path.parent.parent == DIRECTORY and not any(path.parent.iterdir()):
        path.parent.rmdir()


def _ships(path: Path, text: str) -> bool:
    """Whether a package has a unit just so; it may go, and another program's units must stay."""
    own = path.is_relative_to(DIRECTORY) and program() == units.COMMAND
    return own and content(SHIPPED / path.relative_to(DIRECTORY)) == text


def _write(path: Path, text: str) -> None:
    """Write a unit; one that is a link, as of a masked unit, is replaced, not what it leads to."""
    new = path.with_name(f".{path.name}.new") if path.is_symlink() else path
    try:
        path.parent.mkdir(mode=0o755, exist_ok=True)
        files.replace(new, text, mode=0o644)
        new.replace(path)
    except OSError as error:
        raise TreasonError(f"{path}: cannot write the unit: {error.strerror}") from None
