"""What shells are told at each press of a key: quickly, and nothing where anything is wrong."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from harness import Place

from reconciler.cli import completion
from reconciler.config import places, tables
from reconciler.execute import run

NETWORKS = ("192.0.2.7", "192.0.2.19", "198.51.100.0/24", "2001:db8:7::/48")


@pytest.fixture
def stored(place: Place) -> Place:
    """A place with bans and a configuration that has some of everything."""
    place.configure(
        '[feed.drop]\ntype = "list"\npath = "/srv/x"\n[[rule]]\nname = "tcp-md5"\n'
        '[source.sockets]\n[backend.ipset]\nvariant = "nft"',
        main='sources = ["kmsg", "file:/var/log/kern.log"]\nbackends = ["nftables"]',
    )
    assert place.treason("ban", *NETWORKS).code == 0
    (place.path / "hostile.txt").write_text("203.0.113.9\n")
    assert place.treason("import", str(place.path / "hostile.txt")).code == 0
    assert place.treason("whitelist", "add", "203.0.113.77", "2001:db8::1").code == 0
    return place


def told(place: Place, kind: str, prefix: str = "") -> list[str]:
    """Return what is told; it is never an error, and nothing is said besides."""
    result = place.treason("complete", kind, prefix)
    assert (result.code, result.err) == (0, "")
    return result.out.splitlines()


@pytest.mark.parametrize(
    ("kind", "prefix", "expected"),
    [
        ("bans", "192.0.2.", ["192.0.2.19", "192.0.2.7"]),
        ("bans", "2001:db8:", ["2001:db8:7::/48"]),
        ("bans", "", ["192.0.2.19", "192.0.2.7", "198.51.100.0/24", "2001:db8:7::/48",
                      "203.0.113.9"]),
        ("bans", "10.", []),
        ("origins", "", ["import:hostile", "manual"]),
        ("imports", "", ["hostile"]),
        ("listed", "", ["import:hostile", "manual", "feed:drop"]),
        ("feeds", "d", ["drop"]),
        ("rules", "", ["tcp-md5"]),
        ("sources", "", ["kmsg", "file:/var/log/kern.log", "sockets"]),
        ("backends", "", ["nftables", "ipset"]),
        ("whitelist", "", ["203.0.113.77", "2001:db8::1"]),
        ("nothing", "", []),
        ("", "", []),
    ],
)  # fmt: skip
def test_the_program_knows_the_values(
    stored: Place, kind: str, prefix: str, expected: list[str]
) -> None:
    """Each kind, as the files have it."""
    assert told(stored, kind, prefix) == expected


def test_only_active_bans_are_told(place: Place) -> None:
    """Whose time is over is not, even before a pass has removed it."""
    place.treason("ban", "192.0.2.7", "192.0.2.8")
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute("UPDATE bans SET until = 1 WHERE network = '192.0.2.7'")
    assert told(place, "bans") == ["192.0.2.8"]


def test_of_many_bans_some_are_told(place: Place) -> None:
    """Nobody reads more."""
    place.treason("ban", *(f"192.0.2.{number}" for number in range(256)))
    assert len(told(place, "bans", "192.0.2.")) == completion.MOST
    assert len(told(place, "bans", "192.0.2.2")) == 67


def test_the_files_are_where_the_configuration_is(
    stored: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative database starts there; the whitelist lies beside the file that a link leads to."""
    stored.config.write_text(f'[treason]\ndatabase = "{stored.database.name}"\n')
    assert len(told(stored, "bans")) == 5
    link = tmp_path / "elsewhere" / "link.toml"
    link.parent.mkdir()
    link.symlink_to(stored.config)
    monkeypatch.chdir(stored.path)
    assert len(completion.values("bans", "", "treason.toml")) == 5
    assert completion.values("whitelist", "2", str(link)) == ["203.0.113.77", "2001:db8::1"]
    assert Path(places.CONFIGURATION) == tables.DEFAULT
    assert Path(places.DATABASE) == tables.Main().database


def test_names_that_mean_anything_to_a_shell_are_not_told(stored: Place) -> None:
    """Whoever chose them: in the configuration, in the whitelist, in the database."""
    stored.config.write_text(
        f'[treason]\ndatabase = "{stored.database}"\nsources = ["kmsg;x", "-o"]\n'
        '[feed."$(x)"]\n[feed."a b"]\n[feed.good]\n[[rule]]\nname = "`x`"\n[backend."*"]\n'
    )
    (stored.path / "whitelist.toml").write_text('networks = ["$(x)", {network = "~"}, "a\\nb"]\n')
    with closing(sqlite3.connect(stored.database)) as database, database:
        database.execute("INSERT INTO badips (addedtime, ip) VALUES (0, '192.0.2.5\n$(x)')")
        database.execute("UPDATE bans SET origin = 'import:a\"b' WHERE origin != 'badips'")
    assert told(stored, "feeds") == ["good"]
    assert told(stored, "origins") == ["badips"]
    assert "192.0.2.5" not in "".join(told(stored, "bans"))
    for kind in ("sources", "rules", "backends", "whitelist", "imports"):
        assert told(stored, kind) == []


def in_another_process(place: Place, how: str) -> Callable[[], object]:
    """Let another process lock it."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN ' + sys.argv[2]); print(flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(place.database), how],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    process.stdout.readline()

    def end() -> None:
        process.communicate()

    return end


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_of_a_locked_database_nothing_is_told(stored: Place, how: str) -> None:
    """What is being written may be torn; and nobody waits."""
    end = in_another_process(stored, how)
    try:
        assert told(stored, "bans") == []
    finally:
        end()
    assert len(told(stored, "bans")) == 5


def newer(path: Path) -> None:
    """Let a newer version have written the database."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 1000")


def damaged(path: Path) -> None:
    """Overwrite all but its header."""
    held = path.read_bytes()
    path.write_bytes(held[:100] + b"\xff" * (len(held) - 100))


def replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return what puts another thing in its place."""

    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


TROUBLES: dict[str, Callable[[Path], object]] = {
    "newer": newer,
    "damaged": damaged,
    "cut off": lambda path: os.truncate(path, 3000),
    "garbage": lambda path: path.write_bytes(os.urandom(10_000)),
    "empty": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
    "a pipe": replaced(os.mkfifo),
    "a directory": replaced(Path.mkdir),
    "a device": replaced(lambda path: path.symlink_to("/dev/zero")),
    "a link to itself": replaced(lambda path: path.symlink_to(path)),
    "with a journal": lambda path: path.with_name("treason.db-journal").write_bytes(b"x" * 600),
    "with a log": lambda path: path.with_name("treason.db-wal").write_bytes(b"x" * 600),
    "the script's": replaced(
        lambda path: run(["sqlite3", str(path), "CREATE TABLE badips (addedtime, ip)"])
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_of_a_database_that_cannot_be_read_nothing_is_told(stored: Place, trouble: str) -> None:
    """No error, no wait, and no file that was not there."""
    TROUBLES[trouble](stored.database)
    before = sorted(stored.path.rglob("*"))
    for kind in ("bans", "origins", "imports"):
        assert told(stored, kind) == []
    assert told(stored, "listed") == []
    assert told(stored, "feeds") == ["drop"]
    assert sorted(stored.path.rglob("*")) == before


@pytest.mark.parametrize(
    "trouble",
    [
        lambda path: path.write_text("[treason"),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_text("treason = 1\nfeed = 2\nrule = 3\n"),
        lambda path: path.write_text("[[treason]]\n[[feed]]\n[rule]\n"),
        lambda path: path.write_text("x = " + "[" * 100_000),
        lambda path: os.truncate(path, 1 << 30),
        replaced(os.mkfifo),
        replaced(Path.mkdir),
        replaced(lambda path: path.symlink_to("/dev/zero")),
    ],
)
def test_of_a_configuration_that_cannot_be_read_nothing_is_told(
    stored: Place, trouble: Callable[[Path], object]
) -> None:
    """Whatever it is; nobody waits for a pipe."""
    trouble(stored.config)
    for kind in completion.KINDS:
        if kind != "whitelist":
            assert told(stored, kind) == []


def test_who_may_not_read_the_database_is_told_nothing(stored: Place) -> None:
    """As most users of the machine, who may read the configuration."""
    stored.database.chmod(0)
    for kind, expected in (("bans", ""), ("listed", ""), ("feeds", "drop\n")):
        done = subprocess.run(
            ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", sys.executable,
             "-m", "reconciler", "--config", str(stored.config), "complete", kind],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


def test_nothing_is_locked_or_made(stored: Place, tmp_path: Path) -> None:
    """As the kernel sees it: files are opened for reading, and a lock is only looked for."""
    trace = tmp_path / "trace"
    run(
        ["env", "-u", "COVERAGE_PROCESS_CONFIG", "PYTHONDONTWRITEBYTECODE=1",
         "strace", "-f", "-o", str(trace), "-e", "trace=fcntl,flock,open,openat,creat,mkdir,unlink",
         sys.executable, "-m", "reconciler", "--config", str(stored.config), "complete", "bans"],
    )  # fmt: skip
    lines = trace.read_text().splitlines()
    assert any("treason.db" in line for line in lines)
    assert any("F_GETLK" in line for line in lines)
    wrong = re.compile(r"F_(OFD_)?SETLK|flock\(|O_CREAT|O_WRONLY|creat\(|mkdir|unlink")
    assert [line for line in lines if wrong.search(line)] == []
    assert [line for line in lines if "O_RDWR" in line and "/dev/null" not in line] == []


@pytest.mark.parametrize(("kind", "needed"), [("bans", {"sqlite3"}), ("feeds", {"tomllib"})])
def test_little_is_imported(
    stored: Place, kind: str, needed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked at each press of a key."""
    for name in [name for name in os.environ if name.startswith("COV")]:
        monkeypatch.delenv(name)  # coverage has imports of its own
    argv = ["treason", "--config", str(stored.config), "complete", kind]
    code = (
        "import atexit, sys; atexit.register(lambda: print(*sorted(sys.modules)));"
        f"sys.argv = {argv!r}; from reconciler.cli.main import main; main()"
    )
    modules = {*run([sys.executable, "-c", code]).output.splitlines()[-1].split()}
    assert needed <= modules
    assert not modules & {"attr", "pluggy", "importlib.metadata", "subprocess", "logging"}
    assert kind == "bans" or "sqlite3" not in modules


def test_people_are_not_told_of_it(place: Place) -> None:
    """It is for shells; but it can be called."""
    assert "complete" not in place.treason("--help").out
    assert place.treason("complete", "--help").code == 0
