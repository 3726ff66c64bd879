"""What members of a fleet hear of each other, and what becomes of that where something is wrong."""

import select
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import postgres
import pytest
from fleets import Fleet
from postgres import Postgres

from feeds.postgresql import hearing, link, reading
from feeds.postgresql.feed import Postgresql
from feeds.postgresql.session import Statement
from reconciler import FeedBan, FeedLift, FeedSnapshot, FeedUnreadable, Network, Networks

pytestmark = postgres.needed
PATIENCE: Final = 60.0
HOUR: Final = 3600


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server for all tests of this file, by its socket."""
    with postgres.running() as made:
        yield made


@pytest.fixture
def fleet(server: Postgres, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet where nobody bans anybody."""
    made = Fleet(server, tmp_path)
    yield made
    made.close()


def networks(*texts: str) -> Networks:
    """Return networks."""
    return Networks.of(map(Network.parse, texts))


def publish(fleet: Fleet, *texts: str, member: str = "alpha", **how: object) -> None:
    """Let a member ban these."""
    with fleet.as_member(member) as session:
        fleet.ban(session, *texts, **how)  # type: ignore[arg-type]


def remove(fleet: Fleet, *texts: str, member: str = "alpha") -> None:
    """Let a member ban these no more."""
    with fleet.as_member(member) as session:
        session.execute("SELECT fleet.remove(%s::cidr[])", [[*texts]])


def ready(feed: Postgresql, seconds: float = PATIENCE) -> bool:
    """Whether it wakes within so many seconds."""
    poll = select.poll()
    poll.register(feed.fileno(), select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def listening(fleet: Fleet) -> Postgresql:
    """Return a feed that has read all there is, and waits."""
    feed = fleet.feed()
    feed.fileno()
    [*feed.changes(None)]
    [*feed.changes(feed.cursor())]
    while ready(feed, 0):
        [*feed.changes(feed.cursor())]
    return feed


def until(feed: Postgresql, met: Callable[[list[object]], bool]) -> list[object]:
    """Look whenever it wakes, until what came since is as it should be."""
    came: list[object] = []
    end = time.monotonic() + PATIENCE
    while not met(came):
        assert time.monotonic() < end, came
        ready(feed, 1)
        try:
            came += feed.changes(feed.cursor())
        except FeedUnreadable:
            continue
    return came


def test_everything(fleet: Fleet) -> None:
    """A snapshot has each ban with its member, reason and seconds; ends that are near are one."""
    publish(fleet, "192.0.2.7", "2001:db8::/32", seconds=HOUR)
    publish(fleet, "192.0.2.8", seconds=HOUR - 5, reason="it\tprobes\x1b")
    publish(fleet, "192.0.2.9", member="beta")
    publish(fleet, "192.0.2.10", member="ours")
    begin, *bans, end = fleet.feed().changes(None)
    assert (begin, end) == (FeedSnapshot.BEGIN, FeedSnapshot.END)
    said = {}
    for ban in bans:
        assert isinstance(ban, FeedBan)
        said[ban.member, ban.reason] = (ban.networks, ban.seconds)
    assert said.keys() == {("alpha", "probes"), ("alpha", "it probes?"), ("beta", "probes")}
    assert said["beta", "probes"] == (networks("192.0.2.9"), None)
    both, seconds = said["alpha", "probes"]
    assert both == networks("192.0.2.7", "2001:db8::/32")
    assert seconds is not None
    assert HOUR - PATIENCE < seconds <= HOUR * 65 // 64


def test_since(fleet: Fleet) -> None:
    """What came since is brought alone: bans by member, reason and end, and removals."""
    publish(fleet, "192.0.2.7", "192.0.2.8")
    feed = fleet.feed()
    [*feed.changes(None)]
    remove(fleet, "192.0.2.7")
    publish(fleet, "192.0.2.9", "192.0.2.10", member="beta")
    assert [*feed.changes(feed.cursor())] == [
        FeedLift(networks("192.0.2.7"), "alpha"),
        FeedBan(networks("192.0.2.9", "192.0.2.10"), None, "beta", "probes"),
    ]
    assert [*feed.changes(feed.cursor())] == []


def wrong_by(seconds: float) -> float:
    """Return a time that is wrong by so much."""
    return time.time() + seconds


def test_clocks(fleet: Fleet) -> None:
    """A member whose clock is an hour wrong bans for as long as all others."""
    publish(fleet, "192.0.2.7", seconds=HOUR)
    for wrong in (-HOUR, HOUR):
        feed = Postgresql(fleet.settings(), clock=partial(wrong_by, wrong))
        _, ban, _ = feed.changes(None)
        feed.close()
        assert isinstance(ban, FeedBan)
        assert ban.seconds is not None
        assert HOUR - PATIENCE < ban.seconds <= HOUR * 65 // 64


def test_shortened_while_away(fleet: Fleet) -> None:
    """A ban that was shortened and has ended meanwhile is removed."""
    publish(fleet, "192.0.2.7", seconds=HOUR)
    feed = fleet.feed()
    [*feed.changes(None)]
    fleet.owner.execute("UPDATE fleet.bans SET until = clock_timestamp()")
    assert [*feed.changes(feed.cursor())] == [FeedLift(networks("192.0.2.7"), "alpha")]


@pytest.mark.parametrize(
    ("asked", "answered"), [(50.9, 50.99), (50.0, 50.0), (50.9, 51.1), (50.9, 57.2)]
)
def test_never_early(fleet: Fleet, asked: float, answered: float) -> None:
    """Whatever part of a second it is, and however long the answer takes, no ban ends early."""

    def left() -> float:
        [[seconds]] = fleet.owner.execute(
            "SELECT extract(epoch FROM until - clock_timestamp())::float8 FROM fleet.bans"
        ).fetchall()
        assert isinstance(seconds, float)
        return seconds

    publish(fleet, "192.0.2.7", seconds=100)
    times = iter((asked, answered))
    feed = Postgresql(fleet.settings(), clock=partial(next, times))
    most = left()
    ban = [*feed.changes(None)][1]
    feed.close()
    assert isinstance(ban, FeedBan)
    assert ban.seconds is not None
    assert left() <= int(answered) + ban.seconds - answered < most + 2 + answered - asked


@pytest.mark.parametrize(
    ("now", "seconds"), [(899.2, 101), (900.0, 100), (900.1, 101), (907.2, 101)]
)
def test_seconds_left(now: float, seconds: int) -> None:
    """What was left when it was asked for is left when it is answered, and little more."""
    said = reading.News({"a": {("", 1000): [(b"", b"")]}}, {}, asked=900)
    [ban] = said.changes(now)
    assert isinstance(ban, FeedBan)
    assert ban.seconds == seconds


def test_mapped(fleet: Fleet) -> None:
    """What an administrator wrote as a mapped network is one of IPv4."""
    sent = bytes([3, 128, 1, 16]) + bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7])
    [change] = reading.News({"a": {("", None): [(b"", sent)]}}, {}).changes(0)
    assert change.networks == networks("192.0.2.7")


def test_below_the_floor(fleet: Fleet) -> None:
    """Who was away for longer than removals are kept reads everything."""
    publish(fleet, "192.0.2.7")
    feed = fleet.feed()
    [*feed.changes(None)]
    publish(fleet, "192.0.2.8")
    fleet.owner.execute("UPDATE fleet.clock SET floor = seq")
    came = [*feed.changes(feed.cursor())]
    assert came[0] is FeedSnapshot.BEGIN
    assert len(came) == 3


def test_too_many_groups(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a feed's file is full, all is read again, with coarser ends."""
    feed = fleet.feed()
    [*feed.changes(None)]
    monkeypatch.setattr(reading, "_FEW", 10)
    monkeypatch.setattr("feeds.postgresql.feed.REREAD", 20)
    many = [f"11.0.0.{n}" for n in range(50)]
    with fleet.as_member("alpha") as session:
        for n, each in enumerate(many):
            fleet.ban(session, each, seconds=HOUR + 64 * n, reason=f"r{n}")
    assert len([*feed.changes(feed.cursor())]) == 50
    begin, *bans, _ = feed.changes(feed.cursor())
    assert begin is FeedSnapshot.BEGIN
    assert len(bans) <= 10
    assert networks(*many) == Networks.union(
        ban.networks for ban in bans if isinstance(ban, FeedBan)
    )
    assert [*feed.changes(feed.cursor())] == []


def test_restored_backup(fleet: Fleet) -> None:
    """A database that does not know what was read of it is not believed, until its epoch is new."""
    publish(fleet, "192.0.2.7")
    feed = fleet.feed()
    [*feed.changes(None)]
    epoch = feed.epoch()
    fleet.owner.execute("UPDATE fleet.clock SET seq = 0; DELETE FROM fleet.ticks")
    publish(fleet, "192.0.2.8")
    with pytest.raises(FeedUnreadable, match="older than what was read") as caught:
        [*feed.changes(feed.cursor())]
    assert "--new-epoch" in caught.value.hint
    fleet.owner.execute("UPDATE fleet.clock SET epoch = gen_random_uuid()")
    assert next(iter(feed.changes(feed.cursor()))) is FeedSnapshot.BEGIN
    [*feed.changes(feed.cursor())]
    assert feed.epoch() != epoch


def test_published(fleet: Fleet) -> None:
    """The last word on each network counts; what is too wide is left out, and noted."""
    feed = fleet.feed()
    one, two = networks("192.0.2.7"), networks("192.0.2.8")
    feed.publish(
        [
            FeedBan(one, HOUR, reason='"a", {b} \\ c\0'),
            FeedBan(two),
            FeedLift(two),
            FeedBan(networks("12.0.0.0/7", "2001::/18")),
        ]
    )
    [row] = fleet.owner.execute(
        "SELECT network::text, member::text, reason, until > now() FROM fleet.bans"
    ).fetchall()
    assert row == ("192.0.2.7/32", "ours", '"a", {b} \\ c', True)
    assert feed.notes() == ["networks too wide for the fleet, and not published: 2"]
    feed.publish([FeedBan(two), FeedLift(networks("12.0.0.0/7", "14.0.0.0/7"))])
    assert feed.notes() == ["networks too wide for the fleet, and not published: 1"]
    feed.publish([FeedLift(networks("2001::/18"))])
    assert feed.notes() == []


def test_two_machines_of_one_name(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a machine was copied: each is told, until the other one has gone."""
    monkeypatch.setattr(reading, "_LASTING", 0)
    monkeypatch.setattr("feeds.postgresql.feed._SEEN", 0.0)
    monkeypatch.setattr("feeds.postgresql.feed._SHARED", 0.0)
    one, copy, other = fleet.feed(), fleet.feed(), fleet.feed("beta")
    for each in (one, copy, other, one):
        [*each.changes(each.cursor())]
    for each in (one, copy):
        [note] = each.notes()
        assert note.startswith("another machine or feed reads as this member")
    assert other.notes() == []
    copy.close()
    end = time.monotonic() + PATIENCE
    while one.notes():
        assert time.monotonic() < end
        [*one.changes(one.cursor())]


def test_quota(fleet: Fleet) -> None:
    """Up to the quota is accepted; the rest waits, and removals do not wait for it."""
    fleet.owner.execute("UPDATE fleet.members SET max_new = 2")
    feed = fleet.feed()
    first = networks("192.0.2.1", "192.0.2.2")
    feed.publish([FeedBan(first)])
    changes: list[FeedBan | FeedLift] = [
        FeedBan(networks("192.0.2.3", "192.0.2.4")),
        FeedLift(networks("192.0.2.1")),
    ]
    for _ in range(2):
        with pytest.raises(FeedUnreadable, match=r"quota is full since .*: 2\n") as caught:
            feed.publish(changes)
    assert "--max-new" in caught.value.hint
    assert fleet.heard() == ["192.0.2.2/32"]
    [*feed.changes(None)]
    assert feed.notes() == ["this member's quota is full: networks that wait: 2"]
    fleet.owner.execute("UPDATE fleet.members SET max_new = 3")
    with pytest.raises(FeedUnreadable, match="networks that wait: 1"):
        feed.publish(changes)
    fleet.owner.execute("UPDATE fleet.members SET max_new = 100")
    feed.publish(changes)
    assert len(fleet.heard()) == 3
    assert feed.notes() == []


def test_many_published(fleet: Fleet) -> None:
    """More than one call takes are as many calls."""
    feed = fleet.feed()
    many = networks(*[f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(25_000)])
    feed.publish([FeedBan(many, HOUR, reason="probes")])
    [(count,)] = fleet.owner.execute("SELECT count(*) FROM fleet.bans").fetchall()
    assert count == 25_000
    feed.publish([FeedLift(many)])
    assert fleet.heard() == []


def test_clock_held(fleet: Fleet) -> None:
    """A member that holds the clock open is thrown out, and what waited for it is published."""
    feed = fleet.feed()
    thief = fleet.as_member("beta")
    thief.autocommit = False
    fleet.ban(thief, "192.0.2.99")
    end = time.monotonic() + PATIENCE
    while not fleet.heard():
        assert time.monotonic() < end
        with suppress(FeedUnreadable):
            feed.publish([FeedBan(networks("192.0.2.7"))])
    thief.close()
    [(count,)] = fleet.owner.execute("SELECT count(*) FROM fleet.bans").fetchall()
    assert count == 1


def test_own_notifications(fleet: Fleet) -> None:
    """What this member publishes does not wake it."""
    feed = listening(fleet)
    feed.publish([FeedBan(networks("192.0.2.7"))])
    assert not ready(feed, 0.2)
    publish(fleet, "192.0.2.8")
    assert until(feed, bool) == [FeedBan(networks("192.0.2.8"), None, "alpha", "probes")]
    assert feed.notes() == []


def test_told_while_busy(fleet: Fleet) -> None:
    """A notification that came along with the answer to something else wakes as well."""
    feed = listening(fleet)
    publish(fleet, "192.0.2.8")
    feed.publish([FeedBan(networks("192.0.2.7"))])  # whose answer it comes with
    assert until(feed, bool) == [FeedBan(networks("192.0.2.8"), None, "alpha", "probes")]


def test_lost(fleet: Fleet) -> None:
    """A session that was ended is made anew, with the same descriptor, and nothing is missed."""
    feed = listening(fleet)
    descriptor = feed.fileno()
    fleet.owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ours'"
    )
    publish(fleet, "192.0.2.7")
    assert until(feed, bool) == [FeedBan(networks("192.0.2.7"), None, "alpha", "probes")]
    publish(fleet, "192.0.2.8")
    assert until(feed, bool) == [FeedBan(networks("192.0.2.8"), None, "alpha", "probes")]
    assert feed.fileno() == descriptor


def test_back(fleet: Fleet, server: Postgres) -> None:
    """Once a server is back that was down, the descriptor wakes, and all that came is read."""
    feed = listening(fleet)
    server.stop()
    for _ in range(4):
        ready(feed)
        with pytest.raises(FeedUnreadable):
            [*feed.changes(feed.cursor())]
    server.start()
    publish(fleet, *[f"11.0.{n >> 8}.{n & 255}" for n in range(10_000)])
    [ban] = until(feed, bool)
    assert isinstance(ban, FeedBan)
    assert len(ban.networks) == 10_000


def test_forged(fleet: Fleet) -> None:
    """Notifications that tell of nothing cost a query a second at most, and are counted."""
    feed = listening(fleet)
    asked = 0
    with fleet.as_member("alpha") as thief:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for payload in ("x", "999999999"):
                thief.execute("SELECT pg_notify('fleet', %s)", [payload])
            if ready(feed, 0):
                [*feed.changes(feed.cursor())]
                asked += 1
    assert 1 <= asked <= 8
    [note] = feed.notes()
    assert note.startswith("notifications that told of nothing: ")
    publish(fleet, "192.0.2.7")
    assert until(feed, bool) == [FeedBan(networks("192.0.2.7"), None, "alpha", "probes")]


def test_deaf(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is told though LISTEN was not refused, that is noticed, and it is asked."""
    monkeypatch.setattr(hearing, "LATE", 0.0)
    monkeypatch.setattr(link, "LATE", 0.05)
    monkeypatch.setattr(link, "_ASKED", 0.1)
    monkeypatch.setattr(reading, "listen", lambda _session: "")
    feed = listening(fleet)
    publish(fleet, "192.0.2.7")
    assert until(feed, bool) == [FeedBan(networks("192.0.2.7"), None, "alpha", "probes")]
    until(feed, lambda _: bool(feed.notes()))
    assert feed.notes() == ["LISTEN does not work (changes were not told): asked every 0.1 s"]


def test_cannot_listen(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where LISTEN is refused, as by a standby, it is asked now and then, and that is noted."""
    monkeypatch.setattr(reading, "_LISTEN", Statement(b"LISTEN"))
    monkeypatch.setattr(link, "_LEAST_DEAF", 0.1)
    feed = listening(fleet)
    publish(fleet, "192.0.2.7")
    assert until(feed, bool) == [FeedBan(networks("192.0.2.7"), None, "alpha", "probes")]
    [note] = feed.notes()
    assert note.startswith("LISTEN does not work (syntax error")


def test_seen(fleet: Fleet) -> None:
    """The fleet knows how far a member has read."""
    publish(fleet, "192.0.2.7")
    feed = fleet.feed()
    [*feed.changes(None)]
    [(seq, seen)] = fleet.owner.execute(
        "SELECT c.seq, m.read_seq FROM fleet.clock c, fleet.members m WHERE member = 'ours'"
    ).fetchall()
    assert seen == seq


@pytest.mark.parametrize("cursor", ["", "x", "1:a:b", "1:a:b:c", "99999999999999999999:a:b:1"])
def test_senseless_cursor(cursor: str) -> None:
    """What no feed of this kind wrote is none."""
    assert reading.Cursor.read(cursor) is None
    assert str(reading.Cursor.read("5:a:b:7")) == "5:a:b:7"
