"""A source that judges by itself and is woken, as the daemon heeds it and lets it be read."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import inf
from typing import cast

import pytest
from attrs import define, field
from pytest_mock import MockerFixture

from reconciler.daemon.batch import Batch
from reconciler.daemon.heeding import Heeding
from reconciler.daemon.loop import Loop
from reconciler.daemon.storing import Kept
from reconciler.daemon.watch import Daemon as WatchingDaemon
from reconciler.daemon.watch import Watch
from reconciler.errors import SourceUnreadable
from reconciler.interfaces import Source
from reconciler.model import Record, Suspect
from reconciler.networks import NOTHING, Networks


@define
class Daemon:
    """Notes what it is told."""

    loop: Loop = field(factory=Loop)
    batches: list[Batch] = field(factory=list)
    troubles: dict[str, str] = field(factory=dict)

    def pending_of(self, _source: str) -> Networks:
        """Return nothing."""
        return NOTHING

    def store(self, batch: Batch) -> None:
        """Keep what is to be stored."""
        self.batches.append(batch)

    def trouble(self, subject: str, text: str) -> None:
        """Keep what is wrong now."""
        self.troubles.pop(subject, None)
        if text:
            self.troubles[subject] = text


@define
class Sensor:
    """Wakes when the test rings, and says what the test lets it say."""

    says: Callable[[], float] = lambda: inf
    refuses: str = ""
    wants: bool = False
    heeds: int = 0
    closed: int = 0
    quiets: bool = True
    bell: int = field(factory=lambda: os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))

    def ring(self) -> None:
        """Wake."""
        os.eventfd_write(self.bell, 1)

    def fileno(self) -> int:
        """Return the bell, or refuse."""
        if self.refuses:
            raise SourceUnreadable(self.refuses)
        return self.bell

    def close(self) -> None:
        """Close it, once."""
        self.closed += 1
        if self.closed == 1:
            os.close(self.bell)

    def heed(self) -> float:
        """Take what woke."""
        self.heeds += 1
        if self.quiets:
            with suppress(BlockingIOError):
                os.eventfd_read(self.bell)
        return self.says()

    def way(self) -> str:
        """Answer."""
        return "lists" if self.refuses else "bell"

    def insists(self) -> bool:
        """Answer."""
        return self.wants

    def due(self) -> float:
        """Answer."""
        return 7.0

    def recall(self, suspects: Sequence[Suspect]) -> None:
        """Forget them."""

    def suspects(self) -> Sequence[Suspect]:
        """Return nobody."""
        return ()

    def read(self, _cursor: str | None, _needles: Sequence[str]) -> Iterator[Record]:
        """Read nothing."""
        return iter(())

    def cursor(self) -> str | None:
        """Stay."""
        return None


def run(daemon: Daemon, seconds: float) -> None:
    """Let the loop run for so long."""
    end = time.monotonic() + seconds
    daemon.loop.after(seconds, "the end", daemon.loop.stop)
    daemon.loop.run()
    assert time.monotonic() >= end
    daemon.loop = Loop()


@pytest.fixture
def daemon() -> Daemon:
    """What a source needs of the daemon."""
    return Daemon()


def attached(daemon: Daemon, sensor: Sensor) -> Heeding:
    """Let it be woken."""
    made = Heeding("sensor", daemon)
    made.attach(lambda: cast("Source", sensor), None)
    return made


def begun(daemon: Daemon, sensor: Sensor) -> Heeding:
    """Let it be woken, and let the writer have made the first read."""
    made = attached(daemon, sensor)
    assert made.begin(lambda: None)
    assert made.kept("", stored=True)
    daemon.batches.clear()
    sensor.heeds = 0
    return made


def test_it_is_read_at_first_and_then_when_it_says_so(daemon: Daemon) -> None:
    """Always the same object, which stays open; and not again while a read is under way."""
    waits = [0.02, 0.0, 0.0, inf]
    sensor = Sensor(says=lambda: waits.pop(0) if waits else inf)
    made = attached(daemon, sensor)
    made.begin(lambda: None)
    assert len(daemon.batches) == 1
    made.kept("", stored=True)
    run(daemon, 0.1)
    assert len(daemon.batches) == 2
    assert all(each.keeps and each.made() is sensor for each in daemon.batches)
    made.close()
    assert sensor.closed == 1


def test_without_anything_it_does_nothing(daemon: Daemon) -> None:
    """No heeding, no read."""
    sensor = Sensor()
    made = begun(daemon, sensor)
    run(daemon, 0.2)
    assert sensor.heeds == 0
    assert not daemon.batches
    made.close()


def test_who_wakes_without_end_is_heeded_seldom(daemon: Daemon) -> None:
    """Also one whose descriptor stays ready."""
    sensor = Sensor(quiets=False)
    made = begun(daemon, sensor)
    sensor.ring()
    run(daemon, 1.5)
    assert 3 <= sensor.heeds <= 8
    made.close()


def test_what_could_not_be_stored_is_read_again_later(daemon: Daemon) -> None:
    """And not at once: the disk may be full."""
    sensor = Sensor(says=lambda: 0.0)
    made = attached(daemon, sensor)
    made.begin(lambda: None)
    made.kept("refused", stored=False)
    run(daemon, 0.1)
    assert len(daemon.batches) == 1
    assert daemon.troubles == {"sensor": "refused"}
    made.close()


def test_what_wants_to_be_read_right_behind_a_read_waits(daemon: Daemon) -> None:
    """As where no rule applies to it, so that nothing is read, however often."""
    sensor = Sensor(says=lambda: 0.0)
    made = attached(daemon, sensor)
    made.begin(lambda: None)
    made.kept("", stored=True)
    run(daemon, 0.1)
    assert len(daemon.batches) == 1
    sensor.ring()
    made.begin(lambda: None)
    run(daemon, 0.1)
    assert len(daemon.batches) == 2
    made.close()


def test_what_cannot_be_read_is_heeded_again(daemon: Daemon, mocker: MockerFixture) -> None:
    """It is told as long as that lasts."""
    mocker.patch("reconciler.daemon.heeding._AGAIN", 0.02)

    def refuse() -> float:
        if sensor.heeds < 3:
            raise SourceUnreadable("cannot ask the kernel about its TCP sockets")
        return inf

    sensor = Sensor(says=refuse)
    made = begun(daemon, Sensor())
    made.close()
    made = attached(daemon, sensor)
    made.begin(lambda: None)
    made.kept("", stored=True)
    assert daemon.troubles == {"sensor": "cannot ask the kernel about its TCP sockets"}
    run(daemon, 0.2)
    assert sensor.heeds == 3
    assert not daemon.troubles
    made.close()


def test_a_plugin_that_fails_goes_by_the_timer(daemon: Daemon) -> None:
    """It is closed, and that is told until it is begun anew."""
    left: list[bool] = []
    sensor = Sensor(says=lambda: 1 // 0)
    made = attached(daemon, sensor)
    made.begin(lambda: left.append(True))
    made.kept("", stored=True)
    assert left == [True]
    assert sensor.closed == 1
    assert not made.is_awake
    assert "ZeroDivisionError" in daemon.troubles["way of sensor"]
    assert not made.kept("", stored=True)
    Heeding("sensor", daemon).attach(lambda: cast("Source", Sensor()), None)
    assert not daemon.troubles


def test_a_descriptor_that_is_gone_is_left(daemon: Daemon) -> None:
    """Poll would find it broken for ever."""
    left: list[bool] = []
    sensor = Sensor()
    made = attached(daemon, sensor)
    os.close(sensor.bell)
    sensor.closed = 1
    made.begin(lambda: left.append(True))
    assert left == [True]
    assert not made.is_awake
    assert "Bad file descriptor" in daemon.troubles["way of sensor"]


@pytest.mark.parametrize("wants", [False, True])
def test_why_it_is_not_woken_is_told(daemon: Daemon, *, wants: bool) -> None:
    """As a trouble only where the settings want it to be."""
    sensor = Sensor(refuses="no BTF", wants=wants)
    made = attached(daemon, sensor)
    assert made.way == "lists, because no BTF"
    assert not made.is_awake
    assert not made.begin(lambda: None)
    text = "sensor: lists, because no BTF\n  systemctl restart treason"
    assert daemon.troubles == ({"way of sensor": text} if wants else {})
    made.close()
    assert bool(daemon.troubles) is wants  # until another one takes its place


def test_another_one_of_the_same_source_takes_it_over(daemon: Daemon) -> None:
    """What needed capabilities goes on; it is neither closed nor opened anew."""
    sensor = Sensor()
    old = begun(daemon, sensor)
    new = Heeding("sensor", daemon)
    new.attach(lambda: cast("Source", Sensor(refuses="given up")), old)
    assert (old.is_awake, new.is_awake, new.way) == (False, True, "bell")
    old.close()
    assert sensor.closed == 0
    new.begin(lambda: None)
    assert daemon.batches[-1].made() is sensor
    sensor.ring()
    run(daemon, 0.1)
    assert sensor.heeds >= 1
    new.close()
    assert sensor.closed == 1


def test_a_source_of_another_kind_is_none(daemon: Daemon) -> None:
    """It is read as ever."""
    made = Heeding("log", daemon)
    made.attach(lambda: cast("Source", object()), None)
    assert (made.is_awake, made.way, made.begin(lambda: None)) == (False, "", False)


def test_a_watch_reads_by_the_timer_what_is_not_woken(daemon: Daemon) -> None:
    """A new object each time, which is not asked for a descriptor."""
    sensor = Sensor(refuses="no BTF")
    watch = Watch("sensor", lambda: cast("Source", sensor), cast("WatchingDaemon", daemon))
    watch.attach()
    watch.begin(None)
    [batch] = daemon.batches
    assert not batch.keeps
    assert batch.made() is sensor
    watch.kept(Kept(batch, due=0.01))
    run(daemon, 0.1)
    assert len(daemon.batches) == 2
    assert not watch.awake
    watch.close()
