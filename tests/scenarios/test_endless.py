"""Input without end: it is bounded and told, and everything else goes on."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path

import pytest
from harness import SEED, Place
from pytest_mock import MockerFixture

from reconciler import Network, Networks, Record
from reconciler.detection.policy import Policy
from reconciler.passes import scan as scanning
from reconciler.passes.scan import Scanner
from reconciler.passes.silence import silent
from reconciler.store.store import Store, open_store

A, B, C = (Network.parse(f"192.0.2.{i}") for i in (1, 2, 3))
NOW = 1_000_000
LATE = 600
SOON = 0.02
PEER = "TCP: Treason uncloaked! Peer 192.0.2.7:{}/8080 shrinks window 1:2. Repaired.\n"


def hasten() -> None:
    """Let the time be over soon: the clock does not tick for what is to end by itself."""
    signal.setitimer(signal.ITIMER_REAL, SOON, SOON)


def hang() -> None:
    """Wait, as nobody would."""
    hasten()
    time.sleep(LATE)


def shrunk(address: Network) -> Record:
    """Make the record of an offence."""
    text = f"Peer {address}:1/2 unexpectedly shrunk window 3:4 (repaired)"
    return Record(text=text, carrier="kmsg", trusted=True)


class Fine:
    """A source of one record."""

    def __init__(self, address: Network = A) -> None:
        self.records: Sequence[Record] = [shrunk(address)]

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield it."""
        yield from self.records

    def cursor(self) -> str | None:
        """Return a place."""
        return "1"

    def notes(self) -> list[str]:
        """Return nothing."""
        return []


class HangsInRead(Fine):
    """A source that stops in the middle."""

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield more than is stored at once, and wait."""
        yield from [*self.records] * 3
        hang()


class NeverEnds(Fine):
    """A source that brings more and more."""

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield for ever."""
        hasten()
        yield from repeat(self.records[0])


class YieldsNothing(Fine):
    """A source that brings nothing of interest, again and again."""

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield what no rule matches."""
        hasten()
        yield from repeat(Record(text="x", carrier="kmsg", trusted=True))


class HangsInNotes(Fine):
    """A source that does not come to say what it has to say."""

    def notes(self) -> list[str]:
        """Wait."""
        hang()
        return []


class HangsInCursor(Fine):
    """A source that does not come to say where it is."""

    def cursor(self) -> str | None:
        """Wait."""
        hang()
        return None


class HangsWhenMade(Fine):
    """A source that cannot be made."""

    def __init__(self, address: Network = A) -> None:
        super().__init__(address)
        hang()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with open_store(tmp_path / "db", write=True) as opened:
        yield opened


@pytest.mark.parametrize(
    "kind", [HangsInRead, NeverEnds, YieldsNothing, HangsInNotes, HangsInCursor, HangsWhenMade]
)
def test_a_source_without_end_fails_alone(
    kind: Callable[[Network], Fine], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is stored; those before and behind it are read and stored."""
    monkeypatch.setattr(scanning, "_BATCH", 2)
    scanner = Scanner(store, Policy(), NOW, write=True, timeout=LATE)
    readings = list(
        scanner.scan({"a": lambda: Fine(A), "endless": lambda: kind(B), "c": lambda: Fine(C)})
    )
    assert [bool(reading.error) for reading in readings] == [False, True, False]
    what, hint = readings[1].error.splitlines()
    assert what == "endless: was not done within 600 s, the limit set by pass_timeout"
    assert "pass_timeout" in hint
    assert readings[1].trace == ""
    assert store.bans.networks(NOW) == (Networks.of([A, C]), [])
    assert store.offences.of([B], 0) == []
    assert store.cursors.sources() == ("a", "c")


def test_storing_is_not_interrupted(store: Store, mocker: MockerFixture) -> None:
    """However long it takes; what is whole is kept, or rolled back as a whole."""
    done = []
    add = Store.add_batch

    def slow(*arguments: object) -> None:
        hasten()
        time.sleep(5 * SOON)
        add(*arguments)  # type: ignore[arg-type]  # as they came
        done.append(True)

    mocker.patch.object(Store, "add_batch", slow)
    [reading] = Scanner(store, Policy(), NOW, write=True, timeout=LATE).scan({"a": Fine})
    assert done == [True]
    assert "pass_timeout" in reading.error  # it was not asked for its cursor any more
    assert store.bans.networks(NOW) == (Networks(), [])


def test_one_that_is_asked_whether_it_hears_is_bounded() -> None:
    """It is told in its line, and the next one is asked."""

    class Deaf(Fine):
        def silence(self) -> str | None:
            hang()
            return None

    class Mute(Fine):
        def silence(self) -> str | None:
            return "holds nothing"

    assert silent({"a": Deaf, "b": Mute}, LATE) == {
        "a": "was not done within 600 s, the limit set by pass_timeout;"
        " find out what it waits for, or raise pass_timeout in [treason]",
        "b": "holds nothing",
    }


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """A named pipe whose writer wrote one line, and neither goes on nor leaves."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    os.write(writer, PEER.format(1).encode())
    yield path
    os.close(writer)


def test_a_pass_ends_where_a_pipe_does_not(place: Place, pipe: Path) -> None:
    """The log beside it is read, and its ban enforced; the exit code tells of the failure."""
    (place.path / "log").write_text(SEED)
    place.configure(main='pass_timeout = "2s"')
    backend = f"file:{place.path}/list"
    sources = (f"--source=file:{pipe}", f"--source=file:{place.path}/log")
    result = place.treason("reconcile", *sources, "--backend", backend)
    assert result.code == 1
    assert result.err.splitlines() == [
        f"treason: file:{pipe}: was not done within 2 s, the limit set by pass_timeout",
        "  find out what it waits for, or raise pass_timeout in [treason]",
    ]
    assert (place.path / "list").read_text() == "117.79.83.112\n218.14.17.182\n"


def test_rules_are_tried_on_no_log_for_ever(place: Place, pipe: Path) -> None:
    """It is told as in a pass."""
    place.configure(main='pass_timeout = "2s"')
    result = place.treason("test-rule", str(pipe))
    assert (result.code, result.out) == (1, "")
    assert "was not done within 2 s, the limit set by pass_timeout" in result.err


def test_status_and_scan_end_where_a_source_does_not(place: Place, mocker: MockerFixture) -> None:
    """The source that does not tell whether it hears is told as silent."""
    mocker.patch("sources.file.source.File.silence", side_effect=hang)
    log = place.path / "log"
    log.write_text(SEED)
    place.configure(main=f'sources = ["file:{log}"]\nbackends = []')
    said = "was not done within 600 s"
    assert said in place.treason("status", "-o", "json").json["silent"][f"file:{log}"]
    assert said in place.treason("scan", "-v").out


def test_rules_are_tried_on_so_many_records(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that match are kept, so memory would have no end; it is told."""
    monkeypatch.setattr("reconciler.passes.trial_run._MOST", 3)
    log = place.path / "log"
    log.write_text("".join(map(PEER.format, range(1, 6))))
    result = place.treason("test-rule", str(log))
    assert "note: 3 records matched; what follows was not read" in result.out + result.err
    assert "treason-uncloaked: 3 matched" in result.out
