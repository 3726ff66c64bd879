"""What a pass gives feeds to tell others: the bans of the rules that the configuration names."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from attrs import evolve
from harness import SEED, Place

from reconciler.errors import StoreError
from reconciler.feeds import outbox
from reconciler.feeds.outbox import Told
from reconciler.host import clock
from reconciler.model import Ban
from reconciler.network import Network
from reconciler.passes.publishing import prepare, publish, publish_ahead, settle
from reconciler.store.store import Store, open_store

NOW = 1_800_000_000
A, B = Network.parse("192.0.2.1"), Network.parse("2001:db8::/64")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open store."""
    with open_store(tmp_path / "treason.db", write=True) as opened:
        yield opened


def given(directory: Path, after: int = 0) -> list[Told]:
    """Return what the feed's process reads."""
    return outbox.read(directory / "outbox" / "b.db", after)


def test_a_pass_gives_the_bans_of_the_rules_that_are_named(
    place: Place, host: None, seed_log: Path
) -> None:
    """Not those by hand, nor of another rule; and that one was lifted."""
    place.configure('[feed.b]\ntype = "list"\npath = "/nowhere"\npublish = ["treason-uncloaked"]')
    assert seed_log.read_text() == SEED
    assert place.treason("ban", "203.0.113.1").code == 0
    place.treason("reconcile", "--source", f"file:{seed_log}")
    first = given(place.path)
    assert [str(each.network) for each in first] == ["117.79.83.112", "218.14.17.182"]
    assert all(each.banned and each.until is None for each in first)
    assert (place.path / "outbox").stat().st_mode & 0o777 == 0o755
    place.treason("unban", "218.14.17.182")
    place.treason("reconcile", "--no-scan")
    place.treason("reconcile", "--no-scan")
    assert given(place.path, first[-1].id) == [Told(Network.parse("218.14.17.182"), banned=False)]


def test_what_people_ban_and_unban_is_given_at_once(place: Place) -> None:
    """By the command itself, whoever enforces it; where that fails, it is stored all the same."""
    place.configure('[feed.b]\ntype = "list"\npath = "/nowhere"\npublish = ["manual"]')
    one, two = Network.parse("192.0.2.1"), Network.parse("192.0.2.2")
    assert place.treason("ban", str(one), str(two), "--reason", "odd").code == 0
    first = given(place.path)
    assert first == [Told(one, reason="odd"), Told(two, reason="odd")]
    assert place.treason("unban", str(one)).code == 0
    second = given(place.path, first[-1].id)
    assert second == [Told(one, banned=False)]
    assert place.treason("unban", "--all").code == 0
    assert given(place.path, second[-1].id) == [Told(two, banned=False)]
    outbox.of(place.database, "b").unlink()
    outbox.of(place.database, "b").mkdir()
    result = place.treason("ban", str(one))
    assert (result.code, "behind the next pass" in result.err) == (0, True)
    assert str(one) in place.treason("list").out


def test_who_is_to_publish_nothing_any_more_takes_back_what_it_told(place: Place) -> None:
    """As where one rule of several is left out; a feed that never published gets no outbox."""
    table = '[feed.{}]\ntype = "list"\npath = "/nowhere"\npublish = [{}]\n'
    place.configure(table.format("b", '"manual"') + table.format("a", ""))
    assert place.treason("ban", str(A)).code == 0
    [told] = given(place.path)
    place.configure(table.format("b", ""))
    place.treason("reconcile", "--no-scan")
    place.treason("reconcile", "--no-scan")
    assert given(place.path, told.id) == [Told(A, banned=False)]
    assert [each.name for each in (place.path / "outbox").glob("*.db")] == ["b.db"]
    last = given(place.path)[-1].id
    place.configure(table.format("b", '"manual"'))
    place.treason("reconcile", "--no-scan")
    assert given(place.path, last) == [Told(A)]


def test_what_another_database_told_is_taken_back(place: Place) -> None:
    """Where one is begun anew, what it lacks ends for the others."""
    place.configure('[feed.b]\ntype = "list"\npath = "/nowhere"\npublish = ["manual"]')
    one, two, three = (Network.parse(f"192.0.2.{number}") for number in (1, 2, 3))
    assert place.treason("ban", str(one), str(two), str(three)).code == 0
    assert place.treason("unban", str(three)).code == 0
    last = given(place.path)[-1].id
    place.database.unlink()
    assert place.treason("init", "--new-database").code == 0
    assert place.treason("ban", str(one)).code == 0
    assert given(place.path, last) == [Told(two, banned=False), Told(one)]
    last = given(place.path)[-1].id
    assert place.treason("unban", str(one)).code == 0
    assert given(place.path, last) == [Told(one, banned=False)]


def tell(store: Store, *rules: str, now: int = NOW) -> list[Told]:
    """Make the step, and return what it gave."""
    before = given(store.path.parent) if (store.path.parent / "outbox/b.db").exists() else []
    publish(store, {"b": rules}, now)
    after = given(store.path.parent) if (store.path.parent / "outbox/b.db").exists() else []
    return after[len(before) :]


def test_what_changes_is_given_once(store: Store) -> None:
    """Another end is told again; what has ended by its time is not told to be lifted.

    A rule's name is the reason: the message differs from ban to ban. By hand it is what was given.
    """
    store.bans.add([Ban(A, NOW, NOW + 60, "x", "bad"), Ban(B, NOW, None, "manual", "worse")])
    assert tell(store, "x") == [Told(A, until=NOW + 60, reason="x")]
    assert tell(store, "x") == []
    store.bans.add([Ban(A, NOW, NOW + 90, "x", "bad")])
    assert tell(store, "x") == [Told(A, until=NOW + 90, reason="x")]
    store.bans.expire(NOW + 100)
    assert tell(store, "x", now=NOW + 100) == []
    assert tell(store, "x", "manual", now=NOW + 100) == [Told(B, reason="worse")]
    assert tell(store, "x", now=NOW + 100) == [Told(B, banned=False)]


def test_what_others_told_us_is_never_given(store: Store) -> None:
    """Whatever the configuration names: else two machines would tell each other for ever."""
    store.bans.add([Ban(A, NOW, None, "import:x", ""), Ban(B, NOW, None, "feed:a", "")])
    assert tell(store, "import:x", "import", "feed:a") == []


def test_where_the_outbox_is_gone_all_is_given_anew(store: Store) -> None:
    """Nobody knows what of it was read."""
    store.bans.add([Ban(A, NOW, None, "x", "")])
    tell(store, "x")
    (store.path.parent / "outbox/b.db").unlink()
    assert tell(store, "x") == [Told(A, reason="x")]


def ahead(store: Store, *networks: Network, then: type[Exception] | None = None) -> None:
    """Ban these for the rule x, and give that ahead; fail then, or store it."""
    with suppress(*[then] if then else []), store.transaction():
        since = store.carried.last_event
        store.bans.add([Ban(each, NOW, None, "x", "bad") for each in networks])
        assert publish_ahead(store, {"b": ["x"]}, networks, NOW, since) == ["b"]
        if then:
            raise then
    if not then:
        settle(store, ["b"], NOW)


def test_what_is_given_ahead_is_given_once(store: Store) -> None:
    """Before it is stored; the pass behind it finds nothing that is due."""
    tell(store, "x")
    ahead(store, A)
    assert given(store.path.parent) == [Told(A, reason="x")]
    assert tell(store, "x") == []
    ahead(store, B)
    assert given(store.path.parent)[1:] == [Told(B, reason="x")]
    assert tell(store, "x") == []


def test_what_else_has_happened_is_given_behind_it(store: Store) -> None:
    """Before it was given ahead, or in the same transaction."""
    tell(store, "x")
    store.bans.add([Ban(A, NOW, None, "x", "bad")])
    ahead(store, B)
    assert tell(store, "x") == [Told(A, reason="x")]
    with store.transaction():
        since = store.carried.last_event
        store.bans.lift([A], NOW)
        store.bans.add([Ban(B, NOW, NOW + 9, "x", "bad")])
        assert publish_ahead(store, {"b": ["x"]}, [B], NOW, since) == ["b"]
    settle(store, ["b"], NOW)
    assert tell(store, "x") == [Told(A, banned=False)]
    assert tell(store, "x") == []


def test_what_was_given_ahead_and_never_stored_is_taken_back(store: Store) -> None:
    """As where the power fails in between, or the disk is full; what is stored is told again."""
    tell(store, "x")
    ahead(store, A)
    ahead(store, B, then=KeyError)
    assert given(store.path.parent) == [Told(A, reason="x"), Told(B, reason="x")]
    assert tell(store, "x") == [Told(B, banned=False), Told(A, reason="x")]
    assert tell(store, "x") == []
    ahead(store, B, then=KeyError)
    store.bans.add([Ban(B, NOW, None, "x", "bad")])
    assert tell(store, "x") == [Told(A, reason="x"), Told(B, reason="x")]
    assert tell(store, "x") == []


def test_nothing_is_given_ahead_where_all_is_to_be_given_anew(store: Store) -> None:
    """Nor to an outbox that is not there yet."""
    for _ in range(2):
        with pytest.raises(StoreError, match="given anew"):
            ahead(store, A)
        prepare(store, {"b": ["x"]}, NOW)
    assert given(store.path.parent) == []
    store.bans.add([Ban(A, NOW, None, "x", "bad")])
    assert tell(store, "x") == [Told(A, reason="x")]


def test_an_outbox_of_an_earlier_boot_is_not_believed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is written to it waits for the disk: any of it may be missing, or too much."""
    store.bans.add([Ban(A, NOW, None, "x", "bad")])
    tell(store, "x")
    path = outbox.of(store.path, "b")
    outbox.write(path, [Told(B, reason="lost")], NOW)
    assert tell(store, "x") == []
    last = given(store.path.parent)[-1].id
    boot = evolve(clock.look(), boot="another")
    monkeypatch.setattr(clock, "look", lambda: boot)
    publish(store, {"b": ["x"]}, NOW + 60)
    anew = given(store.path.parent)[2:]
    assert anew == [Told(B, banned=False), Told(A, reason="x")]
    assert anew[0].id > last + 1000  # rows that were lost may have been told
    assert tell(store, "x") == []


def test_a_damaged_outbox_is_made_anew(store: Store) -> None:
    """It holds nothing that is not known."""
    store.bans.add([Ban(A, NOW, None, "x", "bad")])
    tell(store, "x")
    outbox.of(store.path, "b").write_bytes(b"x" * 5000)
    publish(store, {"b": ["x"]}, NOW)
    assert given(store.path.parent) == [Told(A, reason="x")]
