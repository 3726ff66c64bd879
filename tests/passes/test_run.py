"""A pass as a whole: its steps in order, each read once, nothing written by a check."""

from collections.abc import Iterator, Sequence

import pytest
from harness import Place
from pytest_mock import MockerFixture

from reconciler import Network, Record
from reconciler.config.setup import Setup
from reconciler.model import Ban
from reconciler.passes import access, run
from reconciler.passes.enforce import State
from reconciler.passes.run import Options, Pass, PassResult
from reconciler.store.store import Store
from reconciler.testing import Memory

NOW = 1_000_000
A, B = Network.parse("192.0.2.1"), Network.parse("192.0.2.2")
MESSAGE = "TCP: Treason uncloaked! Peer 192.0.2.2:1/80 shrinks window 1:2. Repaired."


class Tape:
    """A source with one message."""

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield it once."""
        if cursor is None:
            yield Record(MESSAGE, "tape", trusted=True)

    def cursor(self) -> str:
        """Return the end."""
        return "end"


@pytest.fixture
def setup(place: Place) -> Setup:
    """A set-up that protects nobody of this machine."""
    place.configure("[protect]\nown_addresses = false\ngateways = false\nresolvers = false\n")
    return Setup(str(place.config))


def make(setup: Setup, store: Store, backend: Memory, options: Options) -> PassResult:
    """Make a pass over the tape and a firewall in memory."""
    return Pass(
        setup, store, NOW, sources={"tape": Tape}, backends={"it": lambda: backend}, options=options
    ).run()


def test_what_a_source_brings_is_enforced_in_the_same_pass(setup: Setup) -> None:
    """With what is stored, but without what has ended; the next pass finds nothing to do."""
    backend = Memory()
    with access.opened(setup, write=True) as store:
        ended = Ban(Network.parse("192.0.2.3"), 1, NOW, "manual")
        store.bans.add([Ban(A, 1, None, "manual"), ended])
        result = make(setup, store, backend, Options())
        assert (result.ended, result.failed, result.drifted) == (["192.0.2.3"], False, False)
        assert [reading.new for reading in result.readings] == [1]
        assert [outcome.state for outcome in result.outcomes] == [State.CHANGED]
        assert backend.observe().banned == {A, B}
        [outcome] = make(setup, store, backend, Options()).outcomes
        assert outcome.state is State.IN_SYNC
        assert store.history.latest(ended.network, 1)[0].action == "expiry"


def test_a_check_stores_and_changes_nothing(setup: Setup) -> None:
    """It finds the drift that the source would cause."""
    backend = Memory()
    with access.opened(setup, write=True) as store:
        store.bans.add([Ban(A, 1, None, "manual"), Ban(B, 1, NOW, "manual")])
        result = make(setup, store, backend, Options(check=True, write=False))
        assert (result.drifted, result.failed) == (True, False)
        assert backend.tables == {}
        assert store.cursors.sources() == ()
        assert store.bans.ended(NOW) == [str(B)]


def test_protection_and_exceptions_are_read_once(setup: Setup, mocker: MockerFixture) -> None:
    """However many sources and backends there are, and also when one is read as a whole."""
    with access.opened(setup, write=True) as store:
        store.bans.add([Ban(Network.of(4, i, 32), 1, None, "manual") for i in range(20)])
        read = [
            mocker.patch.object(run, "protection", wraps=access.protection),
            mocker.patch.object(store.bans, "exceptions", wraps=store.bans.exceptions),
        ]
        backends = {"a": Memory, "b": Memory}
        Pass(setup, store, NOW, sources={"tape": Tape}, backends=backends).run()
    assert [each.call_count for each in read] == [1, 1]


def test_a_scan_asks_for_no_goal(setup: Setup) -> None:
    """Without backends nothing is worked out, and what was verified is left alone."""
    with access.opened(setup, write=True) as store:
        result = Pass(setup, store, NOW, sources={"tape": Tape}).run()
    assert ([ban.network for ban in result.readings[0].bans], result.outcomes) == ([B], [])


def test_secrets_of_plugins_are_not_stored(place: Place) -> None:
    """The digest of what was verified does not hold their settings."""
    place.configure('[backend.file]\npath = "/tmp/hunter2"\n')
    setup = Setup(str(place.config))
    with access.opened(setup, write=True) as store:
        Pass(setup, store, NOW, backends={"it": Memory}).run()
        verified = store.changes.verified("it")
    assert verified is not None
    assert "hunter2" not in verified.digest
