"""The tables of what feeds bring, and of what they were given: a step of the schema.

What was released is never changed, but replaced by a later step.
"""

from typing import Final

STANDING: Final = ("feeds", "feed_bans", "published", "publishings")
"""What is as feeds have it now, also where an older database takes this one's place."""

TABLES: Final = (*STANDING, "feed_releases")

# What feeds bring: many networks in a row, packed as `Networks` holds them, and what is known of
# each feed (`feeds.py`). A change that is noted is one of the bans, or of what feeds hold.
STEP: Final = (
    """CREATE TABLE feeds (
        name TEXT NOT NULL PRIMARY KEY,
        file TEXT NOT NULL,
        epoch TEXT NOT NULL,
        taken INTEGER,
        trouble TEXT NOT NULL,
        cut INTEGER NOT NULL,
        refused INTEGER NOT NULL,
        quarantined TEXT NOT NULL,
        accepted INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE feed_bans (
        feed TEXT NOT NULL,
        member TEXT NOT NULL,
        since INTEGER NOT NULL,
        until INTEGER,
        reason TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('held', 'observed', 'quarantined')),
        number INTEGER NOT NULL,
        four BLOB NOT NULL CHECK (length(four) % 5 = 0),
        six BLOB NOT NULL CHECK (length(six) % 17 = 0)
    ) STRICT""",
    "CREATE INDEX feed_bans_by_feed ON feed_bans (feed)",
    "CREATE INDEX feed_bans_by_end ON feed_bans (until) WHERE until IS NOT NULL",
    "ALTER TABLE changes ADD COLUMN feed INTEGER NOT NULL DEFAULT 0",
    # What they held, where that was too much for the history, up to which of its events.
    """CREATE TABLE feed_releases (
        event INTEGER NOT NULL,
        four BLOB NOT NULL CHECK (length(four) % 5 = 0),
        six BLOB NOT NULL CHECK (length(six) % 17 = 0)
    ) STRICT""",
    # What was given to feeds that tell others of it, and up to which event of the history.
    """CREATE TABLE published (
        feed TEXT NOT NULL,
        key BLOB NOT NULL,
        until INTEGER,
        PRIMARY KEY (feed, key)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE publishings (
        feed TEXT NOT NULL PRIMARY KEY,
        rules TEXT NOT NULL,
        event INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)
