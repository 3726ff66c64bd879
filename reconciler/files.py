"""Replace files as a whole: a reader sees the old content or the new one, never a part."""

import os
from pathlib import Path


def replace(path: Path, content: str, *, mode: int) -> None:
    """Write the file anew; one that is there keeps its mode and owner, a new one gets ``mode``.

    Nothing is left behind when it fails. Raise OSError.
    """
    import tempfile  # noqa: PLC0415 - costs milliseconds, and most commands write no file

    path = path.resolve()
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            _dress(descriptor, path, mode)
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
    _settle(path.parent)


def _dress(descriptor: int, path: Path, mode: int) -> None:
    """Set the mode and the owner of the new file to those of the old one."""
    try:
        old = path.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, mode)
        return
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, old.st_mode & 0o7777)


def _settle(directory: Path) -> None:
    """Make the new name survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
