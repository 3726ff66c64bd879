"""Packages for the tests: the one that was built under other versions, and changed ones."""

import re
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from attrs import frozen
from container import Machine
from roots import Say, run

CONFFILE = "etc/treason/treason.toml"
KEEPING = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
"""An answer to dpkg's question about a changed configuration: what is there stays."""


@frozen
class Stage:
    """What a story is played with: the suite, the package, wheels of before, a place for files."""

    suite: str
    deb: Path
    wheels: Future[dict[str, Path]]
    place: Path
    say: Say


def repacked(
    deb: Path, version: str, place: Path, change: Callable[[Path], None] | None = None
) -> Path:
    """Return the package under another version; ``change`` may edit what it holds."""
    target = place / f"treason_{version}_amd64.deb"
    with tempfile.TemporaryDirectory(dir=place) as directory:
        tree = Path(directory, "tree")
        run("dpkg-deb", "--raw-extract", deb, tree)
        control = tree / "DEBIAN/control"
        text = re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text())
        control.write_text(text)
        if change is not None:
            change(tree)
        run("dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", tree, target,
            capture_output=True)  # fmt: skip
    return target


def version_of(deb: Path) -> str:
    """Return the version in a package's name."""
    return deb.name.split("_")[1]


def asking_more(tree: Path) -> None:
    """Let the configuration that is shipped be another one."""
    with (tree / CONFFILE).open("a") as file:
        file.write("\n# A line that the version before did not have.\n")


def refusing(tree: Path) -> None:
    """Let it fail before anything of it is unpacked."""
    preinst = tree / "DEBIAN/preinst"
    preinst.write_text("#!/bin/sh\nexit 1\n")
    preinst.chmod(0o755)


def colliding(tree: Path) -> None:
    """Let it fail while it is unpacked: it has a file of another package, last of all."""
    theirs = tree / "usr/share/perl5/Debconf/Db.pm"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("")


def put(machine: Machine, deb: Path) -> str:
    """Put a package into it; return where it is."""
    place = f"/root/{deb.name}"
    machine.path(place).write_bytes(deb.read_bytes())
    return place


def install(machine: Machine, deb: Path) -> str:
    """Install a package in it; return what is printed."""
    return machine.run("apt-get", "install", "--yes", *KEEPING, put(machine, deb))
