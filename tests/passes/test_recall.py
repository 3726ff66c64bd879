"""What is remembered of a backend is what it holds, and the plan from it what a full one would be.

A firewall in memory that gives a fingerprint, and a store that others write to as well.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from attrs import define, evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import BackendError, BackendUnreadable, Desired, Network, Networks, Observed, Plan
from reconciler.feeding import HELD, OBSERVED, FeedGroup
from reconciler.model import Ban
from reconciler.passes.enforce import Goal, Outcome, State, enforce
from reconciler.passes.recall import Recall
from reconciler.planning.desired import collapse, desired
from reconciler.planning.plan import plan
from reconciler.store.feeds import FeedState
from reconciler.store.store import Store, open_store
from reconciler.testing import Memory as Firewall

NOW = 1_000_000
RESYNC = 3600
A, B, C = (Network.parse(f"192.0.2.{i}") for i in (1, 2, 3))
WIDE = Network.parse("192.0.2.0/24")


@define
class Watched(Firewall):
    """Counts how often it is read as a whole; with ``trusting`` it confirms without reading."""

    reads: int = 0
    trusting: bool = False

    def observe(self) -> Observed:
        """Count."""
        self.reads += 1
        return super().observe()

    def confirm(self, plan: Plan) -> bool:
        """Trust."""
        return self.trusting or super().confirm(plan)


class Site:
    """A store, a firewall, and passes over them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = NOW
        self.firewall = Watched()
        self.exempt = Networks()
        self.narrowest = 0
        self._opened = open_store(path, write=True)
        self.store: Store = self._opened.__enter__()

    def close(self) -> None:
        """Close the store."""
        self._opened.__exit__(None, None, None)

    def ban(self, *networks: Network, length: int | None = None) -> None:
        """Ban for so many seconds."""
        until = None if length is None else self.now + length
        self.store.bans.add(Ban(network, self.now, until, "manual") for network in networks)

    def by_hand(self, statement: str, *values: object) -> None:
        """Let another program write to the database."""
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute(statement, values)

    def desired(self) -> Desired:
        """What is to be enforced, all of it."""
        bans = self.store.bans.networks(self.now, self.allows)[0]
        return desired(bans | self.fed(), self.exempt)

    def fed(self) -> Networks:
        """What feeds hold."""
        return self.store.feeds.held(self.now)

    def take(self, feed: str, groups: Iterable[tuple[Iterable[Network], int | None, str]]) -> None:
        """Let a feed bring networks, for so many seconds, of which not all are enforced."""
        taken = [
            FeedGroup(Networks.of(each), "", "", length and self.now + length, self.now, state)
            for each, length, state in groups
        ]
        self.store.feeds.take(FeedState(feed), taken, self.now)

    def allows(self, network: Network) -> bool:
        """Whether it may be banned unchecked."""
        return network.length >= self.narrowest

    def memory(self, *extra: Network, write: bool = False) -> Recall:
        """The memory of a pass at this time."""
        return Recall(
            self.store, self.now, f"{[*self.exempt]} {self.narrowest}", RESYNC,
            collapse(self.exempt), self.allows, Networks.of(extra), self.desired, write,
            fed=self.fed,
        )  # fmt: skip

    def pass_(self, *, full: bool = False, check: bool = False) -> Outcome:
        """Make a pass."""
        if not check:
            self.store.bans.expire(self.now)
            self.store.feeds.expire(self.now)
            self.store.bans.tidy()
            self.store.changes.forget(self.now - RESYNC)
        goal = Goal(self.desired, knowledge=self.memory(write=not check), full=full)
        [outcome] = enforce({"it": lambda: self.firewall}, goal, check=check)
        return outcome


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty site."""
    made = Site(tmp_path / "treason.db")
    yield made
    made.close()


def test_an_unchanged_pass_reads_nothing(site: Site) -> None:
    """Neither the firewall nor the bans."""
    site.ban(A, B)
    assert site.pass_().state is State.CHANGED
    reads, site.desired = site.firewall.reads, lambda: pytest.fail("the bans were read")  # type: ignore[method-assign]  # to notice it
    for check in (False, True):
        assert site.pass_(check=check).state is State.IN_SYNC
    assert site.firewall.reads == reads


def test_a_changed_pass_plans_from_what_changed(site: Site) -> None:
    """The plan holds one ban, and the million around it are not asked for."""
    site.ban(A, B)
    site.pass_()
    reads = site.firewall.reads
    site.ban(C)
    site.store.bans.lift([A], site.now)
    site.firewall.trusting = True
    site.desired = lambda: pytest.fail("the bans were read")  # type: ignore[method-assign]
    outcome = site.pass_()
    assert outcome.plan is not None
    assert ([*outcome.plan.banned.add], [*outcome.plan.banned.remove]) == ([C], [A])
    assert site.firewall.reads == reads
    assert site.firewall.tables["treason"].banned == {B, C}


def test_what_others_did_is_read(site: Site) -> None:
    """Another fingerprint, and nothing is believed."""
    site.ban(A)
    site.pass_()
    site.firewall.tables.clear()
    assert site.pass_(check=True).state is State.DRIFT
    assert site.pass_().state is State.CHANGED
    assert site.firewall.tables["treason"].banned == {A}


@pytest.mark.parametrize(
    "change",
    [
        lambda site: setattr(site, "now", NOW + RESYNC),
        lambda site: setattr(site, "now", NOW - 1),
        lambda site: setattr(site, "exempt", Networks.of([C])),
        lambda site: setattr(site, "narrowest", 8),
    ],
    ids=["the interval is over", "the clock is set back", "an exemption", "the configuration"],
)
def test_what_was_verified_for_something_else_is_read(
    change: Callable[[Site], None], site: Site
) -> None:
    """Although the fingerprint is the same."""
    site.ban(A)
    site.pass_()
    reads = site.firewall.reads
    change(site)
    site.pass_(check=True)
    assert site.firewall.reads == reads + 1


def test_full_reads_before_and_after(site: Site) -> None:
    """Whatever is remembered, and whatever is confirmed."""
    site.ban(A)
    site.pass_()
    reads = site.firewall.reads
    site.pass_(full=True)
    assert site.firewall.reads == reads + 1
    site.ban(B)
    site.pass_(full=True)
    assert site.firewall.reads == reads + 3


@pytest.mark.parametrize(
    ("statement", "values", "expected"),
    [
        ("INSERT INTO badips VALUES (datetime('now'), ?)", (str(C),), {A, C}),
        ("INSERT INTO badips VALUES (datetime('now'), ?)", ("192.0.0.0/9",), {A}),
        ("INSERT INTO badips VALUES (datetime('now'), ?)", ("nobody",), {A}),
        ("DELETE FROM bans", (), set()),
        ("UPDATE bans SET network = ?", (str(B),), {B}),
        ("UPDATE bans SET until = 1", (), set()),
        ("UPDATE bans SET network = '192.0.0.0/9', origin = 'badips'", (), set()),
    ],
)
def test_what_another_program_writes_is_enforced(
    statement: str, values: tuple[str, ...], expected: set[Network], site: Site
) -> None:
    """In a check as in a pass; what is no network or too wide is not."""
    site.narrowest = 16
    site.ban(A)
    site.pass_()
    site.by_hand(statement, *values)
    untidy = site.store.bans.exceptions(site.now, site.allows).untidy
    needed = site.memory(*untidy).recall("it", site.firewall.fingerprint())
    assert needed is not None
    assert (needed.needed is None) is (expected == {A})
    site.pass_()
    assert site.firewall.tables["treason"].banned == expected


def test_the_database_does_not_grow_with_each_pass(site: Site) -> None:
    """Changes are forgotten once every backend has them, but for the last one."""
    for turn in range(20):
        site.ban(Network.of(4, turn, 32))
        site.pass_()
    with closing(sqlite3.connect(site.path)) as database:
        assert database.execute("SELECT count(*) FROM changes").fetchone() == (1,)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM sqlite_sequence",
        "DELETE FROM changes",
        "DELETE FROM changes; DELETE FROM sqlite_sequence",
        "UPDATE sqlite_sequence SET seq = 0",
        "UPDATE sqlite_sequence SET seq = 0; DELETE FROM changes",
        "UPDATE sqlite_sequence SET seq = seq + 100",
        "DELETE FROM changes WHERE revision < (SELECT max(revision) FROM changes)",
    ],
)
@pytest.mark.parametrize("later", [1, 30])
def test_numbers_that_begin_anew_are_not_believed(statement: str, later: int, site: Site) -> None:
    """Whatever becomes of SQLite's own counter, and of the changes themselves."""
    for turn in range(9):
        site.ban(Network.of(4, turn, 32))
        site.pass_()
    with closing(sqlite3.connect(site.path)) as database:
        database.executescript(statement)
    bans = [Network.of(4, 0x0A000000 + turn, 32) for turn in range(later)]
    site.ban(*bans)
    site.firewall.trusting = True
    site.pass_()
    held = site.firewall.tables["treason"].banned
    assert held == {*bans, *(Network.of(4, turn, 32) for turn in range(9))}
    assert site.pass_().state is State.IN_SYNC


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM changes WHERE revision = (SELECT max(revision) FROM changes)",
        "DELETE FROM changes WHERE revision = (SELECT max(revision) - 1 FROM changes)",
    ],
)
def test_a_change_that_is_not_noted_any_more_is_missed(statement: str, site: Site) -> None:
    """The first, the last or one between: then all is read."""
    site.ban(A)
    site.pass_()
    site.pass_()
    site.ban(B)
    site.ban(C)
    site.by_hand(statement)
    site.firewall.trusting = True
    site.pass_()
    assert site.firewall.tables["treason"].banned == {A, B, C}


def test_a_pass_plans_from_what_a_feed_changed(site: Site) -> None:
    """What it lists anew and no more, but not what has a ban of its own; nothing else is read."""
    site.ban(A)
    site.take("list", [([A, B], None, HELD)])
    site.pass_()
    reads = site.firewall.reads
    site.take("list", [([C], None, HELD), ([WIDE], None, OBSERVED)])
    site.firewall.trusting = True
    site.desired = lambda: pytest.fail("the bans were read")  # type: ignore[method-assign]
    outcome = site.pass_()
    assert outcome.plan is not None
    assert ([*outcome.plan.banned.add], [*outcome.plan.banned.remove]) == ([C], [B])
    assert site.firewall.reads == reads
    assert site.firewall.tables["treason"].banned == {A, C}


@pytest.mark.parametrize("feed", [0, 1])
@pytest.mark.parametrize("key", ["ffee", "05c000020720", "04c00002072104", "04c000020718", "00"])
def test_a_change_of_what_is_no_network_is_not_believed(key: str, feed: int, site: Site) -> None:
    """All is read then."""
    site.ban(A)
    site.pass_()
    site.pass_()
    site.by_hand(f"INSERT INTO changes (key, feed) VALUES (x'{key}', {feed})")  # noqa: S608 - ours
    site.ban(B)
    assert site.pass_().failure == ""
    assert site.firewall.tables["treason"].banned == {A, B}


def test_a_trigger_that_is_gone_is_missed(site: Site) -> None:
    """Without it nothing would be noted."""
    site.ban(A)
    site.pass_()
    site.pass_()
    site.by_hand("DROP TRIGGER bans_added")
    site.ban(B)
    site.pass_()
    assert site.firewall.tables["treason"].banned == {A, B}


@define
class Partial(Watched):
    """Has a problem that is not its own, or could read one family alone."""

    problems: tuple[BackendError, ...] = ()
    versions: frozenset[int] = frozenset({4, 6})

    def observe(self) -> Observed:
        """Return it."""
        seen = super().observe()
        return evolve(seen, problems=self.problems, versions=self.versions)


@pytest.mark.parametrize("trusting", [False, True])
@pytest.mark.parametrize(("problems", "versions"), [((BackendError("asleep"),), {4, 6}), ((), {4})])
def test_what_has_problems_or_one_family_is_read_in_each_pass(
    problems: tuple[BackendError, ...], versions: set[int], trusting: bool, site: Site
) -> None:
    """It is not remembered, however it was confirmed; the problem is told each time."""
    site.firewall = Partial(trusting=trusting, problems=problems, versions=frozenset(versions))
    site.ban(A)
    failed = State.FAILED if problems else None
    for state in (failed or State.CHANGED, failed or State.IN_SYNC, failed or State.IN_SYNC):
        reads = site.firewall.reads
        outcome = site.pass_()
        assert (outcome.state, bool(outcome.failure)) == (state, bool(problems))
        assert site.firewall.reads > reads
    assert site.firewall.tables["treason"].banned == {A}


def test_nothing_is_noted_for_a_backend_that_has_no_fingerprint(site: Site) -> None:
    """Nor for one that is used no more, once its time is over."""
    site.ban(A)
    site.pass_()
    site.now += RESYNC + 1
    site.store.changes.forget(site.now - RESYNC)
    for turn in range(20):
        site.ban(Network.of(4, turn, 32))
    with closing(sqlite3.connect(site.path)) as database:
        assert database.execute("SELECT count(*) FROM changes").fetchone() == (1,)


@pytest.mark.parametrize("full", [False, True])
def test_what_another_writes_before_changes_are_noted_is_not_overlooked(
    full: bool, site: Site
) -> None:
    """The first pass is not remembered then."""
    site.ban(A)
    real = site.desired

    def meanwhile() -> Desired:
        wanted = real()
        site.desired = real  # type: ignore[method-assign]
        site.by_hand("DELETE FROM verified")
        site.by_hand("INSERT INTO badips VALUES (datetime('now'), ?)", str(B))
        return wanted

    site.desired = meanwhile  # type: ignore[method-assign]
    site.pass_(full=full)
    site.pass_()
    assert site.firewall.tables["treason"].banned == {A, B}


def test_nothing_is_remembered_of_what_is_not_verified(site: Site) -> None:
    """A pass that fails leaves the next one to read."""
    site.ban(A)
    site.firewall.faults.add("answer")
    assert site.pass_().state is State.FAILED
    site.firewall.faults.clear()
    reads = site.firewall.reads
    assert site.pass_().state is State.IN_SYNC
    assert site.firewall.reads == reads + 1


def test_a_ban_that_comes_while_the_first_pass_runs_is_not_overlooked(site: Site) -> None:
    """Changes are noted from before the bans are read."""
    site.ban(A)
    real = site.desired

    def meanwhile() -> Desired:
        wanted = real()
        site.desired = real  # type: ignore[method-assign]
        site.ban(B)
        return wanted

    site.desired = meanwhile  # type: ignore[method-assign]
    site.pass_()
    assert site.firewall.tables["treason"].banned == {A}
    site.pass_()
    assert site.firewall.tables["treason"].banned == {A, B}


def test_an_unreadable_fingerprint_is_an_error(site: Site) -> None:
    """It is not taken for a changed one."""
    site.ban(A)
    site.pass_()
    site.firewall.faults.add("observe")
    with pytest.raises(BackendUnreadable):
        site.firewall.fingerprint()
    assert site.pass_().state is State.FAILED


networks = st.builds(
    lambda address, bits: Network.of(4, 0x0A000000 | address >> bits << bits, 32 - bits),
    st.integers(0, 15), st.integers(0, 4),
)  # fmt: skip
steps = st.one_of(
    st.tuples(st.just("ban"), networks, st.sampled_from([None, 60, 90])),
    st.tuples(st.just("unban"), networks, st.none()),
    st.tuples(st.just("badips"), networks, st.none()),
    st.tuples(st.just("wait"), st.integers(1, 100), st.none()),
    st.tuples(st.just("pass"), st.none(), st.none()),
    st.tuples(
        st.sampled_from(["feed a", "feed b"]),
        st.lists(
            st.tuples(
                st.lists(networks, max_size=4),
                st.sampled_from([None, 60, 90]),
                st.sampled_from([HELD, HELD, OBSERVED]),
            ),
            max_size=3,
        ),
        st.none(),
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25), st.frozensets(networks, max_size=3))
def test_the_plan_is_what_a_full_comparison_gives(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[tuple[str, object, object]],
    exempt: frozenset[Network],
) -> None:
    """Whatever happened to nested and overlapping bans, in a check and in a pass."""
    site = Site(tmp_path_factory.mktemp("site") / "treason.db")
    site.exempt, site.narrowest = Networks.of(exempt), 30
    site.pass_()
    for what, subject, length in [*history, ("pass", None, None)]:
        match what, subject:
            case "ban", Network():
                site.ban(subject, length=length if isinstance(length, int) else None)
            case "unban", Network():
                site.store.bans.lift([subject], site.now)
            case "badips", Network():
                site.by_hand("INSERT INTO badips VALUES (datetime('now'), ?)", str(subject))
            case "wait", int():
                site.now += subject
            case "feed a" | "feed b", list():
                site.take(what, subject)
            case _:
                held = site.firewall.tables["treason"].banned
                untidy = site.store.bans.exceptions(site.now, site.allows).untidy
                known = site.memory(*untidy).recall("it", site.firewall.fingerprint())
                assert known is not None
                needed = plan(
                    site.desired(), Observed(held, site.firewall.tables["treason"].passed)
                )
                assert (known.needed and known.needed.banned) == (needed and needed.banned)
                assert known.enforced == len(held)
                site.pass_()
                assert site.firewall.tables["treason"].banned == site.desired().banned
    site.close()
