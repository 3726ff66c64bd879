"""Whose a backend's objects are: two databases are not to undo each other's work for ever.

A backend may note, beside what it owns, for which database it was last changed: its identity and
its path. Whoever moves a database or restores it keeps both apart from a copy that is in use.
"""

from pathlib import Path
from typing import Final

from reconciler.errors import BackendError

_LONGEST: Final = 120
"""Bytes of a note; nft shows comments of 128 (NFTNL_UDATA_COMMENT_MAXLEN, libnftnl)."""


def note(identity: str, path: Path) -> str:
    """Return what is noted of a database; empty for one that has no identity."""
    text = "".join(each if each.isascii() and each.isprintable() else "?" for each in str(path))
    text = text.replace('"', "?").replace("\\", "?")
    return f"{identity} {text}"[:_LONGEST] if identity else ""


def contested(backend: str, noted: str, ours: str) -> BackendError | None:
    """Return the refusal to change what another database holds; None if it is ours, or nobody's."""
    if not noted or not ours or noted == ours:
        return None
    identity, _, path = noted.partition(" ")
    own_identity, _, own_path = ours.partition(" ")
    if identity == own_identity and not _is_another_file(path, own_path):
        return None  # the database was moved
    other = "a copy of this database" if identity == own_identity else "another database"
    where = f", which was at {path}" if path == own_path else f" {path}" if path else ""
    return BackendError(
        f"{backend}: its objects were last changed for {other}{where}; this one is {own_path}",
        "let one database be used for all; to go on with this one: treason reconcile --force",
    )


def _is_another_file(path: str, own: str) -> bool:
    """Whether both are there and differ; one that may not be looked at counts as gone."""
    try:
        return not Path(path).samefile(own)
    except OSError:
        return False
