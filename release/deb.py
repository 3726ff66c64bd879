"""The Debian package of the last commit, for Debian 12 and 13; `debian/rules` puts it together."""

import sys
import tempfile
import textwrap
from collections.abc import Iterable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Final

from reconciler.execute import run
from release import archives
from release.build import ROOT
from release.changelog import InvalidChangelog, Section, sections
from release.commit import last_commit

PYTHONS: Final = ("3.11", "3.13")
"""Those of Debian 12 and 13."""

LIBRARIES: Final = (
    "ansibleguy-nftables",
    "attrs",
    "backports.zstd",
    "certifi",
    "click",
    "google-re2",
    "h11",
    "httpcore",
    "pluggy",
    "psycopg",
    "tomli-w",
    "typing-extensions",
)
"""What treason and its extras need: wheels, some of them of one Python alone.

psycopg is the pure one, with Debian's libpq5: the other has a libpq and an OpenSSL in it, which
Debian does not mend.
"""

BUILT: Final = "python-iptables"
"""What has no wheel, but needs only a C compiler."""

REVISION: Final = 1
MAINTAINER: Final = "The treason developers <treason@packages.invalid>"
"""deb-control(5) wants an address, and there is none."""

_WIDTH: Final = 79
_MINUTE: Final = 60.0


def build(directory: Path) -> None:
    """Build the package of the last commit into ``directory``. Raise `TreasonError`.

    The libraries are in the versions that are installed beside us, with which the tests run.
    """
    commit = last_commit(ROOT)
    with tempfile.TemporaryDirectory(prefix="treason-deb.") as scratch:
        tree = commit.export(Path(scratch, f"treason-{commit.version}"))
        text = changelog(commit.text("CHANGELOG.md"), commit.version)
        (tree / "debian/changelog").write_text(text, encoding="utf-8")
        libraries = tree / "debian/libraries"
        archives.wheel(tree, libraries, commit.moment)
        _download(libraries)
        run(
            ["env", f"--chdir={tree}", "dpkg-buildpackage", "--build=binary", "--no-sign"],
            timeout=10 * _MINUTE,
            environment={
                "DEB_BUILD_OPTIONS": "noautodbgsym",
                "SOURCE_DATE_EPOCH": str(commit.moment),
            },
        )
        (made,) = Path(scratch).glob("treason_*.deb")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / made.name).write_bytes(made.read_bytes())


def changelog(text: str, current: str) -> str:
    """Return CHANGELOG.md from the version ``current`` on, as deb-changelog(5) has it.

    Raise `InvalidChangelog`.
    """
    dated = [(section, section.day) for section in sections(text) if section.day]
    if not dated or dated[0][0].version != current:
        raise InvalidChangelog(
            f"CHANGELOG.md: the newest section with a date is not that of {current}",
            f"write it as: ## [{current}] - 2026-11-30",
        )
    return "\n".join(_entry(section, day) for section, day in dated)


def _entry(section: Section, day: date) -> str:
    changes = [each for entries in section.entries.values() for each in entries]
    return (
        f"treason ({section.version}-{REVISION}) unstable; urgency=medium\n\n"
        f"{''.join(map(_change, changes))}\n"
        f" -- {MAINTAINER}  {day:%a, %d %b %Y} 00:00:00 +0000\n"
    )


def _change(text: str) -> str:
    filled = textwrap.fill(
        " ".join(text.split()),
        _WIDTH,
        initial_indent="  * ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{filled}\n"


def _download(directory: Path) -> None:
    """Download the libraries, for each of the Pythons."""
    for python in PYTHONS:
        _pip(directory, LIBRARIES, "--only-binary=:all:", f"--python-version={python}")
    _pip(directory, [BUILT], "--no-binary=:all:")


def _pip(directory: Path, names: Iterable[str], *options: str) -> None:
    pinned = [f"{name}=={version(name)}" for name in names]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"--dest={directory}"]
    run([*pip, *options, *pinned], timeout=5 * _MINUTE)
