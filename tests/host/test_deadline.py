"""The end of a plugin's code that does not end by itself."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from reconciler import SourceUnreadable
from reconciler.errors import StoreError
from reconciler.host.deadline import Run, limited

SOON = 0.05
LATE = 600


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A clock that ticks often; whatever a test sets is undone."""
    monkeypatch.setattr("reconciler.host.deadline._AGAIN", SOON)
    handler = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)


def hasten() -> None:
    """Let the time be over soon."""
    signal.setitimer(signal.ITIMER_REAL, SOON, SOON)


def sleeps() -> None:
    """Wait in a system call."""
    time.sleep(LATE)


def spins() -> None:
    """Yield nothing, for ever."""
    list(iter(lambda: None, 1))


def goes_on() -> None:
    """Take every error for one of its own."""
    while True:
        with suppress(Exception):
            time.sleep(LATE)


def goes_on_once() -> None:
    """Take the interruption itself for an error."""
    try:
        time.sleep(LATE)
    except BaseException:  # noqa: BLE001 - likewise
        time.sleep(LATE)


def cleans_up_for_ever() -> None:
    """Hang where it is to leave, too."""
    try:
        time.sleep(LATE)
    finally:
        time.sleep(LATE)


def makes_another_error() -> None:
    """Hide why it ended."""
    try:
        time.sleep(LATE)
    except BaseException:  # noqa: BLE001 - likewise
        raise RuntimeError("a bug") from None


def pretends() -> list[int]:
    """Return what it has, as if that were all."""
    try:
        time.sleep(LATE)
    except BaseException:  # noqa: BLE001 - likewise
        return []
    return [1]


@pytest.mark.parametrize(
    "work",
    [sleeps, spins, goes_on, goes_on_once, cleans_up_for_ever, makes_another_error, pretends],
)
def test_what_does_not_end_is_ended(work: Callable[[], object]) -> None:
    """It is told by its name, with what to do, whatever it makes of that."""
    with pytest.raises(SourceUnreadable, match=r"it: was not done within 0\.05 s") as told:
        limited(SOON, "it", lambda run: run(work))
    assert "raise pass_timeout in [treason]" in told.value.hint
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_generator_is_ended_inside_and_closed() -> None:
    """What it holds open is closed at once."""
    closed = []

    def records() -> Iterator[int]:
        try:
            yield 1
            time.sleep(LATE)
        finally:
            closed.append(True)

    with pytest.raises(SourceUnreadable):
        limited(SOON, "it", lambda run: run(lambda: list(records())))
    assert closed == [True]


def test_what_runs_outside_is_never_interrupted() -> None:
    """The store writes to its end; only then the source does not go on."""
    done = []

    def work(run: Run) -> str:
        run(list)
        hasten()
        while not run.over:
            time.sleep(SOON / 5)
        time.sleep(3 * SOON)  # more ticks
        done.append("written")
        run(lambda: done.append("read on"))
        return "all"

    with pytest.raises(SourceUnreadable):
        limited(LATE, "it", work)
    assert done == ["written"]


def test_what_is_done_is_whole_however_late() -> None:
    """The time that storing took does not undo what was read."""

    def work(run: Run) -> list[int]:
        found = run(lambda: [1, 2])
        hasten()
        while not run.over:
            time.sleep(SOON / 5)
        return found

    assert limited(LATE, "it", work) == [1, 2]


def test_what_fails_outside_is_told_as_it_is() -> None:
    """A full disk is not the source's fault, however late it is."""

    def work(run: Run) -> None:
        hasten()
        while not run.over:
            time.sleep(SOON / 5)
        raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="the disk is full"):
        limited(LATE, "it", work)


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt(), SystemExit(3)])
def test_other_errors_are_what_they_were(error: BaseException) -> None:
    """In time, or what ends the program."""

    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        limited(LATE, "it", lambda run: run(fail))
    assert raised.value is error


def test_who_interrupts_late_is_obeyed() -> None:
    """Ctrl-C ends the program also while a plugin is being ended."""

    def work() -> None:
        try:
            time.sleep(LATE)
        except BaseException:  # noqa: BLE001 - as above
            raise KeyboardInterrupt from None

    with pytest.raises(KeyboardInterrupt):
        limited(SOON, "it", lambda run: run(work))


def test_the_handler_and_the_timer_of_others_are_restored() -> None:
    """Those of a program that uses treason as a library."""

    def theirs(_number: int, _frame: object) -> None:
        """Do nothing."""

    signal.signal(signal.SIGALRM, theirs)
    signal.setitimer(signal.ITIMER_REAL, LATE, 7)
    assert limited(2 * LATE, "it", lambda run: run(lambda: 1)) == 1
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert signal.getsignal(signal.SIGALRM) is theirs
    assert (LATE / 2 < left <= LATE, interval) == (True, 7)


def test_a_timer_of_others_that_ended_meanwhile_rings_afterwards() -> None:
    """Late, but not never."""
    rung = []
    signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    signal.setitimer(signal.ITIMER_REAL, SOON)
    limited(LATE, "it", lambda run: run(lambda: time.sleep(3 * SOON)))
    end = time.monotonic() + 30
    while not rung and time.monotonic() < end:
        time.sleep(SOON)
    assert rung == [True]


def test_in_another_thread_there_is_no_limit() -> None:
    """Python handles signals in the main thread only."""
    found: list[object] = []

    def slow() -> str:
        time.sleep(3 * SOON)
        return "done"

    def work() -> None:
        found.append(limited(SOON, "it", lambda run: run(slow)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["done"]


def test_without_a_limit_no_clock_ticks() -> None:
    """None is no limit."""
    assert limited(None, "it", lambda run: run(lambda: signal.getitimer(signal.ITIMER_REAL))) == (
        0,
        0,
    )
