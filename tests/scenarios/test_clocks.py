"""Clocks that jump, that were never set, and that are set right: nothing is lost, nothing stays."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import attrs
import pytest
from harness import Place
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from reconciler import Network, Record
from reconciler.config.setup import Setup
from reconciler.host import clock
from reconciler.host.clock import Look
from reconciler.model import Ban, Closing, Ground
from reconciler.passes import access
from reconciler.passes.run import Options, Pass
from reconciler.store.store import Store, open_store
from reconciler.testing import Memory

T = 1_800_000_000
HOUR, DAY = 3600, 86400
YEARS = 70 * 365 * DAY
A, B = Network.parse("192.0.2.1"), Network.parse("192.0.2.2")
MESSAGE = "TCP: Treason uncloaked! Peer 192.0.2.1:1/80 shrinks window 1:2. Repaired."


@attrs.define
class Machine:
    """A machine's clocks: what time it really is, how wrong its wall clock is, and which boot."""

    time: float = T
    wrong: float = 0
    booted: float = T - 1000
    boot: int = 0

    def look(self) -> Look:
        """Look at them."""
        return Look(self.time + self.wrong, self.time - self.booted, f"boot {self.boot}")

    def reboot(self, off: float = 60) -> None:
        """Turn it off for some seconds."""
        self.time += off
        self.booted, self.boot = self.time - 5, self.boot + 1


@pytest.fixture
def machine(mocker: MockerFixture, host: None) -> Machine:
    """The clocks that every command looks at, on a machine without a gateway that is protected."""
    made = Machine()
    mocker.patch.object(clock, "look", made.look)
    return made


@pytest.fixture
def steps(machine: Machine, place: Place) -> Callable[..., str]:
    """Let time go by, and make a pass after each so many seconds; tell what is dropped then."""
    blocklist = place.path / "list"
    place.configure(
        f'[backend.file]\npath = "{blocklist}"\n[protect]\nssh_client = true',
        main='backends = ["file"]',
    )

    def go(*seconds: float) -> str:
        for some in seconds or (0,):
            machine.time += some
            ended = place.treason("reconcile", "--no-scan")
            assert ended.code == 0, ended.err
        return blocklist.read_text()

    return go


def test_a_clock_that_is_far_ahead_once_ends_nothing(
    machine: Machine, place: Place, steps: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No ban, no history, no offence and no ssh client is gone; and the pass says what it saw."""
    with open_store(place.database, write=True) as store:
        store.clients.remember(B, T + 12 * HOUR, T)
    place.treason("ban", str(A), "--for", "30d")
    place.treason("ban", "203.0.113.1")
    place.treason("unban", "203.0.113.1")
    assert str(A) in steps(0)
    before = place.treason("history").out
    machine.wrong = YEARS
    assert str(A) in steps(60)
    told = place.treason("reconcile", "--no-scan")
    assert "25,550 days ahead" in told.err
    assert place.treason("reconcile", "--check", "--no-scan").code == 0
    assert "25,550 days ahead" in place.treason("status").out
    assert "25,550 days ahead" in place.treason("status", "-o", "json").json["clock"]
    assert str(A) in place.treason("list").out
    machine.wrong = 0
    assert str(A) in steps(60)
    assert place.treason("history").out == before
    assert place.treason("status", "-o", "json").json["clock"] is None
    assert f"{B}\tssh client" in place.treason("status", "--protection").out
    assert str(A) not in steps(30 * DAY)


def test_a_check_remembers_no_clock(
    machine: Machine, place: Place, steps: Callable[..., str]
) -> None:
    """It goes by the same time, and writes nothing."""
    place.treason("ban", str(A), "--for", "1h")
    steps(0)
    before = place.snapshot()
    machine.wrong, machine.time = YEARS, T + 1800
    assert place.treason("reconcile", "--check", "--no-scan").code == 0
    assert str(A) in place.treason("list").out
    machine.time += HOUR
    assert place.treason("reconcile", "--check", "--no-scan").code == 2
    assert str(A) not in place.treason("list").out
    assert place.snapshot() == before


def test_a_clock_that_was_set_right_is_believed(
    machine: Machine, place: Place, steps: Callable[..., str]
) -> None:
    """After ten minutes: what ends by it ends, and a ban made meanwhile keeps its length."""
    machine.wrong = -20 * DAY
    place.treason("ban", str(A), "--for", "10d")
    steps(0)
    machine.wrong = 0
    assert str(A) in steps(60)
    place.treason("ban", str(B), "--for", "1h")
    assert str(A) in steps(300)
    held = steps(300, 60)
    assert (str(A) in held, str(B) in held) == (False, True)
    assert str(B) in steps(HOUR - 700)
    assert str(B) not in steps(60)


def test_a_machine_that_begins_in_1970_keeps_the_length_of_its_bans(
    machine: Machine, place: Place, steps: Callable[..., str]
) -> None:
    """Those from before it was off end by the time that it learns later."""
    place.treason("ban", str(A), "--for", "2h")
    steps(0)
    machine.reboot(HOUR + 2400)
    machine.wrong = -machine.time
    assert str(A) in steps(0, 60)
    place.treason("ban", str(B), "--for", "1h")
    assert str(A) in steps(900)
    machine.wrong = 0
    held = steps(0, 700)
    assert (str(A) in held, str(B) in held) == (False, True)
    assert str(B) in steps(HOUR - 1700)
    assert str(B) not in steps(200)


def test_a_pause_keeps_its_length_when_the_clock_goes_back(
    machine: Machine, place: Place, steps: Callable[..., str]
) -> None:
    """It does not last for hours more."""
    place.treason("ban", str(A))
    assert str(A) in steps(0, 300)
    assert place.treason("pause", "--for", "1h").code == 0
    machine.wrong = -5 * HOUR
    assert str(A) not in steps(60, 300, 300, 300)
    assert str(A) not in steps(HOUR - 1100)
    assert str(A) in steps(300)


def test_a_pause_keeps_its_length_while_the_clock_is_in_doubt(
    machine: Machine, place: Place, steps: Callable[..., str]
) -> None:
    """It does not end once the clock is believed, as one from before does."""
    place.treason("ban", str(A))
    assert str(A) in steps(0)
    machine.wrong = 5 * HOUR
    assert str(A) in steps(60)
    assert place.treason("pause", "--for", "1h").code == 0
    assert str(A) not in steps(300, 300, 300)
    assert str(A) not in steps(HOUR - 1000)
    assert str(A) in steps(200)


def test_a_pause_outlasts_a_boot_in_1970(
    machine: Machine, place: Place, steps: Callable[..., str]
) -> None:
    """The machine has no clock: what it believes at first is earlier than the pause."""
    place.treason("ban", str(A))
    steps(0)
    machine.time += 4 * HOUR
    assert place.treason("pause").code == 0
    machine.reboot()
    machine.wrong = -machine.time
    assert str(A) not in steps(0, 60, 900)
    machine.wrong = 0
    assert str(A) not in steps(0, 700)
    assert place.treason("resume").code == 0
    assert str(A) in steps(0)


def test_who_is_banned_again_before_the_clock_is_believed_is_dropped(
    machine: Machine, place: Place, nft: Callable[..., str]
) -> None:
    """Though the ban that ended is still stored, which a pass in doubt moves to no history."""
    place.treason("ban", str(A), "--for", "1h")
    assert place.treason("reconcile", "--no-scan").code == 0
    machine.reboot()
    machine.wrong = -machine.time
    machine.time += 2 * HOUR
    assert place.treason("reconcile", "--no-scan").code == 0
    assert str(A) not in nft("list set inet treason banned4")
    place.treason("ban", str(A))
    assert place.treason("reconcile", "--no-scan").code == 0
    assert str(A) in nft("list set inet treason banned4")


def test_what_a_script_stored_by_a_wrong_clock_hides_no_later_event(
    machine: Machine, place: Place, store: Store
) -> None:
    """The time goes on from the latest event of the boot before, whatever was stored last."""
    place.treason("reconcile", "--no-scan")
    machine.time += 600
    place.treason("unban", str(B))
    event = machine.time
    machine.reboot()
    machine.wrong = -machine.time
    with closing(sqlite3.connect(place.database)) as script, script:
        script.execute(
            "INSERT INTO history (time, action, network, reason) VALUES (1, 'ban', 'x', '')"
        )
    assert store.clock.believe(machine.look()).now > event


def test_the_first_boot_of_all_in_1970_keeps_the_length_as_well(
    machine: Machine, place: Place, steps: Callable[..., str]
) -> None:
    """However long the clock is not set: it is never believed."""
    machine.wrong = 5 - machine.time
    place.treason("ban", str(A), "--for", "1d")
    steps(0, 6 * HOUR)
    machine.wrong = 0
    assert str(A) in steps(0, 700, 17 * HOUR)
    assert str(A) not in steps(HOUR)


def test_what_a_clock_ahead_made_does_not_stay_for_ever(
    machine: Machine, place: Place, steps: Callable[..., str]
) -> None:
    """Believed after a boot in which it was ahead by months; bans, ssh clients and lifts follow."""
    machine.wrong = 300 * DAY
    place.treason("ban", str(A), str(B), "--for", "1h")
    place.treason("unban", str(B))
    with open_store(place.database, write=True) as store:
        store.clients.remember(B, T + 300 * DAY + 12 * HOUR, T + 300 * DAY)
    assert str(A) in steps(0)
    machine.reboot()
    machine.wrong = 0
    assert str(A) in steps(0, 700)
    assert str(A) not in steps(HOUR)
    assert f"{B}\tssh client" in place.treason("status", "--protection").out
    machine.time += 12 * HOUR
    assert f"{B}\tssh client" not in place.treason("status", "--protection").out


def test_bans_return_with_a_clock_that_went_back_and_forth(
    machine: Machine, place: Place, steps: Callable[..., str]
) -> None:
    """A machine without a real-time clock may begin with the day its system was built."""
    place.treason("ban", str(A), "--for", "30d")
    steps(0)
    until = place.treason("list").out.split("\t")[2]
    machine.reboot()
    machine.wrong = -300 * DAY
    assert str(A) in steps(0, 700)
    place.treason("ban", str(B), "--for", "1d")
    machine.wrong = 0
    held = steps(HOUR, 700)
    assert str(A) in held
    assert str(B) in held
    assert place.treason("list").out.split("\t")[2] == until
    assert str(B) not in steps(DAY)
    assert str(A) not in steps(30 * DAY)


def test_what_is_to_be_closed_and_what_was_withheld_follows(
    machine: Machine, place: Place, steps: Callable[..., str]
) -> None:
    """Stored while a clock that is set right was not believed yet, it is as old as it is."""
    steps(0)
    machine.wrong = 20 * DAY
    steps(60)
    with open_store(place.database, write=True) as store:
        then = access.told(store).now
        ban = Ban(A, then, then + DAY, "zero-window")
        store.closings.expect([Closing(B, Ground.SEEN, then)])
        store.closings.note([(B, "1 connection")], then)
        store.withheld.add([ban], {A: 1}, then)
    for _ in range(2):
        machine.time += 400
        with open_store(place.database, write=True) as store:
            store.clock.remember(machine.look())
            now = access.told(store).now
    assert now - then > 19 * DAY
    with open_store(place.database, write=True) as store:
        [closing] = store.closings.expected()
        [withheld] = store.withheld.active(now)
        closed = [event.time for event in store.history.latest(B, 9)]
    found = [closing.since, withheld.ban.since, withheld.ban.until, withheld.last, *closed]
    expected = now - 800
    assert found == pytest.approx([expected, expected, expected + DAY, expected, expected], abs=2)


def test_a_suspend_is_no_jump(machine: Machine, place: Place, steps: Callable[..., str]) -> None:
    """CLOCK_BOOTTIME goes on: what ended meanwhile ends at once, and moves to the history."""
    place.treason("ban", str(A), "--for", "8h")
    steps(0)
    assert str(A) not in steps(9 * HOUR)
    assert "expiry" in place.treason("history").out


def test_a_copy_of_the_database_on_another_machine_is_not_in_doubt(
    machine: Machine, place: Place, steps: Callable[..., str]
) -> None:
    """Two machines restored from one image, some time later: another boot, a later time."""
    place.treason("ban", str(A), "--for", "1d")
    steps(0)
    machine.reboot(40 * DAY)
    assert str(A) not in steps(0)
    assert place.treason("status", "-o", "json").json["clock"] is None


@attrs.define
class Tape:
    """A source with one message, at a time."""

    time: float

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield it."""
        yield Record(MESSAGE, "tape", trusted=True, time=self.time, monotonic=self.time)

    def cursor(self) -> str:
        """Return the end."""
        return "end"


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    """An empty store."""
    with open_store(place.database, write=True) as opened:
        yield opened


def scanned(place: Place, store: Store, machine: Machine, time: float) -> list[Network]:
    """Read a message of that time; return who was banned."""
    seen = machine.look()
    store.clock.remember(seen)
    told = store.clock.believe(seen)
    options, sources = Options(), {"tape": lambda: Tape(time)}
    made = Pass(Setup(str(place.config)), store, told.now, sources, {}, options, told)
    return [ban.network for reading in made.run().readings for ban in reading.bans]


def test_who_was_unbanned_is_banned_again_by_a_machine_in_1970(
    machine: Machine, place: Place, store: Store
) -> None:
    """Its records tell times from before that, as the clock does that is not believed."""
    store.clock.remember(machine.look())
    store.bans.add([Ban(A, T, None, "manual")])
    store.bans.lift([A], T)
    assert scanned(place, store, machine, T - 60) == [], "that is settled"
    machine.reboot()
    machine.wrong = 5 - machine.time
    machine.time += 60
    assert scanned(place, store, machine, 60) == [A]


def test_a_lift_in_the_future_settles_nothing(machine: Machine, place: Place, store: Store) -> None:
    """It is of a clock that was ahead: else nobody could be banned until then."""
    store.bans.add([Ban(A, T, None, "manual")])
    store.bans.lift([A], T + YEARS)
    assert scanned(place, store, machine, T - 60) == [A]


def test_a_pass_in_doubt_forgets_nothing(place: Place, store: Store, host: None) -> None:
    """What has ended is not enforced, and is still there should that be wrong."""
    backend = Memory()
    store.bans.add([Ban(A, T, T + 60, "manual"), Ban(B, T, None, "manual")])
    doubted = clock.Clock(T + 120, "doubt")
    run = Pass(
        Setup(str(place.config)), store, T + 120, {}, {"it": lambda: backend}, clock=doubted
    ).run()
    assert (run.ended, run.doubt) == ([], "doubt")
    assert backend.observe().banned == {B}
    assert store.bans.ended(T + 120) == [str(A)]
    assert {ban.network for ban in store.bans.active(T + 30)} == {A, B}


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([60, 900, 2 * HOUR])),
        st.tuples(st.just("jump"), st.sampled_from([YEARS, -300 * DAY, -YEARS, 5 * HOUR])),
        st.tuples(st.just("reboot"), st.sampled_from([60, HOUR])),
        st.tuples(st.just("never set"), st.sampled_from([300, HOUR])),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(unset=st.booleans(), before=MOVES, wrong=st.sampled_from([0, YEARS, -YEARS]), moves=MOVES)
def test_a_ban_lasts_as_long_as_it_should(
    unset: bool,
    before: list[tuple[str, int]],
    wrong: int,
    moves: list[tuple[str, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Through clocks that are wrong for five minutes, or never set for an hour.

    Never shorter, also if it was made meanwhile; longer by no more than the machine was off and an
    hour each time, since what goes by is noted that often; and never for ever.
    """
    path: Path = tmp_path_factory.mktemp("clocks") / "db"
    machine = Machine()
    with open_store(path, write=True) as store:
        machine.wrong = -T if unset else 0
        store.clock.remember(machine.look())
        machine.wrong = 0
        off = sum(_moved(machine, store, *move) for move in before)
        made = _banned(machine, store, wrong)
        for move in moves:
            off += _moved(machine, store, *move)
            if machine.time - made < DAY - _ROUNDED:
                assert _active(machine, store), "it ended too early"
        for _ in range(3):
            machine.time += 700
            store.clock.remember(machine.look())
        machine.time = max(machine.time, made + DAY + off + _ROUNDED)
        assert not _active(machine, store), "it stays for ever"


_ROUNDED = 20
"""Seconds that may be lost, or won, by rounding whenever a clock is set."""


def _banned(machine: Machine, store: Store, wrong: int) -> float:
    """Ban for a day, while the clock is wrong."""
    store.clock.remember(machine.look())
    machine.wrong = wrong
    store.clock.remember(machine.look())
    now = store.clock.believe(machine.look()).now
    store.bans.add([Ban(A, now, now + DAY, "manual")])
    made = machine.time
    machine.time += 300 if wrong else 0
    machine.wrong = 0
    store.clock.remember(machine.look())
    return made


def _moved(machine: Machine, store: Store, move: str, number: int) -> float:
    """Make a move, with a pass now and then; return for how long it was off."""
    off = 0.0
    if move == "wait":
        machine.time += number
    elif move == "jump":
        machine.wrong = number
        store.clock.remember(machine.look())
        machine.time += 300
        store.clock.remember(machine.look())
        machine.wrong = 0
    else:
        off = 60.0 if move == "never set" else number
        machine.reboot(off)
        if move == "never set":
            machine.wrong = -machine.time
            for _ in range(3):
                store.clock.remember(machine.look())
                machine.time += number / 3
            machine.wrong = 0
    store.clock.remember(machine.look())
    return off + HOUR if off else 0.0


def _active(machine: Machine, store: Store) -> bool:
    store.clock.remember(machine.look())
    return bool([*store.bans.active(store.clock.believe(machine.look()).now)])


def test_no_step_of_a_clock_is_believed_where_it_cannot_be_remembered(
    machine: Machine, place: Place, store: Store
) -> None:
    """Stored times could not follow; the pass goes on with the time that it knows."""
    store.clock.remember(machine.look())
    machine.wrong = YEARS
    store.clock.remember(machine.look())
    machine.time += 700
    with open_store(place.database, write=False) as other:
        other.attempt(partial(other.clock.remember, machine.look()))
        assert other.unwritten is not None
        assert other.clock.believe(machine.look()).now == T + 701
        assert other.clock.believe(machine.look()).doubt


@pytest.mark.parametrize(
    "edit",
    [
        "time = -1e300, uptime = 1e300",
        "time = 9e999",
        "time = 1e18",
        "told = -1e18",
        "steady = 1e300",
    ],
)
def test_times_that_no_clock_tells_are_not_believed(edit: str, place: Place, host: None) -> None:
    """Somebody edited what is remembered; a ban does not end by it, and the pass mends it."""
    place.treason("ban", "192.0.2.7", "--for", "1h")
    with closing(sqlite3.connect(place.database)) as connection, connection:
        connection.execute(f"UPDATE treason_clock SET {edit}")  # noqa: S608 - constants
    for _ in range(2):
        result = place.treason("reconcile", "--no-scan", "--backend", f"file:{place.path}/list")
        assert (result.code, result.err) == (0, "")
        assert (place.path / "list").read_text() == "192.0.2.7\n"
    with closing(sqlite3.connect(place.database)) as connection:
        [(time, told)] = connection.execute("SELECT time, told FROM treason_clock").fetchall()
    assert time == told > clock.EARLIEST
