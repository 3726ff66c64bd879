"""The commit that is released: what it holds, and that the checkout is exactly that."""

import os
import re
import tarfile
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler.errors import TreasonError
from reconciler.execute import run

_SHOWN: Final = 10
"""How many files a refusal names."""

_VERSION: Final = re.compile(r'^__version__: Final = "([^"]+)"$', re.MULTILINE)


class ReleaseRefused(TreasonError):
    """Nothing is released: the checkout or what was built is not as it must be."""


@frozen
class Commit:
    """The last commit of the checkout ``root``; ``moment`` is its time in seconds since 1970."""

    root: Path
    name: str
    moment: int

    @property
    def version(self) -> str:
        """What ``reconciler.__version__`` is in it. Raise `ReleaseRefused`."""
        text = _git(self.root, "show", f"{self.name}:reconciler/__init__.py")
        found = _VERSION.search(text)
        if found is None:
            raise ReleaseRefused("reconciler/__init__.py has no line as: __version__: Final = ...")
        return found[1]

    @property
    def files(self) -> frozenset[str]:
        """The paths of all its files."""
        listing = _git(self.root, "ls-tree -r -z --name-only --full-tree", self.name)
        return frozenset(filter(None, listing.split("\0")))

    def text(self, path: str) -> str:
        """Return what one of its files holds."""
        return _git(self.root, "show", f"{self.name}:{path}")

    def export(self, directory: Path) -> Path:
        """Write all its files into a new directory, dated by the commit, and return that."""
        directory.mkdir(parents=True)
        archive = directory.with_name(f"{directory.name}.tar")
        _git(self.root, "-c tar.umask=0022 archive", f"--output={archive}", self.name)
        with tarfile.open(archive) as files:
            files.extractall(directory, filter="tar")
        archive.unlink()
        for path in (directory, *directory.rglob("*")):  # whatever the umask is
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        return directory


def last_commit(root: Path) -> Commit:
    """Return the last commit of a checkout."""
    name, moment = _git(root, "log -1", "--format=%H %ct").split()
    return Commit(root, name, int(moment))


def refuse_dirt(root: Path) -> None:
    """Raise `ReleaseRefused` unless the checkout holds what its last commit does, and no more.

    What .gitignore names may be there.
    """
    listing = _git(root, "status --porcelain --untracked-files=all --no-renames")
    dirt = listing.splitlines()
    if dirt:
        more = f"\n  and {len(dirt) - _SHOWN} more" if len(dirt) > _SHOWN else ""
        raise ReleaseRefused(
            f"the checkout differs from its last commit in {len(dirt)}"
            f" {'file' if len(dirt) == 1 else 'files'}:"
            + "".join(f"\n  {line}" for line in dirt[:_SHOWN])
            + more,
            "commit, remove or stash what is listed (git status)",
        )


def _git(root: Path, words: str, *arguments: str) -> str:
    return run(["git", "-C", str(root), *words.split(), *arguments]).output
