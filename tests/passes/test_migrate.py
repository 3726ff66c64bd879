"""Moving from one backend to another."""

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import define, evolve, field
from harness import Place, Result
from pytest_mock import MockerFixture

from reconciler import BackendError, BackendPlugin, Network, Observed, Plan
from reconciler.config import plugins
from reconciler.model import Desired
from reconciler.passes.enforce import Goal, Outcome, State
from reconciler.passes.migrate import move
from reconciler.planning.desired import desired
from reconciler.planning.guard import Guard
from reconciler.planning.plan import Causes
from reconciler.testing import Memory, Table

Nft = Callable[..., str]

WANTED = desired([Network.parse("192.0.2.7")], [])
HELD = Table(frozenset(Network.of(4, 0x0B000000 + index, 32) for index in range(20)))


def moved(
    old: Memory, new: Memory, state: Desired = WANTED, guard: Guard | None = None
) -> list[Outcome]:
    """Move between two firewalls in memory."""
    return list(move(("old", lambda: old), ("new", lambda: new), Goal(lambda: state, guard)))


def test_the_new_one_holds_all_before_the_old_one_is_torn_down() -> None:
    """The old one is there when the new one is made, and gone at the end."""
    old = Memory(tables={"treason": Table(WANTED.banned)})

    class Watching(Memory):
        def apply(self, plan: Plan) -> None:
            assert "treason" in old.tables
            super().apply(plan)

    new = Watching()
    outcomes = moved(old, new)
    assert [(o.backend, o.state) for o in outcomes] == [
        ("new", State.CHANGED),
        ("old", State.REMOVED),
    ]
    assert (old.tables, new.observe().banned) == ({}, WANTED.banned)


@pytest.mark.parametrize("step", ["begin", "commit", "observe"])
def test_a_new_one_that_fails_leaves_the_old_one_alone(step: str) -> None:
    """Also one that cannot be read back."""
    old = Memory(tables={"treason": Table(WANTED.banned)})
    [outcome] = moved(old, Memory(faults={step}))
    assert (outcome.backend, outcome.state) == ("new", State.FAILED)
    assert old.observe().banned == WANTED.banned


def test_an_old_one_that_cannot_be_read_is_left_alone() -> None:
    """Nobody knows what would be lifted."""
    new = Memory()
    [outcome] = moved(Memory(faults={"observe"}), new)
    assert (outcome.backend, bool(outcome.error), new.tables) == ("old", True, {})


@define
class Unreached(Memory):
    """A firewall that no packet comes to."""

    def observe(self) -> Observed:
        """Return it."""
        return evolve(super().observe(), problems=[BackendError("nobody comes here")])


def test_one_that_packets_do_not_come_to_can_be_left_and_not_be_entered() -> None:
    """It drops nobody."""
    held = {"treason": Table(WANTED.banned)}
    left = moved(Unreached(tables=dict(held)), Memory())
    assert [o.state for o in left] == [State.CHANGED, State.REMOVED]
    stays = Memory(tables=dict(held))
    [made] = moved(stays, Unreached())
    assert (made.failure, stays.tables) == ("nobody comes here", held)


def test_a_lost_database_does_not_open_the_gates() -> None:
    """What the old one holds without being desired is guarded as in a pass."""
    old, new = Memory(tables={"treason": HELD}), Memory()
    [outcome] = moved(old, new, Desired(), Guard(0.3, Causes))
    assert "refusing to remove 20 of 20" in outcome.error
    assert (old.tables["treason"], new.tables) == (HELD, {})
    assert len(moved(old, new, Desired(), None)) == 2


def test_a_teardown_that_fails_is_told() -> None:
    """Both enforce then."""
    old, new = Memory(tables={"treason": HELD}, faults={"teardown"}), Memory()
    [_, removed] = moved(old, new)
    assert (removed.backend, removed.state) == ("old", State.FAILED)
    assert new.observe().banned == WANTED.banned


def test_what_both_own_is_there_at_the_end() -> None:
    """The teardown of the old one takes the shared table away; it is made again."""
    tables: dict[str, Table] = {}
    outcomes = moved(Memory(tables=tables), Memory(tables=tables))
    assert [o.state for o in outcomes] == [State.CHANGED, State.REMOVED, State.CHANGED]
    assert tables["treason"].banned == WANTED.banned


def test_the_command_moves_and_says_what_to_write(place: Place, nft: Nft) -> None:
    """From nftables to a list and back; the table goes only when the list is there."""
    path = place.path / "list"
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    result = place.treason("migrate", "--from", "nftables", "--to", f"file:{path}")
    assert result.code == 0, result.err
    assert f'set backends = ["file:{path}"] in [treason]' in result.err
    assert (path.read_text(), nft("list ruleset")) == ("192.0.2.7\n", "")
    result = place.treason("migrate", "--from", f"file:{path}", "--to", "nftables")
    assert (result.code, result.err) == (0, "")
    assert not path.exists()
    assert "192.0.2.7" in nft("list ruleset")


def test_a_move_that_fails_says_who_enforces(place: Place, nft: Nft, tmp_path: Path) -> None:
    """The old one does; both names must differ."""
    result = place.treason("migrate", "--from", "nftables", "--to", f"file:{tmp_path}/list")
    assert (result.code, "there is no database" in result.err) == (1, True)
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    result = place.treason("migrate", "--from", "nftables", "--to", f"file:{tmp_path}/no/list")
    assert result.code == 1
    assert "nftables was not removed; it still drops what it dropped before" in result.err
    assert "192.0.2.7" in nft("list ruleset")
    assert "name two different backends" in place.treason("migrate", "--from", "x", "--to", "x").err


def test_backends_that_would_own_one_object_are_not_used_at_once(
    place: Place, tmp_path: Path
) -> None:
    """The refusal names both, the object, and the way from one to the other."""
    (tmp_path / "link").symlink_to(tmp_path / "list")
    names = [f"file:{tmp_path}/list", f"file:{tmp_path}/link"]
    result = place.treason("reconcile", "--no-scan", "--backend", names[0], "--backend", names[1])
    assert result.code == 1
    assert f"backends '{names[0]}' and '{names[1]}' would both manage {tmp_path}/list" in result.err
    assert f"treason migrate --from {names[0]} --to {names[1]}" in result.err


def _fail() -> int:
    raise BaseException("no luck")  # noqa: TRY002 - plugins raise whatever they like


def reconciled_beside(strange: BackendPlugin, place: Place, mocker: MockerFixture) -> Result:
    """Enforce one ban with a plugin's backend and, after it, with a file."""
    made = plugins.load()
    found = evolve(made, backends={**made.backends, strange.name: strange})
    mocker.patch.object(plugins, "load", return_value=found)
    place.treason("ban", "192.0.2.7")
    names = ("--backend", strange.name, "--backend", f"file:{place.path}/list")
    return place.treason("reconcile", "--no-scan", *names)


@pytest.mark.parametrize(
    "claims",
    [
        lambda _: None,
        lambda _: "one name",
        lambda _: [[1]],
        lambda _: 1 // 0,
        "not callable",
    ],
)
def test_a_backend_that_cannot_tell_what_it_owns_is_not_used(
    claims: Callable[[object], list[str]], place: Place, mocker: MockerFixture
) -> None:
    """It is named; the others go on."""
    strange = BackendPlugin("strange", lambda _: Memory(), claims=claims)
    result = reconciled_beside(strange, place, mocker)
    assert (result.code, "backend 'strange': its claims failed" in result.err) == (1, True)
    assert (place.path / "list").read_text() == "192.0.2.7\n"


def test_a_plugin_whose_settings_fail_does_not_stop_the_others(
    place: Place, mocker: MockerFixture
) -> None:
    """What goes wrong in its own code is its own."""

    @define
    class Leaving:
        level: int = field(factory=_fail)

    strange = BackendPlugin("strange", lambda _: Memory(), Leaving)
    result = reconciled_beside(strange, place, mocker)
    assert (result.code, "backend 'strange': its settings failed" in result.err) == (1, True)
    assert (place.path / "list").read_text() == "192.0.2.7\n"
