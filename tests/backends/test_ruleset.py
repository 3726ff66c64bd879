"""Others change the ruleset while a pass does: nobody's change is overwritten, and it converges."""

import errno
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from harness import REAL_ROOT, Place
from pytest_mock import MockerFixture

from backends.nftables import reading, structure
from backends.nftables.backend import Nftables
from reconciler import (
    BackendFailed,
    BackendUnreadable,
    Desired,
    Network,
    Networks,
    Observed,
    Plan,
    netlink,
)
from reconciler.execute import run
from reconciler.model import Ban
from reconciler.netlink import Connection, Message
from reconciler.passes.enforce import Goal, Outcome, Recalled, State, enforce
from reconciler.planning.plan import plan
from reconciler.store.store import open_store

Nft = Callable[..., str]

OURS, THEIRS = (
    "add element inet treason banned4 { 203.0.113.9 }",
    "add element ip other s { 1.2.3.4 }",
)
ROOM = pytest.mark.skipif(not REAL_ROOT, reason="a user namespace allows small transactions only")


def hosts(number: int, first: str = "11.0.0.0") -> Networks:
    """Return so many addresses."""
    start = Network.parse(first).address
    packed = b"".join((start + place).to_bytes(4) for place in range(number))
    return Networks.of_hosts(4, packed)


WANTED = Desired(hosts(10))
MORE = Desired(hosts(20))


class Disturbed(Nftables):
    """Counts its readings and changes; somebody else runs a command ahead of each change."""

    def __init__(self, *commands: str) -> None:
        super().__init__()
        self.commands = iter(commands)
        self.readings = self.changes = 0

    def observe(self) -> Observed:
        """Count, and read."""
        self.readings += 1
        return super().observe()

    def apply(self, plan: Plan) -> None:
        """Count, let somebody be faster, and change."""
        self.changes += 1
        for command in self.commands:
            run(["nft", command])
            break
        super().apply(plan)


def pass_(backend: Nftables, wanted: Desired, memory: "Kept | None" = None) -> Outcome:
    """Enforce."""
    [outcome] = enforce(
        {"nftables": lambda: backend}, Goal(lambda: wanted, knowledge=memory), check=False
    )
    return outcome


def needed(wanted: Desired) -> Plan | None:
    """Return the plan that is needed now."""
    return plan(wanted, Nftables().observe())


class Kept:
    """Remembers the fingerprint of what was verified, and the plan that is needed from there."""

    def __init__(self) -> None:
        self.fingerprint: str | None = None
        self.plan: Plan | None = None

    def recall(self, backend: str, fingerprint: str) -> Recalled | None:
        """Return the plan."""
        return Recalled(self.plan, 10) if fingerprint == self.fingerprint else None

    def keep(self, backend: str, fingerprint: str, enforced: int, *, read: bool) -> None:
        """Remember."""
        self.fingerprint = fingerprint


@pytest.fixture
def table(nft: Nft) -> None:
    """Our table as wanted, and another one with a set."""
    nft("add table ip other; add set ip other s { type ipv4_addr; }")
    assert pass_(Nftables(), WANTED).state is State.CHANGED


FOREIGNER = """
import sys, time
import nftables
context = nftables.Nftables()
pause, *commands = sys.argv[1:]
for turn in range(10_000):
    code, _, error = context.cmd(commands[turn % len(commands)])
    assert code == 0 or turn, error  # later we may have taken away what is to be deleted
    if not turn:
        print(flush=True)
    time.sleep(float(pause))
"""


@contextmanager
def foreigner(pause: float, *commands: str) -> Iterator[None]:
    """Let another process carry out commands in turn, over and over, until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", FOREIGNER, str(pause), *commands], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
            assert process.poll() is None, "it ended before the block did"
        finally:
            process.kill()


def test_a_change_of_our_table_before_ours_is_read_and_planned_anew(table: None, nft: Nft) -> None:
    """Ours is sent again, since theirs only adds; then theirs is read, and removed."""
    backend = Disturbed(OURS)
    outcome = pass_(backend, MORE)
    assert (outcome.state, outcome.error) == (State.CHANGED, "")
    assert (backend.readings, backend.changes) == (2, 2)
    assert needed(MORE) is None


def test_a_refused_change_leaves_theirs_and_ours_unmade(table: None, nft: Nft) -> None:
    """It raises, names what happened, and nothing of the plan is in the kernel."""
    backend = Nftables()
    made = plan(MORE, backend.observe())
    assert made is not None
    nft("delete element inet treason banned4 { 11.0.0.1 }")
    before = nft("list ruleset")
    for _ in range(3):  # it stays refused until the table is read again
        with pytest.raises(BackendFailed, match="another program changed the table inet treason"):
            backend.apply(made)
    assert nft("list ruleset") == before


def test_elements_that_come_all_the_time_keep_no_pass_from_removing(table: None, nft: Nft) -> None:
    """As a daemon adds them that is attacked: what is to be removed is, before they end."""
    fewer = Desired(hosts(5))
    adding = [OURS.replace("203.0.113.9", f"203.0.113.{number}") for number in range(100, 200)]
    with foreigner(0.0, *adding):
        made = plan(fewer, (backend := Nftables()).observe())
        assert made is not None
        backend.apply(made)
        assert not backend.confirm(made)  # it is not known what they have added
    left = Nftables().observe().banned
    assert not left & (hosts(10) - hosts(5))
    assert hosts(5) <= left


@pytest.mark.parametrize(
    "theirs",
    [
        "delete element inet treason banned4 { 11.0.0.1 }",
        "add element inet treason passed4 { 11.0.0.1 }",
        "flush set inet treason banned4",
        "flush chain inet treason prerouting",
        "insert rule inet treason prerouting accept",
        "add table inet treason { flags dormant; }",
        "delete table inet treason",
        "flush ruleset",
        "delete table inet treason; add table inet treason",
    ],
)
def test_whatever_they_change_of_our_table_is_noticed(theirs: str, table: None, nft: Nft) -> None:
    """Sets, rules, flags, or all of it: it is read again."""
    backend = Disturbed(theirs)
    assert pass_(backend, MORE).state is State.CHANGED
    assert backend.readings == 2
    assert needed(MORE) is None


@pytest.mark.parametrize(
    "theirs",
    [
        THEIRS,
        "flush set ip other s",
        "delete table ip other",
        "add table ip treason; add chain ip treason prerouting",
        "add table inet treason2",
    ],
)
def test_a_change_of_another_table_costs_no_second_reading(
    theirs: str, table: None, nft: Nft
) -> None:
    """Ours goes through, and theirs stays."""
    nft("add element ip other s { 10.0.0.1 }")
    backend = Disturbed(theirs)
    assert pass_(backend, MORE).state is State.CHANGED
    assert backend.changes == 1
    assert needed(MORE) is None


def test_both_tables_changed_is_noticed(table: None, nft: Nft) -> None:
    """Ours among theirs, in one transaction and in several."""
    backend = Disturbed(f"{THEIRS}; {OURS}")
    assert pass_(backend, MORE).state is State.CHANGED
    nft(THEIRS)
    assert backend.changes == 2
    assert needed(MORE) is None


def test_a_change_between_reading_and_fingerprint_is_not_overwritten(
    table: None, nft: Nft, mocker: MockerFixture
) -> None:
    """A change is made for what was read, not for what was there when it was asked again."""
    real = Nftables.observe
    theirs = iter([OURS])

    def observe(self: Nftables) -> Observed:
        found = real(self)
        for command in theirs:
            nft(command)
        return found

    mocker.patch.object(Nftables, "observe", observe)
    memory = Kept()
    assert pass_(Nftables(), MORE, memory).state is State.CHANGED
    assert needed(MORE) is None
    assert Nftables().fingerprint() == memory.fingerprint


def test_a_change_right_after_ours_is_not_taken_for_ours(
    table: None, nft: Nft, mocker: MockerFixture
) -> None:
    """Theirs leaves the number of elements as it is; it is read, and mended in the same pass."""
    swap = "delete element inet treason banned4 { 11.0.0.1 }; " + OURS
    theirs = iter([swap])
    real = Nftables.apply

    def apply(self: Nftables, plan: Plan) -> None:
        real(self, plan)
        for command in theirs:
            nft(command)

    mocker.patch.object(Nftables, "apply", apply)
    memory = Kept()
    assert pass_(Nftables(), MORE, memory).state is State.CHANGED
    assert needed(MORE) is None
    assert Nftables().fingerprint() == memory.fingerprint


def test_what_is_remembered_is_changed_only_as_it_was(table: None, nft: Nft) -> None:
    """Nothing is read when the fingerprint is known, unless our table changes before we do."""
    memory = Kept()
    memory.plan = needed(MORE)
    memory.fingerprint = Nftables().fingerprint()
    neighbourly, contended = Disturbed(THEIRS), Disturbed(OURS)
    assert pass_(neighbourly, MORE, memory).state is State.CHANGED
    assert (neighbourly.readings, needed(MORE)) == (0, None)
    memory.plan = needed(WANTED)
    assert pass_(contended, WANTED, memory).state is State.CHANGED
    assert (contended.readings, needed(WANTED)) == (1, None)


@contextmanager
def forestalled(*commands: str) -> Iterator[None]:
    """Let somebody else's commands reach the kernel just before our transactions do."""
    real, theirs = Connection.commit, iter(commands)

    def commit(
        self: Connection, messages: Sequence[Message], generation: Callable[[], int]
    ) -> None:
        def forestalled() -> int:
            known = generation()
            for command in theirs:
                run(["nft", command])
                break
            return known

        real(self, messages, forestalled)

    with patch.object(Connection, "commit", commit):
        yield


HEAVY = Desired(hosts(20_000, "12.0.0.0"))


@pytest.mark.parametrize("times", [1, 15])
def test_a_heavy_change_gets_through_beside_busy_neighbours(times: int, table: None) -> None:
    """However often they are faster: nothing is planned anew."""
    backend = Disturbed()
    with forestalled(*[THEIRS, "flush set ip other s"] * times):
        assert pass_(backend, HEAVY).state is State.CHANGED
    assert backend.changes == 1
    assert needed(HEAVY) is None


def test_a_heavy_change_that_others_always_forestall_fails(table: None, nft: Nft) -> None:
    """It ends, says why, and leaves our table as it was."""
    backend = Nftables()
    made = plan(HEAVY, backend.observe())
    assert made is not None
    before = nft("list table inet treason")
    with (
        forestalled(*[THEIRS, "flush set ip other s"] * 100),
        pytest.raises(BackendFailed, match="other programs keep changing the ruleset"),
    ):
        backend.apply(made)
    assert nft("list table inet treason") == before


def test_a_heavy_change_overwrites_nobody(table: None, nft: Nft) -> None:
    """Our table changes in the moment when nobody listens: ours is refused, and theirs stays."""
    backend = Nftables()
    made = plan(HEAVY, backend.observe())
    assert made is not None
    with (
        forestalled(OURS),
        pytest.raises(BackendFailed, match="another program changed the table inet treason"),
    ):
        backend.apply(made)
    assert Nftables().observe().banned == WANTED.banned | hosts(1, "203.0.113.9")
    assert pass_(backend, HEAVY).state is State.CHANGED


def test_a_table_that_goes_while_it_is_read_is_missing_not_unreadable(
    table: None, nft: Nft, mocker: MockerFixture
) -> None:
    """What was listed is not there when its elements are asked for: it is read again."""
    real = structure.read
    theirs = iter(["delete table inet treason"])

    def read(connection: Connection, base: str) -> structure.Structure | None:
        found = real(connection, base)
        for command in theirs:
            nft(command)
        return found

    mocker.patch.object(structure, "read", read)
    [damage] = Nftables().observe().damage
    assert str(damage) == "table inet treason: is missing"


def test_what_cannot_be_read_although_nobody_changes_it_is_an_error(
    table: None, mocker: MockerFixture
) -> None:
    """It is not tried for ever, and the kernel's own words are told."""
    asked = mocker.patch.object(reading, "hosts", side_effect=netlink.refusal(errno.ENOENT))
    with pytest.raises(BackendUnreadable, match="No such file"):
        Nftables().observe()
    assert asked.call_count == 1


@pytest.mark.parametrize("number", [10, 20_000, pytest.param(200_000, marks=[ROOM])])
def test_a_busy_neighbour_does_not_keep_a_pass_from_converging(
    number: int, table: None, nft: Nft
) -> None:
    """Somebody commits to another table fifty times a second."""
    wanted = Desired(hosts(number, "12.0.0.0"))
    with foreigner(0.02, THEIRS, "flush set ip other s"):
        outcome = pass_(Nftables(), wanted)
    assert (outcome.state, outcome.error) == (State.CHANGED, "")
    assert needed(wanted) is None


def test_a_table_that_never_rests_is_an_error_of_two_lines(place: Place, nft: Nft) -> None:
    """Exit code 1, and what was enforced stays; a pass in peace converges."""
    with open_store(place.database, write=True) as store:
        bans = [Ban(network, 1_000_000, None, "manual") for network in hosts(30_000)]
        store.add_batch("file", [], bans, 1_000_000)
    assert place.treason("reconcile", "--no-scan").code == 0
    held = re.compile(r"11\.0\.[0-9.]+")
    before = set(held.findall(nft("list set inet treason banned4")))
    with foreigner(0, OURS, OURS.replace("add", "delete")):
        for host in range(9):  # a busy machine may not let the other program run
            place.treason("ban", f"192.0.2.{host}")
            result = place.treason("reconcile", "--no-scan")
            if result.code:
                break
    assert (result.code, len(result.err.splitlines())) == (1, 2)
    assert "another program" in result.err
    assert len(before) == 30_000
    assert set(held.findall(nft("list set inet treason banned4"))) == before
    assert place.treason("reconcile", "--no-scan").code == 0
    assert f"192.0.2.{host}" in nft("list set inet treason banned4")


def test_events_that_do_not_fit_are_no_reason_to_believe_anything(
    table: None, nft: Nft, mocker: MockerFixture
) -> None:
    """What happened to our table is unknown: it is read again."""
    theirs = ", ".join(f"1.2.{place >> 8}.{place & 255}" for place in range(8000))
    backend = Disturbed(f"add element ip other s {{ {theirs} }}")
    mocker.patch.object(netlink.connection, "_KEPT", 1 << 17)
    assert pass_(backend, MORE).state is State.CHANGED
    assert backend.readings == 2
    assert needed(MORE) is None


@contextmanager
def answers_lost(times: int) -> Iterator[None]:
    """Let the first commits be carried out without an answer."""
    real, left = Connection.commit, iter(range(times))

    def commit(
        self: Connection, messages: Sequence[Message], generation: Callable[[], int]
    ) -> None:
        real(self, messages, generation)
        for _ in left:
            raise netlink.refusal(errno.ENOBUFS)

    with patch.object(Connection, "commit", commit):
        yield


def test_a_change_whose_answer_is_lost_is_read_back_and_found(table: None) -> None:
    """Nothing is sent twice."""
    backend = Disturbed()
    with answers_lost(1):
        outcome = pass_(backend, MORE)
    assert (outcome.state, outcome.error) == (State.CHANGED, "")
    assert (backend.readings, backend.changes) == (2, 1)
    assert needed(MORE) is None
