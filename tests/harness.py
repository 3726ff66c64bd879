"""The command line run in this process, in a directory of the test's own."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from pytest_mock import MockerFixture

from reconciler.cli.main import main
from reconciler.host import sandbox
from reconciler.store import counting, feed_tables

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
REAL_ROOT = os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split()[2] != "1"
"""Whether we are root of the machine, not of a user namespace that holds nobody else."""

SEED = """\
TCP: Treason uncloaked! Peer 117.79.83.112:4638/8080 shrinks window 3207520931:3207522811. Repaired.
TCP: Treason uncloaked! Peer 218.14.17.182:4771/8080 shrinks window 2946511037:2946513358. Repaired.
TCP: Treason uncloaked! Peer 218.14.17.182:4771/8080 shrinks window 2946511037:2946513358. Repaired.
TCP: Treason uncloaked! Peer 218.14.17.182:4771/8080 shrinks window 2946511037:2946513358. Repaired.
"""


def take_back_twelfth(database: sqlite3.Connection) -> None:
    """Let the schema be the eleventh again."""
    for name in feed_tables.TABLES:
        database.execute(f"DROP TABLE {name}")
    database.execute("ALTER TABLE changes DROP COLUMN feed")
    database.execute("PRAGMA user_version = 11")


def take_back_eleventh(database: sqlite3.Connection) -> None:
    """Let the schema be the tenth again."""
    take_back_twelfth(database)
    for name in counting.TRIGGERS:
        database.execute(f"DROP TRIGGER {name}")
    for name in (*counting.TABLES, "backup"):
        database.execute(f"DROP TABLE {name}")
    database.execute("ALTER TABLE cursors DROP COLUMN moved")
    database.execute("PRAGMA user_version = 10")


def take_back_tenth(database: sqlite3.Connection) -> None:
    """Let the schema be the ninth again."""
    take_back_eleventh(database)
    database.execute("DROP TABLE pause")
    database.execute("PRAGMA user_version = 9")


def take_back_ninth(database: sqlite3.Connection) -> None:
    """Let the schema be the eighth again."""
    take_back_tenth(database)
    for table in ("unconfirmed", "rules_told"):
        database.execute(f"DROP TABLE {table}")
    database.execute("PRAGMA user_version = 8")


def take_back_eighth(database: sqlite3.Connection) -> None:
    """Let the schema be the seventh again."""
    take_back_ninth(database)
    for table in ("suspects", "withheld", "closings", "closed", "probes"):
        database.execute(f"DROP TABLE {table}")
    database.execute("PRAGMA user_version = 7")


def take_back_seventh(database: sqlite3.Connection) -> None:
    """Let the schema be the sixth again."""
    take_back_eighth(database)
    for table in ("marks", "carried_out", "treason_clock", "bans_set_back", "whitelists"):
        database.execute(f"DROP TABLE {table}")
    database.execute("PRAGMA user_version = 6")


@attrs.frozen
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@attrs.frozen
class Place:
    """A directory with a configuration, a database and a lock of its own."""

    path: Path
    capture: pytest.CaptureFixture[str]

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.path / "treason.toml"

    @property
    def database(self) -> Path:
        """The database."""
        return self.path / "treason.db"

    def configure(self, text: str = "", *, main: str = "") -> None:
        """Write the configuration: ``main`` goes into ``[treason]``, ``text`` behind it."""
        self.config.write_text(
            f'[treason]\ndatabase = "{self.database}"\nlock = "{self.path}/lock"\n{main}\n{text}\n'
            f'[run]\nsocket = "{self.path}/control"\n'
        )

    def treason(self, *arguments: str) -> Result:
        """Run the command line in this process."""
        self.capture.readouterr()
        argv, sys.argv = sys.argv, ["treason", "--config", str(self.config), *arguments]
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            sys.argv = argv
        captured = self.capture.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Result(code, captured.out, captured.err)

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Run the command line as a process and a process group of its own, to be killed."""
        return subprocess.Popen(
            [sys.executable, "-m", "reconciler", "--config", str(self.config), *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def snapshot(self) -> dict[str, tuple[int, int, bytes]]:
        """Return mode, time of change and content of every file."""
        return {
            str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
            for path in sorted(self.path.rglob("*"))
            if path.is_file()
        }


def see_through(directory: Path, mocker: MockerFixture) -> None:
    """Judge a sandbox by what is in a directory of the test alone, wherever the tests run."""
    barriers = sandbox.barriers
    mocker.patch.object(
        sandbox,
        "barriers",
        lambda path: (found for found in barriers(path) if directory in found[0].parents),
    )
    mocker.patch.object(sandbox, "HIDDEN", ())
    mocker.patch.object(sandbox, "installation", return_value=set())


def page(
    database: Path, name: str, change: Callable[[bytearray], object], *, last: bool = False
) -> None:
    """Change the first page of a table or an index, or its last leaf, in the file itself."""
    with closing(sqlite3.connect(database)) as connection:
        [(root,)] = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)
        ).fetchall()
        [(size,)] = connection.execute("PRAGMA page_size").fetchall()
    with database.open("r+b") as file:
        file.seek((root - 1) * size)
        content = bytearray(file.read(size))
        while last and content[0] in {2, 5}:  # not a leaf yet (SQLite's file format, §1.6)
            root = int.from_bytes(content[8:12])
            file.seek((root - 1) * size)
            content = bytearray(file.read(size))
        change(content)
        file.seek((root - 1) * size)
        file.write(content)


def wipe(content: bytearray) -> None:
    """Let nothing of it be readable."""
    content[:] = b"\xff" * len(content)
