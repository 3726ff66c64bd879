"""The triggers that count bans and offences, whoever writes; `counts.py` reads what they keep.

This is a step of the schema: what was released is never changed, but replaced by a later step.
"""

from typing import Final

RECOUNTS: Final = {
    "bans_counted": "SELECT origin, until IS NULL, count(*) FROM bans GROUP BY 1, 2",
    "offences_counted": (
        "SELECT coalesce(source, ''), count(*), max(time) FROM offences GROUP BY 1"
    ),
}
"""The tables of counts, and how each is counted anew."""

_COUNTED: Final = """INSERT INTO bans_counted VALUES (NEW.origin, NEW.until IS NULL, 1)
            ON CONFLICT (origin, permanent) DO UPDATE SET number = number + 1;"""
_DISCOUNTED: Final = """UPDATE bans_counted SET number = number - 1
            WHERE origin = OLD.origin AND permanent = (OLD.until IS NULL);"""
_COVERED: Final = """DELETE FROM bans_covered;
        INSERT INTO bans_covered
            SELECT network, origin, until IS NULL FROM bans WHERE network = NEW.network;"""
_UNCOVERED: Final = """UPDATE bans_counted SET number = number - 1
            WHERE (origin, permanent) IN
                (SELECT origin, permanent FROM bans_covered WHERE network = NEW.network);
        DELETE FROM bans_covered WHERE network = NEW.network;"""
_OFFENDED: Final = """INSERT INTO offences_counted VALUES (coalesce(NEW.source, ''), 1, NEW.time)
            ON CONFLICT (source) DO UPDATE
            SET number = number + 1, last = max(last, excluded.last);"""
_FORGOTTEN: Final = """UPDATE offences_counted SET number = number - 1
            WHERE source = coalesce(OLD.source, '');"""


def _each(when: str, *statements: str) -> str:
    return " ".join([when, "BEGIN", *statements, "END"])


_TRIGGERS: Final = {
    # SQLite fires no trigger for a row that OR REPLACE puts away, unless it is told to. So what is
    # there before is noted, and taken off once the other row is in its place.
    "bans_counted_covering": _each(
        "BEFORE INSERT ON bans WHEN EXISTS (SELECT 1 FROM bans WHERE network = NEW.network)",
        _COVERED,
    ),
    "bans_counted_covering_renamed": _each(
        "BEFORE UPDATE OF network ON bans WHEN NEW.network IS NOT OLD.network"
        " AND EXISTS (SELECT 1 FROM bans WHERE network = NEW.network)",
        _COVERED,
    ),
    "bans_counted_in": _each("AFTER INSERT ON bans", _COUNTED),
    "bans_counted_replaced": _each(
        "AFTER INSERT ON bans WHEN EXISTS (SELECT 1 FROM bans_covered WHERE network = NEW.network)",
        _UNCOVERED,
    ),
    "bans_counted_out": _each(
        "AFTER DELETE ON bans",
        _DISCOUNTED,
        "DELETE FROM bans_covered WHERE network = OLD.network;",
    ),
    "bans_counted_changed": _each(
        "AFTER UPDATE ON bans WHEN NEW.origin IS NOT OLD.origin"
        " OR (NEW.until IS NULL) IS NOT (OLD.until IS NULL)",
        _DISCOUNTED,
        _COUNTED,
    ),
    "bans_counted_renamed": _each(
        "AFTER UPDATE OF network ON bans WHEN NEW.network IS NOT OLD.network",
        "DELETE FROM bans_covered WHERE network = OLD.network;",
        _UNCOVERED,
    ),
    "offences_counted_in": _each("AFTER INSERT ON offences", _OFFENDED),
    "offences_counted_out": _each("AFTER DELETE ON offences", _FORGOTTEN),
    "offences_counted_changed": _each(
        "AFTER UPDATE OF source, time ON offences", _FORGOTTEN, _OFFENDED
    ),
}

TRIGGERS: Final = (*_TRIGGERS,)
TABLES: Final = (*RECOUNTS, "bans_covered")
STEP: Final = (
    """CREATE TABLE bans_counted (
        origin TEXT NOT NULL,
        permanent INTEGER NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (origin, permanent)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE bans_covered (
        network TEXT NOT NULL PRIMARY KEY,
        origin TEXT NOT NULL,
        permanent INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE offences_counted (
        source TEXT NOT NULL PRIMARY KEY,
        number INTEGER NOT NULL,
        last REAL NOT NULL
    ) STRICT, WITHOUT ROWID""",
    *(f"INSERT INTO {table} {query}" for table, query in RECOUNTS.items()),
    *(f"CREATE TRIGGER {name} {text}" for name, text in _TRIGGERS.items()),
)
