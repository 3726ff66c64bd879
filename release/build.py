"""Build and check what is released: sdist, wheel and Debian package, and write their sums."""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import evolve

from reconciler.execute import run
from release import archives
from release.changelog import released
from release.checks import ARCHIVES, CHECKS, Built, same
from release.commit import Commit, ReleaseRefused, last_commit, refuse_dirt

ROOT: Final = Path(__file__).resolve().parent.parent
SUMS: Final = "SHA256SUMS"


def _archives(commit: Commit, scratch: Path, directory: Path) -> Built:
    """Build sdist and wheel."""
    tree = commit.export(scratch / "tree")
    made = (
        archives.sdist(tree, scratch / "sdist", commit.moment),
        archives.wheel(tree, scratch / "wheel", commit.moment),
    )
    source, wheel = _moved(made, directory)
    return Built(commit, tree, scratch / "checks", source, wheel)


def _everything(commit: Commit, scratch: Path, directory: Path) -> Built:
    """Build sdist, wheel and Debian package."""
    made = _archives(commit, scratch, directory)
    run(
        [sys.executable, "-m", "release", "deb", str(scratch / "deb")],
        timeout=1800.0,
        environment={"SOURCE_DATE_EPOCH": str(commit.moment)},
    )
    return evolve(made, debs=_moved((scratch / "deb").glob("*.deb"), directory))


def _moved(paths: Iterable[Path], directory: Path) -> tuple[Path, ...]:
    directory.mkdir(parents=True, exist_ok=True)
    return tuple(Path(shutil.move(path, directory / path.name)) for path in paths)


def sdist(directory: Path) -> None:
    """Build sdist and wheel of the last commit into ``directory``, in place of earlier releases.

    Raise `TreasonError` where something is not as it must be.
    """
    with _alone(ROOT) as scratch:
        _clear(directory)
        _checked(last_commit(ROOT), _archives, scratch, directory, ARCHIVES)


def release(
    directory: Path,
    *,
    root: Path = ROOT,
    make: Callable[[Commit, Path, Path], Built] = _everything,
    checks: Mapping[str, Callable[[Built], None]] = CHECKS,
) -> None:
    """Build all of the last commit into ``directory``, in place of earlier releases.

    Raise `TreasonError` where something is not as it must be. ``SHA256SUMS`` is removed first and
    written last: where it is, all was checked.
    """
    with _alone(root) as scratch:
        _clear(directory)
        refuse_dirt(root)
        commit = last_commit(root)
        released(commit.text("CHANGELOG.md"), commit.version)
        built = _checked(commit, make, scratch, directory, checks)
        refuse_dirt(root)
        if last_commit(root) != commit:
            raise ReleaseRefused("somebody has committed meanwhile", "run it again")
        _write_sums(directory, built.files)


def _checked(
    commit: Commit,
    make: Callable[[Commit, Path, Path], Built],
    scratch: Path,
    directory: Path,
    checks: Mapping[str, Callable[[Built], None]],
) -> Built:
    """Build twice, compare, and check."""
    _tell(f"treason {commit.version}, commit {commit.name[:12]}")
    built = make(commit, scratch / "first", directory)
    again = make(commit, scratch / "second", scratch / "again")
    for first, second in zip(built.files, again.files, strict=True):
        same(first, second)
        _tell(f"{first.name}: built twice, the same {first.stat().st_size:,} bytes")
    for name, check in checks.items():
        check(built)
        _tell(f"{name}: OK")
    return built


@contextmanager
def _alone(root: Path) -> Iterator[Path]:
    """Hold the lock of releases, as do the programs that we run; give a new directory."""
    cache = root / ".cache"
    cache.mkdir(exist_ok=True)
    with (cache / "release.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ReleaseRefused(
                "another release is being built in this checkout", "wait until it has ended"
            ) from None
        os.set_inheritable(lock.fileno(), True)
        scratch = cache / "release"
        shutil.rmtree(scratch, ignore_errors=True)  # of one that was killed
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _clear(directory: Path) -> None:
    """Remove what an earlier release left; the sums first, as they speak for the rest."""
    for pattern in (SUMS, f".{SUMS}.part", "treason-*.tar.gz", "treason-*.whl", "treason_*.deb"):
        for path in directory.glob(pattern):
            path.unlink()


def _write_sums(directory: Path, files: Sequence[Path]) -> None:
    """Write what sha256sum(1) checks, at once or not at all."""
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    part = directory / f".{SUMS}.part"
    part.write_text("".join(lines))
    part.replace(directory / SUMS)
    for line in lines:
        _tell(line.rstrip())


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
