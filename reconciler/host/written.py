"""Files of the system that `init` writes: what somebody else wrote is not replaced or removed."""

from collections.abc import Callable, Collection, Iterable, Mapping
from hashlib import blake2b
from pathlib import Path

from attrs import frozen

from reconciler.errors import TreasonError


@frozen(eq=False)
class Written:
    """What was written where: ``known`` gives the digests of what was written to a file.

    ``note`` keeps the digest of what is about to be written, and of what is there until then.
    ``adopt`` takes over what is there, whoever wrote it.
    """

    known: Callable[[str], Collection[str]]
    note: Callable[[str, str, str], None]
    adopt: bool = False

    def check(self, texts: Mapping[Path, str | None], command: str) -> None:
        """Raise `TreasonError` if one of the files is somebody else's.

        It is not if it holds what is to be written anyway. ``command`` is what adopts it.
        """
        if self.adopt:
            return
        for path, text in texts.items():
            found = content(path)
            if found is None or found == text:
                continue
            known = self.known(str(path))
            if digest(found) not in known:
                who = "somebody has changed it since" if known else "it was not written by"
                raise TreasonError(
                    f"{path}: {who} `treason init`, so it is left as it is",
                    f"move it away (systemctl edit keeps changes beside it), or: {command} --adopt",
                )

    def announce(self, path: Path, text: str) -> None:
        """Keep the digest of what is about to be written."""
        found = content(path)
        self.note(str(path), digest(text), "" if found is None else digest(found))


def others(path: Path, texts: Iterable[str]) -> bool:
    """Whether a file is there that holds none of the texts that are written to it."""
    found = content(path)
    return found is not None and found not in texts


def content(path: Path) -> str | None:
    """Return the text of a file; None if there is none. Raise `TreasonError`."""
    try:
        return path.read_text(errors="surrogateescape")
    except (FileNotFoundError, IsADirectoryError):
        return None  # whoever writes or removes it is told what is wrong with that
    except OSError as error:
        raise TreasonError(f"{path}: cannot read it: {error.strerror}") from None


def digest(text: str) -> str:
    """Return the digest of a text."""
    return blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()
