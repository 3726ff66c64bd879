"""The file's size: what was deleted is given back to the disk, a piece at a time."""

import time
from typing import Final

from reconciler.errors import StoreError
from reconciler.log import Log
from reconciler.store.database import Database
from reconciler.store.refusals import is_damage

_INCREMENTAL: Final = 2
"""As `PRAGMA auto_vacuum` tells it; a database from before has 0 until it was written anew."""

_WORTH: Final = 8
"""The free pages that are given back are at least one in so many, and at least `_LEAST`."""

_LEAST: Final = 256
_PIECE: Final = 1_000
"""Pages that are given back in one transaction: some 50 ms."""

_BUDGET: Final = 0.5
"""Seconds after which no further piece is begun; the next pass goes on."""

_WHOLE: Final = 5.0
"""Seconds in which the file is to be copied; a million bans take half of that."""

_STEPS: Final = 10_000
"""Instructions of SQLite's between two looks at the clock."""

_log = Log("space")


def compact(database: Database, *, whole: bool) -> None:
    """Return free pages to the disk, if they are many; what fails is left to a later pass.

    A database that an older version made must be written anew once, which is done only where
    ``whole`` allows it: it needs as much room again, and a moment without anybody else. Nothing is
    lost when it fails, and nothing waits for it. Raise `StoreError` of a file that is damaged.
    """
    [(mode, free, pages)] = database.rows(
        "SELECT (SELECT auto_vacuum FROM pragma_auto_vacuum),"
        " (SELECT freelist_count FROM pragma_freelist_count),"
        " (SELECT page_count FROM pragma_page_count)"
    )
    if free < max(_LEAST, pages // _WORTH):
        return
    try:
        if mode == _INCREMENTAL:
            _give_back(database, free)
        elif whole:
            _write_anew(database)
    except StoreError as error:
        if is_damage(error):
            raise
        _log.debug("the file stays as large as it is: %s", error.what)


def _give_back(database: Database, free: int) -> None:
    end = time.monotonic() + _BUDGET
    while free > 0:
        database.run(f"PRAGMA incremental_vacuum({_PIECE})")
        [(left,)] = database.rows("PRAGMA freelist_count")
        if left >= free or time.monotonic() > end:
            return
        free = left


def _write_anew(database: Database) -> None:
    end = time.monotonic() + _WHOLE
    connection = database.connection
    connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    try:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        database.execute("VACUUM")
    finally:
        connection.set_progress_handler(None, 0)
