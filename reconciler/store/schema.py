"""The database's schema, step by step. A step that was ever released is never changed."""

from typing import Final

from reconciler.store import counting, feed_tables

_FIRST: Final = (
    """CREATE TABLE bans (
        network TEXT NOT NULL PRIMARY KEY,
        since INTEGER NOT NULL,
        until INTEGER,
        origin TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE offences (
        id INTEGER PRIMARY KEY,
        address TEXT NOT NULL,
        rule TEXT NOT NULL,
        peer_port INTEGER,
        local_port INTEGER,
        time REAL NOT NULL,
        count INTEGER NOT NULL,
        evidence TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX offences_by_address ON offences (address, time)",
    """CREATE TABLE history (
        id INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        action TEXT NOT NULL CHECK (action IN ('ban', 'unban', 'expiry')),
        network TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE cursors (
        source TEXT NOT NULL PRIMARY KEY,
        cursor TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
)

# The table of the original script, as a view: its SELECT and INSERT go on working. The times are
# UTC text, as the script's datetime('now') is.
_SECOND: Final = (
    """CREATE VIEW badips (addedtime, ip) AS
        SELECT datetime(since, 'unixepoch'), network FROM bans
        WHERE until IS NULL OR until > CAST(strftime('%s', 'now') AS INTEGER)""",
    """CREATE TRIGGER badips_insert INSTEAD OF INSERT ON badips WHEN NEW.ip IS NOT NULL BEGIN
        INSERT INTO history (time, action, network, reason)
            SELECT CAST(strftime('%s', 'now') AS INTEGER), 'ban', NEW.ip, 'inserted into badips'
            WHERE NOT EXISTS (SELECT 1 FROM bans WHERE network = NEW.ip AND until IS NULL);
        UPDATE bans SET until = NULL, origin = 'badips', reason = 'inserted into badips'
            WHERE network = NEW.ip AND until IS NOT NULL;
        INSERT OR IGNORE INTO bans
            SELECT NEW.ip, CAST(coalesce(strftime('%s', NEW.addedtime), strftime('%s', 'now'))
                AS INTEGER), NULL, 'badips', 'inserted into badips';
    END""",
    "CREATE INDEX bans_untidy ON bans (network) WHERE reason = 'inserted into badips'",
    # Whoever ran treason through ssh is not to be locked out for some time.
    """CREATE TABLE clients (
        address TEXT NOT NULL PRIMARY KEY,
        until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)

# Bans by their networks' bytes (`Network.key`), in which a range is a network with all inside it.
# A row that was not written by this program has no key until it is tidied; the key of one that is
# no network is empty.
_THIRD: Final = (
    "ALTER TABLE bans ADD COLUMN key BLOB CHECK (key IS NULL OR length(key) IN (0, 6, 18))",
    "UPDATE bans SET key = network_key(CAST(network AS BLOB))",
    "CREATE INDEX bans_by_key ON bans (key, until, origin)",
    "CREATE INDEX bans_by_end ON bans (until) WHERE until IS NOT NULL",
    """CREATE INDEX bans_unguarded ON bans (key, until)
        WHERE origin = 'badips' AND instr(network, '/') > 0""",
    """CREATE TRIGGER bans_renamed AFTER UPDATE OF network ON bans
        WHEN NEW.network IS NOT OLD.network AND NEW.key IS OLD.key BEGIN
        UPDATE bans SET key = NULL WHERE network = NEW.network;
    END""",
    "DROP INDEX bans_untidy",
    "DROP TRIGGER badips_insert",
    """CREATE TRIGGER badips_insert INSTEAD OF INSERT ON badips WHEN NEW.ip IS NOT NULL BEGIN
        INSERT INTO history (time, action, network, reason)
            SELECT CAST(strftime('%s', 'now') AS INTEGER), 'ban', NEW.ip, 'inserted into badips'
            WHERE NOT EXISTS (SELECT 1 FROM bans WHERE network = NEW.ip AND until IS NULL);
        UPDATE bans SET until = NULL, origin = 'badips', reason = 'inserted into badips', key = NULL
            WHERE network = NEW.ip AND until IS NOT NULL;
        INSERT OR IGNORE INTO bans (network, since, until, origin, reason)
            SELECT NEW.ip, CAST(coalesce(strftime('%s', NEW.addedtime), strftime('%s', 'now'))
                AS INTEGER), NULL, 'badips', 'inserted into badips';
    END""",
    # What each backend was last known to hold, and the bans that changed since: while there is
    # such a row, every change of a ban is noted with what was there before (NULL: nothing).
    """CREATE TABLE verified (
        backend TEXT NOT NULL PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        digest TEXT NOT NULL,
        revision INTEGER NOT NULL,
        time INTEGER NOT NULL,
        read INTEGER NOT NULL,
        enforced INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE changes (
        revision INTEGER PRIMARY KEY AUTOINCREMENT,
        key BLOB NOT NULL,
        origin TEXT
    ) STRICT""",
    """CREATE TRIGGER bans_added AFTER INSERT ON bans
        WHEN NEW.key IS NOT NULL AND EXISTS (SELECT 1 FROM verified) BEGIN
        INSERT INTO changes (key, origin) VALUES (NEW.key, NULL);
    END""",
    # SQLite fires no trigger for a row that INSERT OR REPLACE or UPDATE OR REPLACE puts away.
    """CREATE TRIGGER bans_replaced BEFORE INSERT ON bans
        WHEN EXISTS (SELECT 1 FROM verified) BEGIN
        INSERT INTO changes (key, origin)
            SELECT key, origin FROM bans WHERE network = NEW.network AND key IS NOT NULL;
    END""",
    """CREATE TRIGGER bans_overwritten BEFORE UPDATE OF network ON bans
        WHEN NEW.network IS NOT OLD.network AND EXISTS (SELECT 1 FROM verified) BEGIN
        INSERT INTO changes (key, origin)
            SELECT key, origin FROM bans WHERE network = NEW.network AND key IS NOT NULL;
    END""",
    """CREATE TRIGGER bans_lifted AFTER DELETE ON bans
        WHEN OLD.key IS NOT NULL AND EXISTS (SELECT 1 FROM verified) BEGIN
        INSERT INTO changes (key, origin) VALUES (OLD.key, OLD.origin);
    END""",
    """CREATE TRIGGER bans_changed AFTER UPDATE ON bans
        WHEN EXISTS (SELECT 1 FROM verified) BEGIN
        INSERT INTO changes (key, origin)
            SELECT OLD.key, OLD.origin WHERE OLD.key IS NOT NULL;
        INSERT INTO changes (key, origin)
            SELECT NEW.key, NULL WHERE NEW.key IS NOT NULL AND NEW.key IS NOT OLD.key;
    END""",
)

# Which source brought an offence, and the kernel's own stamp of its record, by which the same
# record is known again when another source brings it. Addresses by their bytes, as bans are.
_FOURTH: Final = (
    "ALTER TABLE offences ADD COLUMN key BLOB",
    "ALTER TABLE offences ADD COLUMN source TEXT",
    "ALTER TABLE offences ADD COLUMN micros INTEGER",
    "UPDATE offences SET key = network_key(CAST(address AS BLOB))",
    "DROP INDEX offences_by_address",
    "CREATE INDEX offences_by_key ON offences (key, time)",
    "CREATE INDEX offences_by_stamp ON offences (micros) WHERE micros IS NOT NULL",
    "CREATE INDEX history_lifts ON history (network, time) WHERE action != 'ban'",
    "CREATE TABLE prunings (time INTEGER NOT NULL) STRICT",
)

# What tells this database from every other one. And each change gets a token, which tells it from
# another one of the same number: SQLite's counter may be deleted or set back. There always is one.
_FIFTH: Final = (
    "CREATE TABLE treason_identity (value TEXT NOT NULL) STRICT",
    "INSERT INTO treason_identity VALUES (lower(hex(randomblob(8))))",
    "DROP TABLE changes",
    """CREATE TABLE changes (
        revision INTEGER PRIMARY KEY AUTOINCREMENT,
        key BLOB NOT NULL,
        origin TEXT,
        token INTEGER NOT NULL DEFAULT (random())
    ) STRICT""",
    "INSERT INTO changes (key) VALUES (x'')",
    "DELETE FROM verified",
    "ALTER TABLE verified ADD COLUMN token INTEGER NOT NULL DEFAULT 0",
)

# The boot of a record, where it tells it: its stamp is one of a kind within that. And its time as
# it tells it, which may lie ahead of ours.
_SIXTH: Final = (
    "ALTER TABLE offences ADD COLUMN boot TEXT",
    "ALTER TABLE offences ADD COLUMN told REAL",
    "UPDATE offences SET told = time",
)

# The digest of what was last written to a file, and of what it held before. A store that wrote
# before there were marks notes that, under no name: what it has written is still to be adopted.
# Up to which event of the history each backend was last verified, so that a lift is not forgotten
# before it is carried out. What is remembered of the clock, and the times of bans that an earlier
# clock made, while a later one is behind them (reconciler.store.clock).
# What the whitelist that commands write held last, by its path: one that vanished is not empty.
_SEVENTH: Final = (
    """CREATE TABLE marks (
        object TEXT NOT NULL PRIMARY KEY,
        written TEXT NOT NULL,
        before TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """INSERT INTO marks SELECT '', '', ''
        WHERE EXISTS (SELECT 1 FROM history) OR EXISTS (SELECT 1 FROM bans)""",
    """CREATE TABLE carried_out (
        backend TEXT NOT NULL PRIMARY KEY,
        event INTEGER NOT NULL,
        time INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE treason_clock (
        boot TEXT NOT NULL,
        uptime REAL NOT NULL,
        time REAL NOT NULL,
        told REAL NOT NULL,
        steady REAL,
        doubted REAL,
        frame REAL
    ) STRICT""",
    """CREATE TABLE bans_set_back (
        network TEXT NOT NULL PRIMARY KEY,
        since INTEGER NOT NULL,
        until INTEGER NOT NULL,
        moved INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE whitelists (
        path TEXT NOT NULL PRIMARY KEY,
        content TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
)

# What the sources that judge by themselves are to look at again; the bans that rules would have
# made while the policy only observed (`withheld.py`); whose connections are to be closed, which
# were (after which event of the history), and whether the kernel of a boot ends orphans
# (`closings.py`).
_EIGHTH: Final = (
    """CREATE TABLE suspects (
        source TEXT NOT NULL,
        thing TEXT NOT NULL,
        rule TEXT NOT NULL,
        key BLOB NOT NULL CHECK (length(key) IN (6, 18)),
        since REAL NOT NULL,
        looks INTEGER NOT NULL,
        peer_port INTEGER CHECK (peer_port BETWEEN 0 AND 65535),
        local_port INTEGER CHECK (local_port BETWEEN 0 AND 65535),
        judged INTEGER NOT NULL,
        note TEXT NOT NULL,
        PRIMARY KEY (source, thing)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE withheld (
        network TEXT NOT NULL PRIMARY KEY,
        since INTEGER NOT NULL,
        until INTEGER,
        origin TEXT NOT NULL,
        reason TEXT NOT NULL,
        offences INTEGER NOT NULL,
        last INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE closings (
        network TEXT NOT NULL,
        ground TEXT NOT NULL CHECK (ground IN ('seen', 'told', 'every', 'spared')),
        since INTEGER NOT NULL,
        PRIMARY KEY (network, ground)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE closed (
        id INTEGER PRIMARY KEY,
        event INTEGER NOT NULL,
        time INTEGER NOT NULL,
        network TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT""",
    "CREATE TABLE probes (boot TEXT NOT NULL, orphans_end INTEGER NOT NULL) STRICT",
)

# Messages that nobody confirmed, and those that wait for it, until an uptime of a boot; and which
# rules people were told of that ban nobody any more (`unconfirmed.py`).
_NINTH: Final = (
    """CREATE TABLE unconfirmed (
        id INTEGER PRIMARY KEY,
        event INTEGER NOT NULL,
        time INTEGER NOT NULL,
        source TEXT NOT NULL,
        key BLOB NOT NULL CHECK (length(key) IN (6, 18)),
        rule TEXT NOT NULL,
        peer_port INTEGER CHECK (peer_port BETWEEN 0 AND 65535),
        local_port INTEGER CHECK (local_port BETWEEN 0 AND 65535),
        count INTEGER NOT NULL,
        evidence TEXT NOT NULL,
        micros INTEGER,
        boot TEXT,
        told REAL,
        guess REAL,
        why TEXT NOT NULL,
        waits_in TEXT,
        waits_until REAL
    ) STRICT""",
    "CREATE INDEX unconfirmed_by_stamp ON unconfirmed (micros) WHERE micros IS NOT NULL",
    "CREATE INDEX unconfirmed_waiting ON unconfirmed (source) WHERE waits_in IS NOT NULL",
    "CREATE TABLE rules_told (rule TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID",
)

# What lets nothing be enforced (`pauses.py`).
_TENTH: Final = ("CREATE TABLE pause (since INTEGER NOT NULL, until INTEGER) STRICT",)

# How many bans and offences there are, kept by triggers (`counting.py`), when each source's cursor
# moved last, and the last backup.
_ELEVENTH: Final = (
    "ALTER TABLE cursors ADD COLUMN moved INTEGER",
    "CREATE TABLE backup (time INTEGER NOT NULL, path TEXT NOT NULL) STRICT",
    *counting.STEP,
)

TRIGGERS: Final = ("bans_added", "bans_lifted", "bans_changed", "bans_replaced", "bans_overwritten")
"""Those that note each change of a ban."""

NAMES: Final = {
    *("bans", "offences", "history", "cursors", "clients", "verified", "changes"),
    *("prunings", "treason_identity", "marks", "carried_out", "treason_clock", "bans_set_back"),
    *("whitelists", "suspects", "withheld", "closings", "closed", "probes"),
    *("unconfirmed", "rules_told", "pause", "backup"),
    *counting.TABLES,
    *feed_tables.TABLES,
    *("badips_insert", "bans_renamed", *TRIGGERS, *counting.TRIGGERS),
}
STEPS: Final = (
    *(_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH, _SIXTH, _SEVENTH, _EIGHTH, _NINTH, _TENTH),
    *(_ELEVENTH, feed_tables.STEP),
)
VERSION: Final = len(STEPS)
IDENTIFIED: Final = 5
"""The version from which on a database has an identity."""
