"""The reflexes of nftables, on the real kernel in a namespace of its own."""

import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from strangers import DAMAGES

from backends.nftables import reading, structure
from backends.nftables.backend import Nftables
from backends.nftables.reflexes import NftablesReflexes
from backends.nftables.statements import (
    DELETE_ELEMENT,
    DeleteTable,
    Hosts,
    Intervals,
    NewSet,
    NewTable,
    Set,
    Statement,
    message,
)
from reconciler import BackendFailed, BackendUnreadable, Desired, Network, Networks
from reconciler.execute import run
from reconciler.host.netns import WITNESS4, Wire
from reconciler.netlink import AnswerLost, Connection, Message, text
from reconciler.planning.desired import collapse, subtract
from reconciler.testing import PolledReflexesContract, ReflexesContract, given, needed, state
from reconciler.testing.packets import flood

HELD = state(["192.0.2.7", "198.51.100.0/24", "240.0.0.0/4", "2001:db8::7", "ff00::/8"], [WITNESS4])
HASH4 = Set("banned4", 4, interval=False)
NETS4 = Set("banned4_nets", 4, interval=True)
FLUSH = (message(DELETE_ELEMENT, text(2, "banned4")),)


def _nft(text: str) -> None:
    """Run nft, as somebody else would."""
    run(["nft", text])


def _strike(_contract: object, text: str) -> None:
    _nft(text)


class TestNftablesReflexes(ReflexesContract):
    """The contract, on the real kernel."""

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        name: partial(_strike, text=text) for name, text in DAMAGES.items()
    }

    @pytest.fixture
    def backend(self, host: None) -> Nftables:
        """A firewall of the test's own."""
        return Nftables()

    def elsewhere(self) -> None:
        """Another table with nearly the same name, in many transactions of all kinds."""
        _nft("add table inet treason2; add set inet treason2 banned4 { type ipv4_addr; }")
        _nft("delete table inet treason2")


class TestPolledNftablesReflexes(PolledReflexesContract, TestNftablesReflexes):
    """The same without events: by the number of the generation."""


@pytest.fixture
def reflexes(host: None) -> Iterator[NftablesReflexes]:
    """Reflexes of a table that holds a few."""
    made = _reflexes(HELD)
    yield made
    made.close()


def _reflexes(wanted: Desired, owner: str = "") -> NftablesReflexes:
    given(Nftables(), wanted)
    made = Nftables().reflexes()
    made.hold(wanted, owner)
    made.changed()
    assert made.repair() == []
    return made


def numbered(number: int, start: int = 0x0B000000) -> Networks:
    """Return so many hosts."""
    return Networks.of_hosts(4, b"".join((start + each).to_bytes(4) for each in range(number)))


def hosts(networks: Networks) -> Hosts:
    """Return what adds hosts of IPv4."""
    return Hosts(HASH4, networks.hosts(4))


def commit(*statements: Statement, by: Connection | None = None) -> int:
    """Change the ruleset as somebody else, and return the port id."""
    somebody = by or Connection()
    somebody.commit([each for statement in statements for each in statement.messages()])
    return somebody.port


def woken(reflexes: NftablesReflexes) -> bool:
    """Whether the descriptor is readable."""
    poll = select.poll()
    poll.register(reflexes.fileno(), select.POLLIN)
    return bool(poll.poll(100))


def differs(wanted: Desired) -> bool:
    """Whether the kernel holds anything else."""
    return needed(Nftables(), wanted) is not None


def test_who_changed_the_table_is_named(reflexes: NftablesReflexes) -> None:
    """By the port ids of all who did."""
    ports = {commit(hosts(numbered(1, 0x0C000000 + turn))) for turn in range(3)}
    assert woken(reflexes)
    assert reflexes.changed() == ports
    assert not woken(reflexes)


def test_a_table_of_another_family_is_nobodys_business(reflexes: NftablesReflexes) -> None:
    """It may wake, and nobody is named."""
    _nft("add table ip treason")
    assert not reflexes.changed()


def test_many_events_are_not_read_one_by_one(host: None) -> None:
    """Who did it is known, no more is told until all is back, and then it is again."""
    wanted = Desired(numbered(60_000))
    reflexes = _reflexes(wanted)
    somebody = Connection()
    somebody.commit(FLUSH)
    with patch.object(Connection, "events", autospec=True, side_effect=Connection.events) as read:
        assert {*reflexes.changed()} <= {somebody.port, 0}
        assert read.call_count == 1
        assert not woken(reflexes)
    assert [*map(str, reflexes.repair())] == ["set banned4: lacks 60,000 of 60,000 elements"]
    assert not differs(wanted)
    reflexes.changed()
    somebody.commit(FLUSH)
    assert woken(reflexes)
    assert reflexes.changed()
    reflexes.close()


def test_lost_events_are_a_change_by_somebody_unknown(reflexes: NftablesReflexes) -> None:
    """What was flushed meanwhile is put back."""
    _nft("flush set inet treason banned4")
    with patch.object(Connection, "events", side_effect=AnswerLost(105, "no buffer space")):
        assert 0 in reflexes.changed()
    assert reflexes.repair()
    assert not differs(HELD)


def test_an_own_heavy_addition_tells_nobody(reflexes: NftablesReflexes) -> None:
    """Nor does what others do elsewhere before or behind it."""
    _nft("add table inet other")
    more = numbered(30_000)
    reflexes.add(more)
    assert not woken(reflexes)
    assert not differs(Desired(HELD.banned | more, HELD.passed))


def test_what_happens_beside_an_own_heavy_addition_wakes(reflexes: NftablesReflexes) -> None:
    """While it is made, nobody listens; the generation tells."""
    real = Connection.commit

    def beside(self: Connection, messages: Sequence[Message], generation: Any) -> None:
        real(self, messages, generation)
        if len(messages) > 1:
            real(Connection(), FLUSH)

    with patch.object(Connection, "commit", beside):
        reflexes.add(numbered(30_000))
    assert woken(reflexes)
    assert reflexes.changed() == {0}
    reflexes.repair()
    assert not differs(Desired(HELD.banned | numbered(30_000), HELD.passed))


@pytest.mark.parametrize("times", [1, 5, 15])
def test_it_is_added_and_put_back_beside_busy_neighbours(
    times: int, reflexes: NftablesReflexes
) -> None:
    """They commit whenever it is about to: the kernel refuses, and it is sent again."""
    _nft("add table inet other")
    real = Connection.commit
    left = 0

    def forestalled(self: Connection, messages: Sequence[Message], generation: Any) -> None:
        nonlocal left
        known = generation()
        if left:
            left -= 1
            _nft(f"add chain inet other c{left}")
        real(self, messages, lambda: known)

    with patch.object(Connection, "commit", forestalled):
        left = times
        reflexes.add(numbered(1))
        assert left == 0
        _nft("delete table inet treason")
        left = times
        reflexes.changed()
        reflexes.repair()
    assert not differs(Desired(HELD.banned | numbered(1), HELD.passed))


def test_who_never_gets_through_says_so(reflexes: NftablesReflexes) -> None:
    """After some tries."""
    real = Connection.commit

    def lost(self: Connection, messages: Sequence[Message], generation: Any) -> None:
        raise AnswerLost(105, "no buffer space")

    _nft("flush set inet treason banned4")
    with (
        patch.object(Connection, "commit", lost),
        pytest.raises(BackendFailed, match="keep changing the ruleset"),
    ):
        reflexes.repair()
    assert real is Connection.commit
    assert reflexes.repair()


def test_a_lost_answer_is_looked_after(reflexes: NftablesReflexes) -> None:
    """Whether the addition was made or not, it is in force."""
    real = Connection.commit
    for done in (False, True):
        more = numbered(1, 0x0C000000 + done)
        failed = False

        def lost(self: Connection, messages: Sequence[Message], generation: Any) -> None:
            nonlocal failed
            if failed or done:  # noqa: B023 - called in this turn
                real(self, messages, generation)
            if not failed:
                failed = True
                raise AnswerLost(105, "no buffer space")

        with patch.object(Connection, "commit", lost):
            reflexes.add(more)
        assert more[0] in Nftables().observe().banned


def test_a_hash_grows_before_it_is_full(host: None) -> None:
    """The table is made anew around what is held, with room for twice as many."""
    wanted = Desired(numbered(30_000), HELD.passed)
    reflexes = _reflexes(wanted)
    more = numbered(10_000, 0x0C000000)
    reflexes.add(more)
    assert "size 131072" in run(["nft", "-t", "list", "set", "inet", "treason", "banned4"]).output
    assert not differs(Desired(wanted.banned | more, HELD.passed))
    reflexes.add(numbered(1, 0x0D000000))
    assert not reflexes.changed()
    assert not reflexes.repair()
    reflexes.close()


def test_what_a_pass_laid_out_anew_is_followed(host: None) -> None:
    """An addition comes into the right one of several hashes, and losses into theirs."""
    reflexes = _reflexes(HELD)
    many = Desired(HELD.banned | numbered(140_000), HELD.passed)
    given(Nftables(), many)
    reflexes.add(numbered(2, 0x0C000000))
    more = Desired(many.banned | numbered(2, 0x0C000000), HELD.passed)
    assert not differs(more)
    reflexes.changed()
    reflexes.hold(more, "")
    _nft("flush set inet treason banned4_3")
    reflexes.changed()
    [told] = reflexes.repair()
    assert told.subject == "set banned4_3"
    assert not differs(more)
    reflexes.close()


def test_a_damaged_table_of_another_layout_is_made_anew(host: None) -> None:
    """In the layout that is held."""
    wanted = Desired(numbered(140_000), HELD.passed)
    reflexes = _reflexes(wanted)
    commit(NewTable(), DeleteTable(), NewTable(), NewSet(HASH4, 1 << 16, 1))
    reflexes.add(numbered(1, 0x0C000000))
    assert not differs(Desired(wanted.banned | numbered(1, 0x0C000000), HELD.passed))
    reflexes.close()


def test_a_set_that_others_filled_is_no_hindrance(reflexes: NftablesReflexes) -> None:
    """What does not fit beside it is in force all the same."""
    commit(hosts(numbered((1 << 16) - 1)))
    reflexes.add(numbered(3, 0x0C000000))
    assert not numbered(3, 0x0C000000) - Nftables().observe().banned
    assert not HELD.banned - Nftables().observe().banned


def test_a_network_of_others_that_overlaps_is_for_a_pass(reflexes: NftablesReflexes) -> None:
    """The kernel refuses; what is held stays."""
    commit(Intervals(NETS4, [Network.parse("10.1.0.0/16")]))
    with pytest.raises(BackendFailed, match="nftables: File exists"):
        reflexes.add(Networks.of([Network.parse("10.0.0.0/8")]))
    assert not HELD.banned - Nftables().observe().banned


def test_of_many_that_may_be_replaced_a_pass_reads_all(host: None) -> None:
    """Where not all was told, and the counts are right, no great set is sent again."""
    wanted = Desired(numbered(20_000), HELD.passed)
    reflexes = _reflexes(wanted)
    _nft(";".join(["add rule inet treason prerouting counter"] * 400))
    commit(Hosts(HASH4, numbered(1).hosts(4), delete=True), hosts(numbered(1, 0x0C000000)))
    reflexes.changed()
    with pytest.raises(BackendFailed, match="perhaps in place of ours"):
        reflexes.repair()
    assert not reflexes.repair()
    reflexes.close()


@pytest.mark.parametrize("number", [1, 20_000])
def test_an_element_in_the_place_of_ours_is_found(number: int, host: None) -> None:
    """Ours is back, and a pass is to take the other away; the counts alone agree."""
    wanted = Desired(HELD.banned | numbered(number), HELD.passed)
    reflexes = _reflexes(wanted)
    commit(Hosts(HASH4, numbered(1).hosts(4), delete=True), hosts(numbered(1, 0x0C000000)))
    assert woken(reflexes)
    assert reflexes.changed()
    with pytest.raises(BackendFailed, match=r"set banned4: holds .*elements of others"):
        reflexes.repair()
    assert not wanted.banned - Nftables().observe().banned
    reflexes.close()


def test_own_elements_that_others_add_again_are_fine(reflexes: NftablesReflexes) -> None:
    """Taken away and put back."""
    _nft("delete element inet treason banned4 { 192.0.2.7 }")
    _nft("add element inet treason banned4 { 192.0.2.7 }")
    assert reflexes.changed()
    assert reflexes.repair() == []


@pytest.mark.parametrize("name", ["banned4", "banned6", "banned4_nets", "banned6_nets", "passed4"])
def test_where_the_kernel_counts_nothing_elements_are_read(name: str, host: None) -> None:
    """As before Linux 6.16."""
    with patch.object(structure, "COUNT", 999):
        reflexes = _reflexes(HELD)
        _nft(f"flush set inet treason {name}")
        assert reflexes.changed()
        with patch.object(reading, "number", side_effect=reading.number) as counted:
            assert [each.subject for each in reflexes.repair()] == [f"set {name}"]
            assert reflexes.repair() == []
        assert [call.args[1].name for call in counted.call_args_list] == [name]
        _nft("flush ruleset")
        assert reflexes.changed()
        assert reflexes.repair()
        reflexes.close()
    assert not differs(HELD)


def test_whose_the_table_is_is_noted_again(host: None) -> None:
    """It is part of what is held."""
    given(Nftables(), HELD)
    reflexes = Nftables().reflexes()
    reflexes.hold(HELD, "a database")
    assert [*map(str, reflexes.repair())] == ["set database: is missing"]
    assert Nftables().observe().owner == "a database"
    _nft("delete set inet treason database")
    assert woken(reflexes)
    assert reflexes.changed()
    assert reflexes.repair()
    assert Nftables().observe().owner == "a database"
    _nft("delete table inet treason")
    assert reflexes.repair()
    assert Nftables().observe().owner == "a database"
    reflexes.close()


def test_another_databases_table_is_left_alone(host: None) -> None:
    """Two do not undo each other's work for ever."""
    reflexes = _reflexes(HELD)
    _nft('add set inet treason database { type ipv4_addr; comment "another"; }')
    for deed in ("flush set inet treason banned4", "add set inet treason x { type ipv4_addr; }"):
        _nft(deed)
        with pytest.raises(BackendFailed, match="was changed for another database"):
            reflexes.repair()
    assert Network.parse("192.0.2.7") not in Nftables().observe().banned
    reflexes.close()


def test_what_is_not_held_yet_is_not_added(host: None) -> None:
    """Nor is anything put in the place of what is there."""
    given(Nftables(), HELD)
    reflexes = Nftables().reflexes()
    for deed in (reflexes.repair, partial(reflexes.add, numbered(1))):
        with pytest.raises(BackendFailed, match="nothing is held yet"):
            deed()
    assert not differs(HELD)
    reflexes.close()


def test_what_happened_before_it_is_held_wakes(host: None) -> None:
    """Nobody listened then."""
    given(Nftables(), HELD)
    reflexes = Nftables().reflexes()
    _nft("flush set inet treason banned4")
    reflexes.hold(HELD, "")
    assert woken(reflexes)
    assert reflexes.changed() == {0}
    assert reflexes.repair()
    assert not differs(HELD)
    reflexes.close()


def test_no_descriptor_is_left(reflexes: NftablesReflexes) -> None:
    """Neither by fifty repairs, nor when all is closed."""
    before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(50):
        commit(NewTable(), DeleteTable())
        reflexes.changed()
        reflexes.repair()
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    other = _reflexes(HELD)
    other.close()
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_where_no_socket_can_be_had_it_is_told(host: None) -> None:
    """As a backend that cannot be read."""
    with (
        patch("select.epoll", side_effect=OSError(24, "Too many open files")),
        pytest.raises(BackendUnreadable, match="nftables: Too many open files"),
    ):
        Nftables().reflexes()


def test_no_banned_packet_arrives_while_it_is_repaired(wire: Callable[..., Wire]) -> None:
    """Fifty times, where the damage lets none through either; nor is a whitelisted one lost."""
    offender = "198.51.100.77"
    cable = wire(offender)
    reflexes = _reflexes(HELD)
    harms = (
        "add rule inet treason prerouting counter",
        "add chain inet treason foreign",
        "flush set inet treason banned6_nets",
        "add set inet treason foreign { type ipv4_addr; }",
    )
    with flood(cable, offender, WITNESS4) as traffic:
        for turn in range(48):
            _nft(harms[turn % 4])
            reflexes.changed()
            assert reflexes.repair()
    traffic.judge(offender, WITNESS4)
    reflexes.close()


def test_a_network_around_others_is_dropped_as_a_whole(reflexes: NftablesReflexes) -> None:
    """Also one that reaches to the last address, and what was inside is put back with it."""
    around = state(["198.51.0.0/16", "192.0.2.0/24", "224.0.0.0/3", "fe00::/7"]).banned
    reflexes.add(around)
    assert not subtract(around, collapse(Nftables().observe().banned))
    assert not reflexes.repair()
    for name in ("banned4_nets", "banned6_nets"):
        _nft(f"flush set inet treason {name}")
    reflexes.repair()
    assert not subtract(around, collapse(Nftables().observe().banned))
