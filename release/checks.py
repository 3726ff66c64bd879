"""What must be true of that which is released; each check raises `ReleaseRefused`."""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler.execute import run
from release import archives
from release.commit import Commit, ReleaseRefused

_GENERATED: Final = ("PKG-INFO", "setup.cfg", "treason.egg-info/")
"""What an sdist has besides the files of the commit."""

_ELSEWHERE: Final = "STYLE: referenced manual not found"


@frozen
class Built:
    """What was built of a commit, whose export is ``tree``; checks may write into ``scratch``."""

    commit: Commit
    tree: Path
    scratch: Path
    sdist: Path
    wheel: Path
    debs: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is released."""
        return (self.sdist, self.wheel, *self.debs)


def version(built: Built) -> None:
    """Raise `ReleaseRefused` unless every file is named after the version."""
    number = built.commit.version
    wrong = {built.sdist.name, built.wheel.name} - {
        f"treason-{number}.tar.gz",
        f"treason-{number}-py3-none-any.whl",
    }
    wrong |= {deb.name for deb in built.debs if not deb.name.startswith(f"treason_{number}-")}
    if wrong:
        raise ReleaseRefused(f"not of version {number}: {_listed(wrong)}")


def sdist_contents(built: Built) -> None:
    """Raise `ReleaseRefused` unless the sdist has the commit's files, and setuptools' own alone."""
    held = archives.names(built.sdist)
    if missing := built.commit.files - held:
        raise ReleaseRefused(f"the sdist lacks {_listed(missing)}", "name it in MANIFEST.in")
    extra = {name for name in held - built.commit.files if not name.startswith(_GENERATED)}
    if extra:
        raise ReleaseRefused(f"the sdist holds what is in no commit: {_listed(extra)}")


def sdist_builds_the_wheel(built: Built) -> None:
    """Raise `ReleaseRefused` unless the sdist's wheel has the same bytes."""
    tree = archives.unpacked(built.sdist, built.scratch / "sdist")
    same(built.wheel, archives.wheel(tree, built.scratch / "of-sdist", built.commit.moment))


def metadata(built: Built) -> None:
    """Raise `ReleaseRefused` unless an index takes the description and all other metadata."""
    _pass([sys.executable, "-m", "twine", "check", "--strict"], built.sdist, built.wheel)


def wheel_contents(built: Built) -> None:
    """Raise `ReleaseRefused` where the wheel holds what belongs elsewhere, or a file twice."""
    _pass([sys.executable, "-m", "check_wheel_contents"], built.wheel)


def wheel_works(built: Built) -> None:
    """Raise `ReleaseRefused` unless the wheel is whole, and works in an empty environment."""
    _pass([sys.executable, str(built.tree / "tests/wheel.py")], built.wheel)


def manual(built: Built) -> None:
    """Raise `ReleaseRefused` where there is no manual, or mandoc has something to say of it.

    It may miss pages that are not on this machine.
    """
    pages = sorted((built.tree / "docs/man").glob("*.[1-8]"))
    if not pages:
        raise ReleaseRefused("docs/man holds no page")
    done = run(["mandoc", "-Tlint", "-Wstyle", *map(str, pages)], codes=range(256))
    if said := [line for line in done.output.splitlines() if _ELSEWHERE not in line]:
        raise ReleaseRefused("mandoc -Tlint: " + "\n".join(said))


def package(built: Built) -> None:
    """Raise `ReleaseRefused` where lintian finds an error, or something to warn of."""
    _pass(["lintian", "--allow-root", "--fail-on=error,warning"], *built.debs)


ARCHIVES: Final[Mapping[str, Callable[[Built], None]]] = {
    "names": version,
    "sdist: contents": sdist_contents,
    "sdist: builds the same wheel": sdist_builds_the_wheel,
    "twine check --strict": metadata,
    "check-wheel-contents": wheel_contents,
}
"""What sdist and wheel must pass."""

CHECKS: Final[Mapping[str, Callable[[Built], None]]] = {
    **ARCHIVES,
    "mandoc -Tlint -Wstyle": manual,
    "lintian": package,
    "wheel: works alone": wheel_works,
}
"""What a release must pass."""


def same(first: Path, second: Path) -> None:
    """Raise `ReleaseRefused` unless two files hold the same bytes."""
    if first.read_bytes() != second.read_bytes():
        raise ReleaseRefused(f"{first.name}: built again it has other bytes")


def _pass(argv: list[str], *paths: Path) -> None:
    """Run a program that ends with 0 where all is well."""
    done = run([*argv, *map(str, paths)], codes=range(256), timeout=600.0)
    if done.code:
        said = f"{done.output.strip()}\n{done.error.strip()}".strip()
        raise ReleaseRefused(f"{' '.join(argv)} ended with {done.code}:\n{said}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
