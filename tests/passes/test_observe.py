"""The mode observe: who would be banned is told and stored, and banned neither now nor later."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import pytest
from harness import Place

from reconciler import Network, Networks, Record
from reconciler.detection.detect import RULES
from reconciler.detection.policy import OBSERVE, Policy
from reconciler.model import Ban
from reconciler.passes.reading import Reading
from reconciler.passes.scan import Scanner
from reconciler.store.store import Store, open_store

NOW = 1_000_000
A, B = (Network.parse(f"192.0.2.{i}") for i in (1, 2))
WATCH = Policy(mode=OBSERVE)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with open_store(tmp_path / "db", write=True) as opened:
        yield opened


@attrs.frozen
class Fixed:
    """A source of given records, which brings them at each reading."""

    records: Sequence[Record]

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield them all."""
        return iter(self.records)

    def cursor(self) -> str | None:
        """Return no position."""


def at(moment: float, address: str, port: int = 1) -> Record:
    """Make the record of an offence of that time, about a connection of its own."""
    text = f"Peer {address}:{port}/2 unexpectedly shrunk window 3:4 (repaired)"
    return Record(text=text, carrier="kmsg", trusted=True, time=moment)


def observed(store: Store, policy: Policy, now: int, *records: Record, **how: object) -> Reading:
    """Scan records by a policy."""
    options = {"policy": policy, "now": now, "write": True} | how
    scanner = Scanner(store, **options)  # type: ignore[arg-type]  # options by name
    [reading] = scanner.scan({"it": lambda: Fixed(records)})
    return reading


def test_whom_rules_would_ban_is_stored_and_not_banned(store: Store) -> None:
    """With the end and the reason of the ban, how many offences there were, and when."""
    reading = observed(store, Policy(mode=OBSERVE, ban_for=60), NOW, *[at(NOW, "192.0.2.1")] * 2)
    assert (reading.offences, reading.new, reading.bans) == (2, 0, ())
    assert [ban.network for ban in reading.withheld] == [A]
    assert [*store.bans.active(NOW)] == []
    assert store.history.latest(None, 9) == []
    [found] = store.withheld.active(NOW)
    assert (found.ban.until, found.ban.origin) == (NOW + 60, "unexpectedly-shrunk")
    assert (found.offences, found.last) == (2, NOW)
    assert store.counts(NOW).withheld == 1
    assert [*store.withheld.active(NOW + 60)] == []


def test_a_check_tells_it_and_stores_nothing(store: Store) -> None:
    """As it does of bans."""
    reading = observed(store, WATCH, NOW, at(NOW, "192.0.2.1"), write=False)
    assert [ban.network for ban in reading.withheld] == [A]
    assert [*store.withheld.active(NOW)] == []


def test_more_offences_are_counted_and_told_once(store: Store) -> None:
    """The same as a ban that there is: it is not made again, but grows longer."""
    policy = Policy(mode=OBSERVE, ban_for=60)
    assert observed(store, policy, NOW, at(NOW, "192.0.2.1")).withheld
    longer = observed(store, policy, NOW + 10, at(NOW + 10, "192.0.2.1", 7))
    assert [ban.until for ban in longer.withheld] == [NOW + 70]
    assert not observed(store, policy, NOW + 10, at(NOW + 9, "192.0.2.1", 8)).withheld
    assert [(e.offences, e.last) for e in store.withheld.active(NOW + 10)] == [(3, NOW + 10)]


def test_what_is_stored_and_what_is_banned_by_hand_stays(store: Store) -> None:
    """Nor is a network that is banned for good listed as one that would be."""
    store.bans.add([Ban(A, NOW - 5, None, "manual"), Ban(B, NOW - 5, NOW + 5, "manual")])
    reading = observed(store, WATCH, NOW, at(NOW, "192.0.2.1"), at(NOW, "192.0.2.2"))
    assert [ban.network for ban in reading.withheld] == [B]
    assert [(ban.network, ban.until) for ban in store.bans.active(NOW)] == [
        (A, None),
        (B, NOW + 5),
    ]
    store.bans.add([Ban(B, NOW, None, "manual")])
    assert store.counts(NOW).withheld == 0


def test_nothing_observed_bans_afterwards(store: Store) -> None:
    """Read again, read late from another log, or as a part of a threshold: it is settled."""
    enforce = Policy(threshold=2, window=600)
    watch = attrs.evolve(enforce, mode=OBSERVE)
    first = [at(NOW + each, "192.0.2.1", 1 + each) for each in range(3)]
    assert observed(store, watch, NOW + 3, *first).withheld
    late = at(NOW + 1, "192.0.2.1", 99)
    assert observed(store, enforce, NOW + 4, *first, late).bans == ()
    assert observed(store, enforce, NOW + 5, at(NOW + 5, "192.0.2.1", 50)).bans == ()
    again = observed(store, enforce, NOW + 6, at(NOW + 6, "192.0.2.1", 51))
    assert [ban.network for ban in again.bans] == [A]
    assert store.counts(NOW).withheld == 0


def test_an_offence_after_the_observing_bans_at_once(store: Store) -> None:
    """What did not lead to a ban that was withheld helps to reach the threshold as ever."""
    assert observed(store, WATCH, NOW, at(NOW, "192.0.2.1")).withheld
    assert observed(store, Policy(), NOW + 1, at(NOW + 1, "192.0.2.1", 7)).bans
    observed(store, Policy(mode=OBSERVE, threshold=2), NOW, at(NOW, "192.0.2.2"))
    reading = observed(store, Policy(threshold=2), NOW + 1, at(NOW + 1, "192.0.2.2", 7))
    assert [ban.network for ban in reading.bans] == [B]


def test_report_only_rules_withhold_nothing_and_limits_refuse_nothing(store: Store) -> None:
    """``max_new_bans`` is for bans that are made; offences that only report count no ban."""
    policy = Policy(mode=OBSERVE, max_new_bans=1)
    records = (at(NOW, "192.0.2.1"), at(NOW, "192.0.2.2"))
    assert len(observed(store, policy, NOW, *records).withheld) == 2
    rules = [attrs.evolve(rule, report_only=True) for rule in RULES]
    reading = observed(store, WATCH, NOW, at(NOW, "192.0.2.3"), rules=rules)
    assert (reading.reported, reading.withheld) == (1, ())
    assert store.counts(NOW).withheld == 2


def test_they_are_kept_as_long_as_the_history(store: Store) -> None:
    """And not longer."""
    observed(store, WATCH, NOW, at(NOW, "192.0.2.1"))
    store.prune(NOW + 100, 10, 100)
    assert store.counts(NOW).withheld == 1
    store.prune(NOW + 90_000, 10, 100)
    assert store.counts(NOW).withheld == 0


def test_the_commands_tell_who_would_be_banned(
    place: Place, seed_log: Path, nft: Callable[..., str]
) -> None:
    """``reconcile``, ``status`` and ``list``; nothing is dropped, also by a later pass."""
    source = f'[source.file]\npath = "{seed_log}"\ntrusted = true'
    place.configure(f'[policy]\nmode = "observe"\n{source}', main='sources = ["file"]')
    assert "rules ban nobody now" in place.treason("status").out
    place.treason("ban", "198.51.100.9")
    first = place.treason("reconcile", "-v")
    assert first.code == 0
    assert "0 new bans, 2 bans withheld (mode observe)" in first.out
    assert "would be banned: 117.79.83.112 permanently" in first.out
    assert "2 networks would be banned: 117.79.83.112, 218.14.17.182" in place.treason("status").out
    listed = place.treason("list", "--observed-only").out.splitlines()
    assert [line.split("\t")[0] for line in listed] == ["117.79.83.112", "218.14.17.182"]
    place.configure(source, main='sources = ["file"]')
    assert place.treason("reconcile").code == 0
    held = nft("list ruleset")
    assert "198.51.100.9" in held
    assert "117.79.83.112" not in held
    assert "rules ban again; 2 networks would have been banned" in place.treason("status").out


def test_who_is_exempt_would_not_be_banned(store: Store) -> None:
    """Nobody is told of a ban that would not be enforced either."""
    exempt = Networks.of([A])
    reading = observed(store, WATCH, NOW, at(NOW, "192.0.2.1"), at(NOW, "192.0.2.2"), exempt=exempt)
    assert [ban.network for ban in reading.withheld] == [B]
    assert [each.ban.network for each in store.withheld.active(NOW)] == [B]
