"""The command of a feed's own process: on lists, and for a feed that stays until a signal."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import click
import jsonschema
import pytest
from feedfiles import nets, singles
from harness import REAL_ROOT, ROOT, Place

from reconciler import FeedUnreadable, Networks
from reconciler.cli.commands import feed_run
from reconciler.feeds import reading, remarks
from reconciler.feeds.engine import Refreshed
from reconciler.feeds.format import Contents
from reconciler.feeds.limits import Limits, Standing, judge

SCHEMA = json.loads((ROOT / "docs" / "reference" / "json.schema.json").read_text())


@pytest.fixture
def listed(place: Place) -> Callable[[str], None]:
    """Configure the feed `drop`, a list in a file; what is given is what the file says."""
    here = place.path
    place.configure(
        f'[feed.drop]\ntype = "list"\npath = "{here}/list"\nstore = "{here}/drop/own.db"'
    )
    return lambda text: (place.path.joinpath("list").write_text(text), None)[1]


def held(place: Place) -> Networks:
    """Return what a pass reads."""
    groups = reading.read(place.path / "drop" / "own.db", Limits()).groups
    return Networks.union(group.networks for group in groups)


def lines(networks: Networks) -> str:
    """Return a list."""
    return "".join(f"{network}\n" for network in networks)


def test_it_says_what_was_added_removed_cut_and_refused(
    place: Place, listed: Callable[[str], None]
) -> None:
    """In one line each, with -v one network a line; the exit code is 0."""
    listed(lines(singles(3)) + "10.0.0.0/8\n0.0.0.0/1\nno network\n")
    first = place.treason("feed", "run", "drop")
    assert first.code == 0
    assert first.out.splitlines()[:3] == [
        "drop: 5 networks, 3 added",
        "  cut: 1 network, private or reserved",
        "  refused: 1 network, wider than /8, the limit set by min_prefix",
    ]
    assert "no network" in first.out
    listed(lines(singles(3, 0x01000001)) + "10.0.0.0/8\n0.0.0.0/1\n")
    second = place.treason("feed", "run", "drop", "-v")
    assert second.out.splitlines() == [
        "drop: 5 networks, 1 added, 1 removed",
        "  added 1.0.0.3",
        "  removed 1.0.0.0",
        "  cut: 1 network, private or reserved",
        "  cut 10.0.0.0/8: private or reserved",
        "  refused: 1 network, wider than /8, the limit set by min_prefix",
        "  refused 0.0.0.0/1: wider than /8, the limit set by min_prefix",
    ]
    assert place.treason("feed", "run", "drop").out.startswith("drop: 5 networks, unchanged\n")
    assert held(place) == singles(3, 0x01000001) | nets("10.0.0.0/8", "0.0.0.0/1")


def test_its_json_has_its_shape(place: Place, listed: Callable[[str], None]) -> None:
    """Also of a failure."""
    listed(lines(singles(2)) + "10.0.0.1\n0.0.0.0/1\n")
    for code in (0, 1):
        result = place.treason("feed", "run", "drop", "-o", "json")
        assert result.code == code
        jsonschema.validate(result.json, SCHEMA | {"$ref": "#/$defs/feed-run"})
        listed("")
    assert result.json["error"].startswith("feed drop: ")


@pytest.mark.parametrize("text", [None, "", "<html>\n<p>Sorry</p>\n", "1.2.3.4\0"])
def test_what_cannot_be_read_leaves_what_was(
    place: Place, listed: Callable[[str], None], text: str | None
) -> None:
    """It is said in a line that names the feed, and what to do in another; it ends with 1."""
    listed(lines(singles(30)))
    place.treason("feed", "run", "drop")
    before = place.path.joinpath("drop", "own.db").read_bytes()
    listed(text or "")
    if text is None:
        place.path.joinpath("list").unlink()
    result = place.treason("feed", "run", "drop")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("treason: feed drop: ")
    assert len(result.err.splitlines()) <= 2
    assert place.path.joinpath("drop", "own.db").read_bytes() == before


def test_what_it_says_for_people_is_kept(place: Place, listed: Callable[[str], None]) -> None:
    """Its notes until it reads again, and since when it fails, also where it never read."""
    own = place.path / "drop" / "own.db"
    assert place.treason("feed", "run", "drop").code == 1
    first = remarks.read(own).unread
    assert first is not None
    assert first.what.startswith(f"feed drop: {place.path}/list: ")
    listed("192.0.2.1\nno network\n")
    assert place.treason("feed", "run", "drop").code == 0
    [note] = remarks.read(own).notes
    assert "no network" in note
    assert remarks.read(own).unread is None
    os.utime(own.parent, (5, 5))
    listed("")
    for _ in range(2):
        assert place.treason("feed", "run", "drop", "-o", "json").code == 1
        assert own.parent.stat().st_mtime == 5
    found = remarks.read(own)
    assert (found.notes, found.unread is None) == ((note,), False)


def test_what_no_pass_would_take_is_a_warning(place: Place, listed: Callable[[str], None]) -> None:
    """It is written, and the next list may be whole again."""
    listed(lines(singles(30)))
    place.treason("feed", "run", "drop")
    listed(lines(singles(3)))
    result = place.treason("feed", "run", "drop")
    assert result.code == 0
    assert "warning" in result.err
    assert "27 of 30 networks are missing" in result.err
    assert "treason feed accept drop" in result.err


def test_a_file_that_is_damaged_is_made_anew(place: Place, listed: Callable[[str], None]) -> None:
    """It is said, and what was is put aside."""
    listed(lines(singles(3)))
    place.treason("feed", "run", "drop")
    own = place.path / "drop" / "own.db"
    own.write_bytes(own.read_bytes()[:3000])
    result = place.treason("feed", "run", "drop")
    assert result.code == 0
    assert "own.db: cannot read what the feed has written" in result.err
    assert ".damaged" in result.err
    assert own.with_name("own.db.damaged").stat().st_size == 3000
    assert held(place) == singles(3)


def test_a_feed_that_nobody_configured_is_refused(
    place: Place, listed: Callable[[str], None]
) -> None:
    """The known ones are named, or how to write one."""
    assert "known: drop" in place.treason("feed", "run", "dorp").err
    place.configure()
    assert "has no table [feed.NAME]" in place.treason("feed", "run", "dorp").err


PLUGIN = '''
import os
from pathlib import Path

from reconciler import FeedBan, FeedPlugin, Needs, Network, hookimpl, secrets

KEY = Path(os.environ["HERE"], "key")


class Pipe:
    """A feed that reads addresses from a FIFO, and waits for them."""

    def __init__(self, _settings):
        here = Path(os.environ["HERE"])
        self.fifo = os.open(here / "fifo", os.O_RDWR | os.O_NONBLOCK)

    def changes(self, cursor):
        try:
            text = os.read(self.fifo, 1000).decode()
        except BlockingIOError:
            text = ""
        if text == "stay":
            import time

            Path(os.environ["HERE"], "stays").touch()
            time.sleep(600)
        if text == "key":
            text = secrets.read(KEY).decode()
        yield FeedBan(map(Network.parse, text.split()))

    def cursor(self):
        return None

    def fileno(self):
        return self.fifo

    def close(self):
        os.close(self.fifo)
        Path(os.environ["HERE"], "closed").touch()


@hookimpl
def treason_feeds():
    return [FeedPlugin("pipe", Pipe, needs=lambda _: Needs(secrets=(str(KEY),)))]
'''


@pytest.fixture
def piped(place: Place) -> "Callable[..., subprocess.Popen[bytes]]":
    """Run a feed that stays, by a plugin that is installed for it."""
    site = place.path / "site"
    (site / "pipefeed-1.dist-info").mkdir(parents=True)
    (site / "pipefeed.py").write_text(PLUGIN)
    (site / "pipefeed-1.dist-info" / "METADATA").write_text("Name: pipefeed\nVersion: 1\n")
    points = "[treason]\nfeed-pipe = pipefeed\n"
    (site / "pipefeed-1.dist-info" / "entry_points.txt").write_text(points)
    os.mkfifo(place.path / "fifo")
    place.configure(f'[feed.drop]\ntype = "pipe"\nstore = "{place.path}/drop/own.db"')
    command = [sys.executable, "-m", "reconciler", "--config", str(place.config)]
    command += ["feed", "run", "drop"]
    env = {"PYTHONPATH": f"{site}:{ROOT}", "HERE": str(place.path)}
    return lambda *options: subprocess.Popen(
        [*command, *options],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture
def passable(place: Place) -> Iterator[None]:
    """Let everybody come to the place, for the time of the test."""
    modes = {each: each.stat().st_mode for each in (place.path, *place.path.parents)}
    closed = {each: mode for each, mode in modes.items() if mode & 0o055 != 0o055}
    for each, mode in closed.items():
        each.chmod(mode | 0o055)
    yield
    for each, mode in closed.items():
        each.chmod(mode)


@pytest.mark.skipif(not REAL_ROOT, reason="only root of the machine can become others")
def test_root_becomes_the_owner_of_the_directory(
    place: Place,
    passable: None,
    piped: "Callable[..., subprocess.Popen[bytes]]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it makes is that user's, and what only root may read it cannot."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # it writes where only root may
    own, fifo = place.path / "drop", place.path / "fifo"
    own.mkdir()
    os.chown(own, 4711, 4712)
    fifo.chmod(0o666)
    with piped("--once") as process:
        assert process.communicate(timeout=60)[0] == b"drop: 0 networks, unchanged\n"
    made = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in own.iterdir()}
    assert made == {f"own.db{end}": (4711, 4712) for end in ("", ".lock", "-journal", ".remarks")}
    assert not place.path.joinpath("closed").exists()  # it may not write there
    fifo.chmod(0o600)
    with piped("--once") as process:
        assert b"Permission denied" in process.communicate(timeout=60)[0]
    assert process.returncode == 1


@pytest.mark.skipif(not REAL_ROOT, reason="only root of the machine can become others")
@pytest.mark.usefixtures("passable")
def test_root_reads_the_secrets_before_it_becomes_another(
    place: Place,
    piped: "Callable[..., subprocess.Popen[bytes]]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The feed has them, whose user may not read them; a missing one is told in two lines."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # it writes where only root may
    (place.path / "drop").mkdir()
    os.chown(place.path / "drop", 4711, 4712)
    (place.path / "fifo").chmod(0o666)
    key = place.path / "key"
    key.write_text("192.0.2.9\n")
    key.chmod(0o600)
    descriptor = os.open(place.path / "fifo", os.O_RDWR)
    try:
        os.write(descriptor, b"key")
        with piped("--once") as process:
            assert process.communicate(timeout=60)[0] == b"drop: 1 network, 1 added\n"
        key.unlink()
        os.write(descriptor, b"key")
        with piped("--once") as process:
            told, *help_ = process.communicate(timeout=60)[0].decode().splitlines()
    finally:
        os.close(descriptor)
    kept = remarks.read(place.path / "drop" / "own.db").unread
    assert kept is not None
    assert kept.what == told.removeprefix("treason: ")
    assert (told, len(help_)) == (
        f"treason: feed drop: {key}: there is no such file, and a secret is read from it",
        1,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("busy", [False, True], ids=["waiting", "busy"])
def test_a_feed_that_wakes_stays_until_a_signal(
    place: Place, piped: "Callable[..., subprocess.Popen[bytes]]", number: int, busy: bool
) -> None:
    """It ends at once with 0, also in the middle of the plugin's code, and closes the feed."""
    with piped() as waking:
        assert waking.stdout
        assert waking.stdout.readline() == b"drop: 0 networks, unchanged\n"
        place.path.joinpath("fifo").write_text("192.0.2.1 192.0.2.2")
        assert waking.stdout.readline() == b"drop: 2 networks, 2 added\n"
        assert held(place) == nets("192.0.2.1", "192.0.2.2")
        if busy:
            place.path.joinpath("fifo").write_text("stay")
            end = time.monotonic() + 60
            while not place.path.joinpath("stays").exists() and time.monotonic() < end:
                time.sleep(0.01)
        waking.send_signal(number)
        assert waking.communicate(timeout=60)[0] == b""
    assert waking.returncode == 0
    assert place.path.joinpath("closed").exists()
    assert held(place) == nets("192.0.2.1", "192.0.2.2")


def test_that_it_can_be_read_again_is_said_where_it_was_said_that_it_cannot(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Or the journal ends with an error, though all is well; as often as the error was said."""
    judged = judge(Contents(), (), Limits(), 0, Standing("drop"))
    well, again = Refreshed(judged=judged), Refreshed(judged=judged, again=True)
    failed = Refreshed(failure=FeedUnreadable("feed drop: no server"))
    with click.Context(feed_run.run):
        feed_run._follow("drop", [well, failed, failed, again, well, failed, again])  # noqa: SLF001
    said = capsys.readouterr()
    assert said.out == "drop: 0 networks, unchanged\n" * 2
    assert said.err.count("no server") == 1
