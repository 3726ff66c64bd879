"""The sdist and the wheel of a tree: the same bytes for the same commit, wherever they are built.

They are built by the setuptools that is installed beside us, in no environment of their own.
"""

import gzip
import io
import sys
import tarfile
from pathlib import Path

from reconciler.execute import run

_MINUTE = 60.0


def sdist(tree: Path, directory: Path, moment: int) -> Path:
    """Build the sdist of a tree, dated ``moment`` throughout; return its path."""
    archive = _built("sdist", tree, directory, moment)
    normalise(archive, moment)
    return archive


def wheel(tree: Path, directory: Path, moment: int) -> Path:
    """Build the wheel of a tree, dated ``moment`` throughout; return its path."""
    return _built("wheel", tree, directory, moment)


def unpacked(archive: Path, directory: Path) -> Path:
    """Unpack an sdist into a directory, and return the tree that it holds."""
    with tarfile.open(archive) as packed:
        packed.extractall(directory, filter="data")
    return directory / archive.name.removesuffix(".tar.gz")


def names(archive: Path) -> frozenset[str]:
    """Return the paths of an sdist's files, below the directory that it unpacks into."""
    with tarfile.open(archive) as packed:
        return frozenset(
            member.name.partition("/")[2] for member in packed.getmembers() if member.isfile()
        )


def _built(kind: str, tree: Path, directory: Path, moment: int) -> Path:
    before = frozenset(directory.glob("*"))
    run(
        [
            sys.executable,
            "-m",
            "build",
            "--no-isolation",
            f"--{kind}",
            f"--outdir={directory}",
            str(tree),
        ],
        timeout=5 * _MINUTE,
        environment={"SOURCE_DATE_EPOCH": str(moment), "PYTHONHASHSEED": "0"},
    )
    (made,) = frozenset(directory.glob("*")) - before
    return made


def normalise(archive: Path, moment: int) -> None:
    """Write a packed archive anew: sorted, of nobody, of one time; setuptools dates by the clock.

    The time of the gzip header is that of RFC 1952, 2.3.1: seconds since 1970.
    """
    with tarfile.open(archive) as packed:
        members = [
            (member, held.read() if (held := packed.extractfile(member)) else b"")
            for member in sorted(packed.getmembers(), key=lambda member: member.name)
        ]
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=moment) as packer,
        tarfile.open(fileobj=packer, mode="w", format=tarfile.PAX_FORMAT) as written,
    ):
        for member, content in members:
            member.mtime, member.uid, member.gid = moment, 0, 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            written.addfile(member, io.BytesIO(content))
