"""A database that was loaded from a dump, and one that an ordinary user may not open."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from harness import REAL_ROOT

from reconciler import Network
from reconciler.errors import StoreError
from reconciler.execute import run
from reconciler.model import Ban
from reconciler.store.migrations import key_of, recognise
from reconciler.store.schema import STEPS, VERSION
from reconciler.store.store import open_store, open_to_enforce

BAN = Ban(Network.parse("192.0.2.7"), 1, None, "manual", 'it\'s "odd"; --')


def loaded(dump: str, path: Path) -> Path:
    """Load what `.dump` printed into a new file."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(dump)
    return path


@pytest.fixture
def dump(tmp_path: Path) -> str:
    """Return what `sqlite3 .dump` prints of a database with a ban."""
    path = tmp_path / "treason.db"
    with open_store(path, write=True) as store:
        store.bans.add([BAN])
    with closing(sqlite3.connect(path)) as database:
        return "\n".join(database.iterdump())


def refusal(path: Path, *, write: bool = False) -> StoreError:
    """Return what is said when it is opened."""

    def use() -> None:
        with open_store(path, write=write) as store:
            store.bans.add([BAN] if write else [])

    with pytest.raises(StoreError) as told:
        use()
    return told.value


@pytest.mark.parametrize("write", [False, True])
def test_what_was_loaded_from_a_dump_is_told_apart_and_adopted(
    dump: str, tmp_path: Path, write: bool
) -> None:
    """It is not changed; the command that is told makes it what it was."""
    path = loaded(dump, tmp_path / "it's restored.db")
    before = path.read_bytes()
    error = refusal(path, write=write)
    assert error.what.startswith(f"{path}: these are treason's tables, but without its mark")
    assert path.read_bytes() == before
    command = error.hint.partition("adopt it: ")[2]
    run(["sh", "-c", command])
    with open_store(path, write=True) as store:
        assert [*store.bans.active(2)] == [BAN]


def test_a_pass_does_not_take_it_for_nothing(dump: str, tmp_path: Path) -> None:
    """Else it would lift every ban."""
    path = loaded(dump, tmp_path / "restored.db")
    with pytest.raises(StoreError, match="without its mark"), open_to_enforce(path):
        pass


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_each_version_is_known_by_its_tables(version: int) -> None:
    """As this program, or an earlier one, made them."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.create_function("network_key", 1, key_of, deterministic=True)
        for step in STEPS[:version]:
            for statement in step:
                database.execute(statement)
        assert recognise(database) == version
        database.execute("ANALYZE")
        assert recognise(database) == version


@pytest.mark.parametrize("more", ["CREATE TABLE recipes (name)", "DROP TABLE offences"])
def test_what_is_not_quite_ours_is_a_strangers(dump: str, tmp_path: Path, more: str) -> None:
    """No way to adopt it is told: its tables would be missing, or in the way."""
    path = loaded(f"{dump}\n{more};", tmp_path / "restored.db")
    assert "was not created by treason" in refusal(path).what


@contextmanager
def nobody() -> Iterator[None]:
    """Be an ordinary user meanwhile."""
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.skipif(not REAL_ROOT, reason="becomes another user")
@pytest.mark.parametrize(
    ("mode", "write", "what"),
    [(0o600, False, "read"), (0o600, True, "read"), (0o644, True, "write to")],
)
def test_an_ordinary_user_is_told_to_run_it_as_root(mode: int, write: bool, what: str) -> None:
    """Not to open the database to everybody."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        path = Path(directory, "treason.db")
        with open_store(path, write=True):
            pass
        Path(directory).chmod(0o755)
        path.chmod(mode)
        with nobody():
            error = refusal(path, write=write)
    assert error.what == f"{path}: as user nobody you may not {what} the database"
    assert error.hint == "run it as root (with sudo), or name a database of your own in [treason]"


@pytest.mark.skipif(not REAL_ROOT, reason="becomes another user")
def test_nor_may_he_look_into_its_directory() -> None:
    """As of /var/lib/treason, which is of mode 700; whether there is one he does not learn."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory, nobody():
        error = refusal(Path(directory, "treason.db"))
        assert "as user nobody you may not read the database" in error.what
