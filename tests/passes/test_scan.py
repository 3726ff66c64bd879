"""The scanner: what counts as an offence, once, and what is stored of it."""

import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest
from pytest_mock import MockerFixture

from reconciler import Judgement, Network, Networks, Record, SourceUnreadable, Suspect
from reconciler.detection.detect import RULES, Rule
from reconciler.detection.policy import Policy
from reconciler.embedding import NAT64
from reconciler.execute import run
from reconciler.model import Ground
from reconciler.passes.reading import Reading
from reconciler.passes.recognise import Recognition
from reconciler.passes.scan import Scanner
from reconciler.store.store import Store, open_store

A, B = (Network.parse(f"192.0.2.{i}") for i in (1, 2))
NOW = 1_000_000


def shrunk(address: str, *, trusted: bool = True) -> Record:
    """Make the record of an offence."""
    text = f"Peer {address}:1/2 unexpectedly shrunk window 3:4 (repaired)"
    return Record(text=text, carrier="kmsg", trusted=trusted)


@attrs.define
class Fixed:
    """A source of given records."""

    records: Sequence[Record]
    position: str | None = "1"

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield them all, once."""
        return iter(self.records if cursor is None else ())

    def cursor(self) -> str | None:
        """Return the position."""
        return self.position


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with open_store(tmp_path / "db", write=True) as opened:
        yield opened


def scan(store: Store, source: object, **how: object) -> Reading:
    """Scan one source."""
    options = {"policy": Policy(), "now": NOW, "write": True} | how
    [reading] = Scanner(store, **options).scan({"it": lambda: source})  # type: ignore[arg-type, dict-item, return-value]  # options by name
    return reading


def test_a_scan_bans_once_and_remembers_where_it_was(store: Store) -> None:
    """Offences, bans and cursor are stored; the next scan finds nothing new."""
    source = Fixed([shrunk("192.0.2.1"), shrunk("192.0.2.1"), shrunk("192.0.2.2")])
    reading = scan(store, source)
    assert (reading.offences, [ban.network for ban in reading.bans]) == (3, [A, B])
    assert len(store.offences.of([A, B], 0)) == 3
    assert store.cursors.get("it") == "1"
    assert scan(store, source) == Reading("it")


def test_a_scan_without_writing_leaves_no_trace(store: Store) -> None:
    """The bans are told, but neither they nor the cursor are stored."""
    reading = scan(store, Fixed([shrunk("192.0.2.1")]), write=False)
    assert [ban.network for ban in reading.bans] == [A]
    assert store.bans.networks(NOW) == (Networks(), [])
    assert store.cursors.get("it") is None


def test_untrusted_records_are_refused_unless_userspace_is_believed(store: Store) -> None:
    """Refused offences are counted and shown, never stored."""
    forged = Fixed([shrunk("192.0.2.1", trusted=False)] * 12, position=None)
    reading = scan(store, forged)
    assert (reading.offences, reading.refused, len(reading.examples)) == (0, 12, 10)
    assert store.offences.of([A], 0) == []
    assert [
        ban.network for ban in scan(store, forged, recognition=Recognition(userspace=True)).bans
    ] == [A]


def test_a_known_ban_is_not_made_again_but_made_longer(store: Store) -> None:
    """A permanent ban is never shortened; a temporary one gives way to a later end."""
    source = Fixed([shrunk("192.0.2.1")], position=None)
    short, long_ = Policy(ban_for=60), Policy(ban_for=3600)
    assert [b.until for b in scan(store, source, policy=short).bans] == [NOW + 60]
    assert [b.until for b in scan(store, source, policy=long_).bans] == [NOW + 3600]
    assert scan(store, source, policy=short).bans == ()
    assert [b.until for b in scan(store, source).bans] == [None]
    assert scan(store, source, policy=long_).bans == ()


def test_the_threshold_is_reached_across_passes(store: Store) -> None:
    """Stored offences count in the next scan."""
    policy = Policy(threshold=2)
    other = "Peer 192.0.2.1:9/2 unexpectedly shrunk window 3:4 (repaired)"
    assert scan(store, Fixed([shrunk("192.0.2.1")], position=None), policy=policy).bans == ()
    second = Fixed([Record(text=other, carrier="kmsg", trusted=True)], position=None)
    assert [ban.network for ban in scan(store, second, policy=policy).bans] == [A]


def test_sources_of_one_pass_add_up_in_a_check_as_well(store: Store) -> None:
    """What one source told helps to reach the threshold in the next, stored or not."""
    other = "Peer 192.0.2.1:9/2 unexpectedly shrunk window 3:4 (repaired)"
    sources = {
        "a": lambda: Fixed([shrunk("192.0.2.1")], position=None),
        "b": lambda: Fixed([Record(text=other, carrier="x", trusted=True)] * 2, position=None),
        "c": lambda: Fixed([shrunk("192.0.2.1")], position=None),
    }
    for write in (False, True):
        readings = list(Scanner(store, Policy(threshold=2), NOW, write).scan(sources))
        assert [len(reading.bans) for reading in readings] == [0, 1, 0]


def test_too_many_new_bans_are_refused_as_a_whole(store: Store) -> None:
    """Over all sources of a pass; nothing of the refused source is stored, its cursor stays."""
    first = Fixed([shrunk("192.0.2.1")])
    second = Fixed([shrunk("192.0.2.2"), shrunk("192.0.2.3")])
    scanner = Scanner(store, Policy(max_new_bans=2), NOW, write=True)
    fine, refused = scanner.scan({"a": lambda: first, "b": lambda: second})
    assert len(fine.bans) == 1
    assert "2 new bans after 1: max_new_bans allows 2" in refused.error
    assert store.bans.networks(NOW) == (Networks.of([A]), [])
    assert store.cursors.get("b") is None


@pytest.mark.parametrize("write", [True, False])
def test_a_ban_that_grows_is_not_a_new_one(store: Store, *, write: bool) -> None:
    """However many of the banned offend again, max_new_bans does not refuse the source."""
    policy = Policy(ban_for=60, max_new_bans=2)
    scan(store, Fixed([shrunk("192.0.2.1"), shrunk("192.0.2.2")], position=None), policy=policy)
    again = [shrunk(f"192.0.2.{host}") for host in (1, 2, 3)]
    scanner = Scanner(store, policy, NOW + 30, write)
    [reading, twice, refused] = scanner.scan(
        {
            "a": lambda: Fixed(again),
            "b": lambda: Fixed([*again, shrunk("192.0.2.4")]),
            "c": lambda: Fixed([shrunk("192.0.2.5")]),
        }
    )
    assert (reading.error, len(reading.bans)) == ("", 3)
    assert (twice.error, len(twice.bans)) == ("", 1)
    assert "1 new ban after 2" in refused.error


def test_many_offences_of_one_address_are_decided_soon(store: Store) -> None:
    """Time grows with the offences, not with their square."""
    many = [
        Record(text=shrunk("192.0.2.1").text, carrier="x", trusted=True, time=i * 700.0)
        for i in range(50_000)
    ]
    reading = scan(store, Fixed(many, position=None), policy=Policy(threshold=2), write=False)
    assert (reading.offences, reading.bans) == (50_000, ())


def test_who_is_banned_for_good_is_not_decided_on_again(
    store: Store, mocker: MockerFixture
) -> None:
    """However many offences of such a peer are stored, they are not read."""
    mocker.patch("reconciler.passes.scan._BATCH", 2)
    asked = mocker.spy(store.offences, "of")
    records = [stamped(port, float(port)) for port in range(6)]
    reading = scan(store, Fixed(records, position=None), policy=Policy(threshold=2))
    assert (reading.offences, [ban.network for ban in reading.bans]) == (6, [A])
    assert asked.call_count == 1


def test_a_source_that_fails_in_its_notes_is_read_all_the_same(store: Store) -> None:
    """Notes change no result: what was read counts, and the cursor goes on."""

    class Mute(Fixed):
        notes = "what a plugin of its own has under this name"

    reading = scan(store, Mute([shrunk("192.0.2.1")]))
    assert (reading.error, reading.offences, store.cursors.get("it")) == ("", 1, "1")
    assert reading.notes == (
        "its notes cannot be read: it: the plugin failed: TypeError: 'str' object is not callable",
    )


def test_an_unreadable_source_stops_no_other_and_stores_nothing(store: Store) -> None:
    """What was read before the failure is read again next time."""

    class Failing(Fixed):
        def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
            yield shrunk("192.0.2.1")
            raise SourceUnreadable("gone", "bring it back")

    good = Fixed([shrunk("192.0.2.2")])
    scanner = Scanner(store, Policy(), NOW, write=True)
    bad, fine = scanner.scan({"bad": lambda: Failing([]), "good": lambda: good})
    assert bad.error == "gone\n  bring it back"
    assert [ban.network for ban in fine.bans] == [B]
    assert store.bans.networks(NOW) == (Networks.of([B]), [])


def stamped(port: int, monotonic: float | None) -> Record:
    """Make the record of one connection of the same peer, as the kernel stamped it."""
    text = f"Peer 192.0.2.1:{port}/80 unexpectedly shrunk window 3:4 (repaired)"
    return Record(text=text, carrier="kmsg", trusted=True, monotonic=monotonic, time=NOW)


@pytest.mark.parametrize("write", [True, False])
def test_a_record_that_two_sources_bring_counts_once(store: Store, *, write: bool) -> None:
    """It is known by its text and the kernel's stamp; another stamp is another record."""
    sources = {
        "kmsg": lambda: Fixed([stamped(1, 5.000001), stamped(1, 6.5)]),
        "journal": lambda: Fixed([stamped(1, 5.000001), stamped(1, 6.5), stamped(1, 7.0)]),
        "dmesg": lambda: Fixed([stamped(2, 5.000001)]),
    }
    readings = list(Scanner(store, Policy(threshold=3), NOW, write).scan(sources))
    assert [(r.offences, r.known) for r in readings] == [(2, 0), (1, 2), (1, 0)]


def test_a_record_counts_once_however_often_a_source_brings_it(store: Store) -> None:
    """In one pass or in two; those without a stamp cannot be told from each other."""
    twice = Fixed([stamped(1, 5.0), stamped(1, 5.0), stamped(1, None)], position=None)
    reading = scan(store, twice)
    assert (reading.offences, reading.known) == (2, 1)
    again = scan(store, twice)
    assert (again.offences, again.known) == (1, 2)
    dry = scan(store, Fixed([stamped(2, 6.0)] * 2, position=None), write=False)
    assert (dry.offences, dry.known) == (1, 1)


def test_a_stamp_is_one_of_a_kind_within_a_boot(store: Store) -> None:
    """Boots are told apart by their ids, or where a log tells none by the date in the line."""
    first, second = (attrs.evolve(stamped(1, 5.0), boot_id=boot) for boot in ("a-b", "c"))
    assert scan(store, Fixed([first, second, first], position=None)).offences == 2
    assert scan(store, Fixed([attrs.evolve(second, boot_id=None)], position=None)).offences == 0
    lines = [attrs.evolve(stamped(1, 7.0), time=NOW - day * 86400) for day in (9, 0, 9)]
    assert scan(store, Fixed(lines, position=None)).offences == 2
    undated = attrs.evolve(stamped(1, 7.0), time=None)
    assert scan(store, Fixed([undated], position=None)).offences == 0


def test_what_is_said_to_be_repeated_is_none_of_those_before(store: Store) -> None:
    """A logging daemon that repeats a line with its stamp means others; they count once, too."""
    lines = [stamped(1, 5.0), attrs.evolve(stamped(1, 5.0), repeated=3)]
    assert scan(store, Fixed(lines, position=None)).offences == 4
    assert scan(store, Fixed(lines, position=None)).known == 4


def test_an_absurd_stamp_is_stored_without_it(store: Store) -> None:
    """What no machine has been up for is not kept as a stamp, and breaks nothing."""
    reading = scan(store, Fixed([stamped(1, 1e14), stamped(2, float("nan")), stamped(3, -1.0)]))
    assert reading.offences == 3
    assert [offence.micros for offence in store.offences.of([A], 0)] == [None] * 3


def test_a_time_that_lies_ahead_is_now(store: Store) -> None:
    """A wrong clock neither keeps an offence for ever nor takes it out of the window."""
    ahead = attrs.evolve(stamped(1, None), time=NOW * 9.0)
    reading = scan(store, Fixed([ahead, stamped(2, None)]), policy=Policy(threshold=2))
    assert [ban.network for ban in reading.bans] == [A]
    assert {offence.time for offence in store.offences.of([A], 0)} == {NOW}


def test_connections_to_ports_where_nothing_listens_are_not_counted(store: Store) -> None:
    """With listeners_only; they are told, and not stored. A rule without ports counts."""
    source = Fixed([stamped(1, None), shrunk("192.0.2.2")], position=None)
    recognition = Recognition(listeners_only=True, listening=lambda: frozenset({80}))
    reading = scan(store, source, recognition=recognition)
    assert ([ban.network for ban in reading.bans], reading.outbound) == ([A], 1)
    assert store.offences.of([B], 0) == []
    everything = scan(store, Fixed([shrunk("192.0.2.2")], position=None))
    assert (len(everything.bans), everything.outbound) == (1, 0)


def test_who_was_banned_before_is_banned_for_longer(store: Store) -> None:
    """Each ban that has run out counts, also one that is not in the history yet."""
    policy = Policy(ban_for=60, escalate=3, max_ban=500)
    now, lengths = NOW, []
    for _ in range(4):
        [ban] = scan(
            store, Fixed([shrunk("192.0.2.1")], position=None), policy=policy, now=now
        ).bans
        lengths.append((ban.until or 0) - now)
        now += 1000
        store.bans.expire(now)
    assert lengths == [60, 180, 500, 500]
    store.bans.lift([A], now)
    assert store.history.endings([A, B], now) == {A: 4}


def test_a_ban_that_has_ended_escalates_though_nobody_moved_it(store: Store) -> None:
    """A check, which moves nothing, tells the same length as the pass."""
    policy = Policy(ban_for=60, escalate=2)
    scan(store, Fixed([shrunk("192.0.2.1")], position=None), policy=policy)
    later = scan(
        store, Fixed([shrunk("192.0.2.1")], position=None), policy=policy, now=NOW + 61, write=False
    )
    assert [ban.until for ban in later.bans] == [NOW + 61 + 120]


def test_peers_of_one_ipv6_network_are_counted_together(store: Store) -> None:
    """Across passes; the network is banned, and the store keeps who it was."""
    policy = Policy(threshold=2, ipv6_prefix=64)
    first, second, far = (
        Fixed([shrunk(f"2001:0db8:0000:000{net}:0000:0000:0000:000{host}")], position=None)
        for net, host in ((1, 1), (1, 2), (2, 3))
    )
    assert scan(store, first, policy=policy).bans == ()
    assert scan(store, far, policy=policy).bans == ()
    other = Fixed([attrs.evolve(r, text=r.text.replace(":1/2", ":9/2")) for r in second.records])
    assert [str(ban.network) for ban in scan(store, other, policy=policy).bans] == [
        "2001:db8:0:1::/64"
    ]
    assert [str(o.address) for o in store.offences.of([Network.parse("2001:db8::/32")], 0)] == [
        "2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::3",
    ]  # fmt: skip


REPORTED = attrs.evolve(RULES[1], report_only=True)
OWN = attrs.evolve(RULES[1], policy=Policy(threshold=2, ban_for=60))
ELSEWHERE = attrs.evolve(RULES[1], sources=("journal", "file:/x"))


def test_a_rule_that_only_reports_bans_nobody(store: Store) -> None:
    """Its offences are stored, and do not help others to reach a threshold."""
    reading = scan(store, Fixed([stamped(1, None)], position=None), rules=[REPORTED])
    assert (reading.offences, reading.reported, reading.bans) == (1, 1, ())
    assert reading.sightings == (stamped(1, None).text,)
    rules = [REPORTED, RULES[2]]
    probing = "Probing zero-window on 192.0.2.1:9/80, seq=1:2, recv 3ms ago, lasting 4ms"
    other = Fixed([Record(text=probing, carrier="x", trusted=True)], position=None)
    assert scan(store, other, rules=rules, policy=Policy(threshold=2)).bans == ()
    assert len(store.offences.of([A], 0)) == 2


def test_a_rule_with_a_policy_of_its_own_is_counted_by_itself(store: Store) -> None:
    """Offences of other rules do not count for it; its bans have its own length."""
    rules: list[Rule] = [OWN, RULES[2]]
    probing = "Probing zero-window on 192.0.2.2:9/80, seq=1:2, recv 3ms ago, lasting 4ms"
    mixed = [
        stamped(1, None),
        Record(text=probing, carrier="x", trusted=True),
        Record(text=probing.replace("2.2", "2.1"), carrier="x", trusted=True),
    ]
    reading = scan(store, Fixed(mixed, position=None), rules=rules, policy=Policy(threshold=3))
    assert reading.bans == ()
    reading = scan(store, Fixed([stamped(2, None)], position=None), rules=rules)
    assert [(ban.network, ban.until) for ban in reading.bans] == [(A, NOW + 60)]


def test_a_rule_is_for_the_sources_that_it_names(store: Store) -> None:
    """By their kind or with their argument; a source without any rule is not read."""
    made = {name: lambda: Fixed([stamped(1, None)]) for name in ("kmsg", "journal:/d", "file:/y")}
    scanner = Scanner(store, Policy(), NOW, write=False, rules=[ELSEWHERE])
    readings = {reading.source: reading for reading in scanner.scan(made)}
    assert [readings[name].offences for name in made] == [0, 1, 0]
    assert readings["kmsg"].notes == ("not read: no rule applies to this source",)
    [named] = scanner.scan({"file:/x": lambda: Fixed([stamped(2, None)])})
    assert named.offences == 1


def test_a_reading_in_batches_is_stored_as_one(store: Store, mocker: MockerFixture) -> None:
    """The threshold is reached across them; a refusal in a later one undoes the first."""
    mocker.patch("reconciler.passes.scan._BATCH", 2)
    records = [stamped(port, float(port)) for port in range(5)]
    reading = scan(store, Fixed(records, position=None), policy=Policy(threshold=5))
    assert (reading.offences, [ban.network for ban in reading.bans]) == (5, [A])
    store.bans.lift([A], NOW)
    others = [shrunk(f"198.51.100.{host}") for host in range(1, 6)]
    scanner = Scanner(store, Policy(max_new_bans=3), NOW, write=True)
    refused, fine = scanner.scan({"a": lambda: Fixed(others), "b": lambda: Fixed(others[:3])})
    assert "max_new_bans allows 3" in refused.error
    assert (store.cursors.get("a"), store.cursors.get("b"), len(fine.bans)) == (None, "1", 3)
    assert len(store.offences.of([Network.parse("198.51.100.0/24")], 0)) == 3


THRICE = Policy(threshold=3)


def thrice(*ports: int, time: float = NOW) -> Fixed:
    """Make a source of so many connections, at one time."""
    return Fixed([attrs.evolve(stamped(port, None), time=time) for port in ports], position=None)


@pytest.mark.parametrize("lift", ["unban", "expiry"])
def test_what_came_before_a_ban_was_lifted_is_settled(store: Store, lift: str) -> None:
    """Stored offences do not help to reach the threshold once more; new ones do."""
    policy = THRICE if lift == "unban" else attrs.evolve(THRICE, ban_for=10)
    assert len(scan(store, thrice(1, 2, 3), policy=policy).bans) == 1
    if lift == "unban":
        store.bans.lift([A], NOW + 10)
    later = {"policy": policy, "now": NOW + 20}
    assert scan(store, thrice(4, 5, time=NOW + 15), **later).bans == ()
    assert len(scan(store, thrice(6, time=NOW + 15), **later).bans) == 1


@pytest.mark.parametrize("ended", [False, True])
def test_what_is_settled_stays_settled(store: Store, *, ended: bool) -> None:
    """No source bans again for what came before a ban ended, also where that was pruned since."""
    first = Fixed([stamped(1, None)], position=None)
    scan(store, first, policy=Policy(ban_for=10 if ended else None))
    if not ended:
        store.bans.lift([A], NOW + 10)
    store.offences.prune(NOW + 15)
    old = Fixed([stamped(1, None), attrs.evolve(shrunk("192.0.2.2"), time=NOW)], position=None)
    for name in ("added", "other"):
        [reading] = Scanner(store, Policy(), NOW + 20, write=True).scan({name: lambda: old})
        assert reading.offences == 2
        assert {ban.network for ban in reading.bans} <= {B}
    late = Fixed([attrs.evolve(stamped(2, None), time=NOW + 11)], position=None)
    assert [b.network for b in scan(store, late, now=NOW + 20).bans] == [A]


@pytest.mark.parametrize("boot", ["b", None])
def test_a_source_that_lost_its_place_counts_nothing_twice(store: Store, boot: str | None) -> None:
    """Whether its records tell their boot or not."""
    records = [attrs.evolve(stamped(port, float(port)), boot_id=boot) for port in (1, 2)]
    for expected in ((2, 0), (0, 2)):
        reading = scan(store, Fixed(records, position=None), policy=THRICE)
        assert (reading.offences, reading.known) == expected


def test_who_is_exempt_gets_no_neighbour_banned(store: Store) -> None:
    """With ipv6_prefix; another peer of the same network does."""
    policy = Policy(ipv6_prefix=64)
    office = "2001:0db8:0000:0001:0000:0000:0000:0001"
    exempt = Networks.of([Network.parse(office)])
    assert (
        scan(store, Fixed([shrunk(office)], position=None), policy=policy, exempt=exempt).bans == ()
    )
    other = Fixed([shrunk(office[:-1] + "2")], position=None)
    [ban] = scan(store, other, policy=policy, exempt=exempt).bans
    assert str(ban.network) == "2001:db8:0:1::/64"


def test_what_a_wrong_clock_stored_ahead_does_not_count(store: Store) -> None:
    """It would be of this moment at every pass, until that time comes."""
    scan(store, thrice(1, 2, time=NOW * 9.0), policy=THRICE, now=NOW * 9)
    assert scan(store, thrice(3), policy=THRICE).bans == ()


def test_a_failed_source_leaves_nothing_behind_in_a_check(store: Store) -> None:
    """What it brought before it failed is not known to the others."""

    class Failing(Fixed):
        def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
            yield from self.records
            raise SourceUnreadable("gone")

    many = [stamped(port, float(port)) for port in range(1, 4)]
    scanner = Scanner(store, Policy(max_new_bans=1), NOW, write=False)
    bad, good = scanner.scan({"bad": lambda: Failing(many), "good": lambda: Fixed(many)})
    assert (bad.error, good.offences, good.known, good.new) == ("gone", 3, 0, 1)


def test_this_machines_own_addresses_are_no_peers(store: Store, host: None) -> None:
    """Nor are its broadcasts; it is said which were named, and that nobody is banned for it."""
    run(["ip", "address", "add", "192.0.2.1/24", "broadcast", "192.0.2.255", "dev", "lo"])
    run(["ip", "address", "add", "2001:db8::1/64", "dev", "lo"])
    six = "2001:0db8:0000:0000:0000:0000:0000:0001"
    texts = ("192.0.2.1", "192.0.2.255", six, "192.0.2.1", "192.0.2.2")
    reading = scan(store, Fixed([shrunk(text) for text in texts], position=None))
    assert [ban.network for ban in reading.bans] == [B]
    assert reading.notes == (
        "4 messages of addresses that are this machine's own: 192.0.2.1, 192.0.2.255, 2001:db8::1",
    )


@pytest.mark.parametrize(
    "address",
    ["64:ff9b::c000:201", "64:ff9b:1::c000:201", "2001:db8:64::c000:201", "2002:c000:201::1",
     "2001:0:c000:201::1", "2001:0:cb00:7101::3fff:fdfe"],
)  # fmt: skip
def test_who_stands_for_an_exempt_address_of_ipv4_is_not_banned(store: Store, address: str) -> None:
    """Neither for this machine's own, which is told, nor for others; his neighbour is."""
    nat64 = (*NAT64, Network.parse("2001:db8:64::/96"))
    full = ipaddress.ip_address(address).exploded
    peers = Fixed([shrunk(full), shrunk("2001:0db8:0000:0000:0000:0000:0000:0009")], position=None)
    others = scan(
        store, peers, exempt=Networks.of([A]), recognition=Recognition(nat64=nat64), write=False
    )
    ours = Recognition(own=lambda: [A], nat64=nat64)
    own = scan(store, peers, recognition=ours, write=False)
    for reading in (others, own):
        assert [str(ban.network) for ban in reading.bans] == ["2001:db8::9"]
    assert own.notes == (f"1 message of addresses that are this machine's own: {address}",)


def test_own_addresses_are_asked_for_only_where_they_matter(store: Store) -> None:
    """Most passes recognise nothing."""
    unasked = Scanner(
        store, Policy(), NOW, write=True, recognition=Recognition(own=lambda: pytest.fail("asked"))
    )
    [reading] = unasked.scan({"kmsg": lambda: Fixed([Record("other", "kmsg", trusted=True)])})
    assert reading.offences == 0


def test_records_that_tell_no_time_are_told_and_placed_by_their_stamps(store: Store) -> None:
    """The last of a log is of now, those before it came earlier; a lower stamp is a later boot."""
    stamps = [100.0, 160.5, 7.0, 8.0, None]
    records = [attrs.evolve(stamped(n, each), time=None) for n, each in enumerate(stamps)]
    records.append(stamped(9, 9.0))
    reading = scan(store, Fixed(records, position=None), policy=Policy(threshold=9))
    assert (reading.offences, reading.undated) == (6, 2)
    times = {o.peer_port: o.time for o in store.offences.of([A], 0)}
    assert times == {0: NOW - 68.5, 1: NOW - 8, 2: NOW - 1, 3: NOW, 4: NOW, 9: NOW}


def test_three_within_the_window_by_their_stamps_are_banned(store: Store) -> None:
    """Though nobody knows when that was."""
    for apart, banned in ((301.0, 0), (299.0, 1)):
        records = [
            attrs.evolve(shrunk(f"192.0.2.{banned}"), monotonic=n * apart, text=text)
            for n in range(3)
            for text in [f"Peer 192.0.2.{banned}:{n}/2 unexpectedly shrunk window 3:4 (repaired)"]
        ]
        reading = scan(store, Fixed(records, position=None), policy=THRICE)
        assert len(reading.bans) == banned


@pytest.mark.parametrize(
    ("apart", "counted"),
    [(0, 1), (5 * 3600, 1), (365 * 86400, 1), (366 * 86400 + 3600, 1), (61, 2), (86400 * 40, 2)],
)
def test_a_line_is_the_same_in_another_zone_and_year(
    store: Store, apart: int, counted: int
) -> None:
    """What it does not tell may be taken otherwise the next time; else it is of another boot."""
    lines = [attrs.evolve(stamped(1, 7.0), time=NOW - each) for each in (apart, 0)]
    assert scan(store, Fixed(lines, position=None), now=NOW + apart).offences == counted


def test_processors_may_be_out_of_order(store: Store) -> None:
    """A stamp that is a little higher than the next one is of no earlier boot."""
    records = [
        attrs.evolve(stamped(n, stamp), time=None)
        for n, stamp in enumerate([2592000.000005, 2592000.000003, 2592000.000009])
    ]
    assert len(scan(store, Fixed(records, position=None), policy=THRICE).bans) == 1


def test_what_a_source_knows_of_the_time_is_used(store: Store) -> None:
    """A log may have gone on after the last offence."""
    scan(store, Fixed([stamped(1, 5.0)], position=None))
    store.bans.lift([A], NOW + 10)
    old = attrs.evolve(stamped(2, 6.0), time=None, latest=NOW + 1.0)
    reading = scan(store, Fixed([old], position=None), now=NOW + 20)
    assert (reading.offences, reading.undated, reading.bans) == (1, 0, ())


@pytest.mark.parametrize(
    ("now", "stamps", "latest"), [(NOW, (5.0, 6.0), -200.0), (50, (100.0, 300.0), None)]
)
def test_a_time_before_1970_is_settled_by_no_ban_of_another(
    store: Store, now: int, stamps: tuple[float, float], latest: float | None
) -> None:
    """A file may say that it was changed in 1970; a machine without a clock begins there."""
    scan(store, Fixed([shrunk("192.0.2.1")], position=None), now=now)
    store.bans.lift([A], now + 1)
    records = [
        attrs.evolve(shrunk(f"192.0.2.{n}"), monotonic=stamp, latest=latest)
        for n, stamp in zip((2, 1), stamps, strict=True)
    ]
    reading = scan(store, Fixed(records, position=None), now=now + 2)
    assert B in [ban.network for ban in reading.bans]


@attrs.define
class Watching(Fixed):
    """Judges by itself what it was told to suspect."""

    recalled: list[Suspect] = attrs.field(factory=list)

    def recall(self, suspects: Sequence[Suspect]) -> None:
        """Take what is suspected, for the test to see."""
        self.recalled = [*suspects]

    def suspects(self) -> list[Suspect]:
        """Suspect one more."""
        number = len(self.recalled)
        made = Suspect(f"{number}", "zero-window", A, 1.5, 2, 4638, None, number == 1, "note")
        return [*self.recalled, made]


def test_what_a_source_suspects_is_given_to_the_next_one(store: Store) -> None:
    """As it was, and only to the source of that name; a scan that writes nothing keeps nothing."""
    for number in range(3):
        source = Watching([])
        scan(store, source, write=number < 2)
        assert [suspect.thing for suspect in source.recalled] == [f"{n}" for n in range(number)]
    assert store.suspects.of("it") == source.recalled
    assert store.suspects.of("another") == []


@pytest.mark.parametrize("report_only", [False, True])
def test_a_rule_that_only_reports_closes_nothing(store: Store, *, report_only: bool) -> None:
    """Nor does it where nobody is banned: of a peer in healthy company."""
    rules = [
        attrs.evolve(rule, report_only=report_only, sources=())
        for rule in RULES
        if rule.name == "zero-window-in-company"
    ]
    judged = Record("", "sockets", trusted=True, judgement=Judgement(rules[0].name, A))
    scan(store, Fixed([judged]), rules=rules)
    grounds = [] if report_only else [Ground.SPARED]
    assert [closing.ground for closing in store.closings.expected()] == grounds


def test_kernel_messages_do_not_look_back_for_the_rules_of_sockets(
    store: Store, mocker: MockerFixture
) -> None:
    """Their policies have thresholds and escalate; those of the messages do not."""
    asked = mocker.spy(store.offences, "of")
    endings = mocker.spy(store.history, "endings")
    scan(store, Fixed([shrunk("192.0.2.1")]))
    assert (asked.call_count, endings.call_count) == (0, 0)


def test_a_source_that_judges_nonsense_fails_by_itself(store: Store) -> None:
    """It is the plugin's mistake, and neither the database's nor ours; nothing is stored."""

    class Careless(Fixed):
        def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
            """Yield an address that is a text."""
            who = Judgement("zero-window", "192.0.2.1")  # type: ignore[arg-type]
            yield Record("seen", "it", trusted=True, judgement=who)

    reading = scan(store, Careless([]))
    assert "TypeError" in reading.error
    assert "must be <class 'reconciler.network.Network'>" in reading.error
    assert store.cursors.get("it") is None


@pytest.mark.parametrize(
    "wrong",
    [{"thing": 7}, {"address": "192.0.2.1"}, {"since": "soon"}, {"looks": None}, {"note": b""},
     {"peer_port": 65536}],
)  # fmt: skip
def test_a_suspect_is_what_can_be_stored(wrong: dict[str, object]) -> None:
    """Anything else is refused where it is made."""
    right = {"thing": "it", "rule": "r", "address": A, "since": 1, "looks": 1}
    assert Suspect(**right).since == 1.0  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError)):
        Suspect(**(right | wrong))  # type: ignore[arg-type]
