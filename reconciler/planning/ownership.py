"""Whose a backend's objects are: two databases are not to undo each other's work for ever.

A backend may note, beside what it owns, for which database it was last changed. Whoever moves a
database, or restores it from its backup, goes on; a copy that is used beside it does not.
"""

import os
from hashlib import blake2b
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler.errors import BackendError

_LONGEST: Final = 120
"""Bytes of a note; nft shows comments of 128 (NFTNL_UDATA_COMMENT_MAXLEN, libnftnl)."""


@frozen
class Owner:
    """A database: what tells it from every other one, even if that has its path; and its path.

    One of an older schema has no identity until it can be migrated: nothing is noted of it, and
    what is noted is another one's.
    """

    identity: str
    path: Path

    @property
    def note(self) -> str:
        """What is noted: identity, digest of the path, and the path as far as it is plain."""
        if not self.identity:
            return ""
        return f"{self.identity} {_digest(str(self.path))} {_plain(self.path)}"[:_LONGEST]

    def contested(self, backend: str, noted: str) -> BackendError | None:
        """Return the refusal to change what another database holds; None if it is ours, or free.

        Some backends have room for the identity alone.
        """
        if not noted or noted == self.note:
            return None
        identity, _, rest = noted.partition(" ")
        digest, _, path = rest.partition(" ")
        if identity == self.identity and (not rest or self._was_moved(path, digest)):
            return None
        other = "a copy of this database" if identity == self.identity else "another database"
        where = f" {path}" if path else f" ({identity})"
        if digest == _digest(str(self.path)):
            where = " that was at this path before"
        return BackendError(
            f"{backend}: its objects were last changed for {other}{where}; this one is {self.path}",
            "use one database for both; to drop what this one holds instead, and nothing else:"
            " treason reconcile --force",
        )

    def _was_moved(self, path: str, digest: str) -> bool:
        """Whether nothing but this database can be meant by a path that was noted otherwise."""
        if digest != _digest(path):
            return False  # it was not noted as it is
        try:
            return Path(path).samefile(self.path)
        except FileNotFoundError:
            return True
        except OSError:
            return False


def tells_of(noted: str, path: Path) -> bool:
    """Whether what is noted, or that nothing is, tells of a database that was at this path.

    Not if another one is there that was noted. An identity alone, for which some backends have
    room, may be of any: whoever changes anything is refused by `Owner.contested`.
    """
    _, _, rest = noted.partition(" ")
    digest, _, other = rest.partition(" ")
    if not noted or digest == _digest(str(path)):
        return True
    return bool(rest) and not (digest == _digest(other) and os.path.lexists(other))


def identity_of(noted: str, path: Path) -> str:
    """Return the identity of the database that was noted with this path; empty if none was."""
    identity, _, rest = noted.partition(" ")
    return identity if rest.partition(" ")[0] == _digest(str(path)) else ""


def _plain(path: Path) -> str:
    """Write a path for the comment of an object: quoted text of printable ASCII."""
    told = (each if each.isascii() and each.isprintable() else "?" for each in str(path))
    return "".join("?" if each in '"\\' else each for each in told)


def _digest(path: str) -> str:
    return blake2b(path.encode(errors="surrogateescape"), digest_size=4).hexdigest()
