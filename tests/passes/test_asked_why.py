"""How backends are asked about one network, and what is made of what they say."""

import socket
from collections.abc import Iterable, Mapping

import pytest
from attrs import evolve
from harness import Place
from pytest_mock import MockerFixture

from reconciler import (
    Answer,
    BackendPlugin,
    BackendUnreadable,
    Connection,
    Damage,
    Decision,
    Held,
    Network,
    Observed,
)
from reconciler.config.setup import Setup
from reconciler.execute import run
from reconciler.passes.question import Question
from reconciler.passes.why import Standing, Verdict, Why
from reconciler.store.store import open_store
from reconciler.testing import Memory

N = Network.parse
HOST, NETWORK = N("203.0.113.7"), N("203.0.113.0/24")


class Asked(Memory):
    """A backend that says what the test lets it say."""

    answer: Held | Exception = Held()

    def holds(self, network: Network) -> Held:
        """Return it."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def explained(
    place: Place, backend: Memory, asked: Network = HOST, *, enforces: bool = True
) -> Why:
    """Return why it is dropped or not, by one backend."""
    setup = Setup(str(place.config))
    kind = BackendPlugin("toy", lambda _: backend, drops_packets=enforces)
    setup.plugins = evolve(setup.plugins, backends={"toy": kind})
    with open_store(place.database, write=False) as store:
        return Question(setup, store, 1_000, {"toy": lambda: backend}).ask(asked)


def asked(place: Place, answer: Held | Exception, network: Network = HOST) -> Standing:
    """Return how a backend stands that says this."""
    backend = Asked()
    backend.answer = answer
    [standing] = explained(place, backend, network).standings
    return standing


def rules(*told: tuple[str, bool | None]) -> list[Decision]:
    """Return decisions of one network each."""
    return [Decision([N(text)], drops, f"rule {text}") for text, drops in told]


@pytest.mark.parametrize(
    ("told", "drops", "doubtful"),
    [
        ([("203.0.113.7", True)], ["203.0.113.7"], []),
        ([("203.0.113.0/25", False), ("203.0.113.0/24", True)], ["203.0.113.128/25"], []),
        ([("203.0.113.0/24", True), ("203.0.113.0/25", False)], ["203.0.113.0/24"], []),
        ([("0.0.0.0/0", None), ("203.0.113.7", True)], [], ["203.0.113.0/24"]),
        ([("203.0.113.0/25", True), ("0.0.0.0/0", None)], ["203.0.113.0/25"],
         ["203.0.113.128/25"]),
        ([("203.0.113.7", False), ("203.0.113.7", None), ("203.0.113.6/31", True)],
         ["203.0.113.6"], []),
        ([("203.0.0.0/16", True)], ["203.0.113.0/24"], []),
    ],
)  # fmt: skip
def test_the_first_rule_decides(
    told: list[tuple[str, bool | None]],
    drops: list[str],
    doubtful: list[str],
    place: Place,
    host: None,
) -> None:
    """What a later one says of the same addresses does not matter, and nothing is guessed."""
    standing = asked(place, Held(rules(*told)), NETWORK)
    assert [str(each) for each in standing.drops] == drops
    assert [str(each) for each in standing.doubtful] == doubtful


def test_what_packets_do_not_come_to_drops_nobody(place: Place, host: None) -> None:
    """Or perhaps somebody, where only some come."""
    for reached, dropped, unclear in ((True, 1, 0), (None, 0, 1), (False, 0, 0)):
        standing = asked(place, Held(rules(("203.0.113.7", True)), reached=reached))
        assert (len(standing.dropped), len(standing.unclear)) == (dropped, unclear)


@pytest.mark.parametrize("damage", [(), (Damage("it", "is broken"),)])
def test_a_backend_that_cannot_be_asked_is_read(
    damage: tuple[Damage, ...], place: Place, host: None, mocker: MockerFixture
) -> None:
    """What is wrong with it may let packets through: then it is not sure."""
    seen = Observed([NETWORK], [N("203.0.113.8")], damage)
    mocker.patch.object(Memory, "observe", return_value=seen)
    why = explained(place, Memory())
    assert why.verdict is (Verdict.PARTLY if damage else Verdict.DROPPED)
    assert explained(place, Memory(), N("203.0.113.8")).verdict is Verdict.PASSED
    assert explained(place, Memory(), N("203.0.114.8")).verdict is Verdict.PASSED
    assert explained(place, Memory(), enforces=False).verdict is Verdict.PASSED


@pytest.mark.parametrize("error", [BackendUnreadable("it is gone"), RuntimeError("a bug")])
def test_one_that_fails_hides_nothing(error: Exception, place: Place, host: None) -> None:
    """It cannot be told, which is neither dropped nor passed."""
    backend = Asked()
    backend.answer = error
    why = explained(place, backend)
    assert why.verdict is Verdict.UNKNOWN
    assert str(error) in why.standings[0].error


def test_a_witness_that_fails_says_nothing(place: Place, host: None, mocker: MockerFixture) -> None:
    """The page is shown without its verdict."""

    class Broken:
        """A source that judges, and cannot."""

        def confirm(self, _connections: Iterable[Connection]) -> Mapping[Connection, Answer]:
            """Fail."""
            raise RuntimeError

    mocker.patch.object(Setup, "witness", return_value=(Broken, True))
    run(["ip", "link", "set", "lo", "up"])
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
        server.accept()[0],
    ):
        why = explained(place, Asked(), N("127.0.0.1"))
    assert {each.answer for each in why.sockets} == {None}
