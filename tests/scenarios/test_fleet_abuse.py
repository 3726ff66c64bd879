"""Somebody has a member's password, and abuses it: he floods, forges, holds, bans everybody.

The others keep their bans, and hear of each other within seconds; nobody is dropped whom they
whitelist.
"""

import threading
import time
from contextlib import suppress

import psycopg
import pytest
from fleetplaces import Fleet, Member, refused, until
from postgres import needed
from thieves import KEPT, Raw, goes_on, publish

from reconciler import Network, Networks

pytestmark = needed

QUOTA = "53400"


def test_he_floods_and_is_stopped(fleet: Fleet, good: Member, other: Member, thief: Raw) -> None:
    """The first fifty are taken, in one call or in many, and no more within the hour."""
    many = [f"192.0.2.{number}" for number in range(80)]
    assert publish(thief, *many) == 50
    for each in many[50:]:
        with pytest.raises(psycopg.Error) as caught:
            publish(thief, each)
        assert caught.value.sqlstate == QUOTA
    assert publish(thief, *many[:50], reason="again") == 50
    assert thief.execute("SELECT fleet.remove(%s::cidr[])", [many[:50]]).fetchone() == (50,)
    with pytest.raises(psycopg.Error) as caught:
        publish(thief, "192.0.2.99")
    assert caught.value.sqlstate == QUOTA
    assert len(fleet.rows()) == 1
    goes_on(fleet)


def test_his_flood_within_the_quota_is_quarantined(fleet: Fleet, good: Member) -> None:
    """Where a receiver allows less than the engine; his old bans stay, all others' are taken."""
    web = fleet.add("web9", max_new=500)
    receiver = fleet.add("strict", "max_new = 100")
    with web.raw() as thief:
        publish(thief, "192.0.2.1")
        receiver.settles()
        assert receiver.dropped() == {KEPT, "192.0.2.1"}
        publish(thief, *(f"198.18.0.{number}" for number in range(150)))
    good.bans("203.0.113.2")
    good.settles()
    receiver.settles()
    assert receiver.dropped() == {KEPT, "192.0.2.1", "203.0.113.2"}
    shown = receiver.place.treason("feed", "show", "fleet")
    assert "quarantine" in shown.out
    assert "web9" in shown.out


WIDE = ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "2000::/3", "8.0.0.0/7"]
OFFICE = ["198.51.100.0/28", "2001:db8:1::/48"]
INNER = [
    "127.0.0.1",
    "10.0.0.0/8",
    "192.168.0.0/16",
    "169.254.169.254",
    "::1",
    "fe80::1",
    "fc00::/19",
]


def test_he_bans_everybody_and_nobody_is_dropped(
    fleet: Fleet, good: Member, other: Member, thief: Raw
) -> None:
    """What is wide the engine refuses, what is private is cut, and the whitelist wins."""
    for each in WIDE:
        query = "SELECT fleet.publish(ARRAY[%s]::cidr[], '{NULL}', '{x}')"
        assert refused(thief, query, each) == "22023"
    for each in OFFICE:
        assert other.place.treason("whitelist", "add", each).code == 0
    inside = ["198.51.100.5", "198.51.100.0/24", "2001:db8:1::7", "2001:db8::/32"]
    publish(thief, *OFFICE, *inside, *INNER)
    other.settles()
    held = Networks.of(map(Network.parse, other.dropped()))
    assert Network.parse(KEPT) in held
    assert Network.parse("198.51.100.128/25") in held
    for each in (*OFFICE, *INNER):
        assert not held.meeting(Network.parse(each)), each
    assert "whitelist" in other.place.treason("why", "198.51.100.5").out
    goes_on(fleet)


def test_he_names_much_of_the_internet_and_keeps_nobody_from_hearing(
    fleet: Fleet, good: Member, other: Member, thief: Raw
) -> None:
    """Twenty-six networks of /9 are more than any list may name; he is quarantined alone."""
    wide = [f"{number}.0.0.0/9" for number in range(20, 46)]
    publish(thief, *wide)
    other.settles()
    assert other.dropped() == {KEPT}
    goes_on(fleet)
    shown = other.place.treason("feed", "show", "fleet")
    assert "quarantine" in shown.out
    assert "web9" in shown.out


def test_he_unbans_nobody(fleet: Fleet, good: Member, other: Member, thief: Raw) -> None:
    """What is another's stays, whoever asks, and whatever he bans himself and takes back."""
    assert thief.execute("SELECT fleet.remove(ARRAY[%s]::cidr[])", [KEPT]).fetchone() == (0,)
    publish(thief, KEPT, seconds=5)
    other.settles()
    assert other.told() == {"good": {KEPT}, "web9": {KEPT}}
    thief.execute("SELECT fleet.remove(ARRAY[%s]::cidr[])", [KEPT])
    other.settles()
    assert other.told() == {"good": {KEPT}}
    assert other.dropped() == {KEPT}


def test_he_keeps_a_transaction_open_that_holds_the_clock(
    fleet: Fleet, good: Member, other: Member, thief: Raw
) -> None:
    """His session is ended, and the others go on within seconds."""
    thief.autocommit = False
    publish(thief, "192.0.2.1")
    goes_on(fleet)
    with pytest.raises(psycopg.OperationalError):
        thief.execute("SELECT 1")
    assert fleet.rows() == [("good", KEPT), ("good", "203.0.113.7")]


def test_he_holds_the_clock_again_and_again(fleet: Fleet, good: Member, other: Member) -> None:
    """As often as he may connect; the others go on between."""
    web, over = fleet.add("web9"), threading.Event()

    def rage() -> None:
        while not over.is_set():
            try:
                with web.raw() as thief:
                    thief.autocommit = False
                    publish(thief, "192.0.2.1", reason=str(time.monotonic()))
                    over.wait(60)
                    thief.rollback()
            except psycopg.Error:
                continue

    threads = [threading.Thread(target=rage) for _ in range(3)]
    for each in threads:
        each.start()
    try:
        goes_on(fleet, within=60)
    finally:
        over.set()
        for each in threads:
            each.join()


def test_a_member_that_is_removed_is_out_at_once(
    fleet: Fleet, good: Member, other: Member, thief: Raw
) -> None:
    """His sessions end, also in the middle of something; his bans are removed everywhere."""
    publish(thief, "192.0.2.1")
    other.settles()
    assert other.dropped() == {KEPT, "192.0.2.1"}
    thief.autocommit = False
    publish(thief, "192.0.2.2")
    fleet.does("remove-member", "web9")
    with pytest.raises(psycopg.OperationalError):
        thief.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        fleet.members["web9"].raw()
    other.settles()
    assert other.dropped() == {KEPT}


def test_a_member_that_is_removed_and_added_again_tells_its_bans_again(
    fleet: Fleet, good: Member, other: Member
) -> None:
    """Once its feed's process begins anew, as it must with another password."""
    good.bans("192.0.2.1")
    good.unbans("192.0.2.1")
    fleet.does("remove-member", "good")
    other.settles()
    assert other.dropped() == set()
    good.password.unlink()
    fleet.does("add-member", "good", "--password-file", str(good.password))
    good.begin()
    good.settles()
    other.settles()
    assert other.dropped() == {KEPT}
    assert fleet.rows() == [("good", KEPT)]


def test_he_opens_as_many_connections_as_he_may(fleet: Fleet, good: Member, other: Member) -> None:
    """A few; then he is refused, and others are let in."""
    web, opened = fleet.add("web9"), list[Raw]()
    try:
        for _ in range(100):
            with suppress(psycopg.OperationalError):
                opened.append(web.raw())
        assert len(opened) < 20
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            web.raw()
        goes_on(fleet)
    finally:
        for each in opened:
            each.close()


def test_he_forges_notifications(fleet: Fleet, good: Member, other: Member, thief: Raw) -> None:
    """Whoever may connect can: they wake, are counted, and cost at most one query a second."""
    other.settles()
    for number in range(2000):
        payload = (str(number), "99999999999999999999", "x" * 7000, "", "-1", "\x1b[2J")[number % 6]
        thief.execute("SELECT pg_notify('fleet', %s)", [payload])
    goes_on(fleet)
    result = other.goes()
    assert result.failure is None
    assert any("told of nothing" in note for note in result.notes), result.notes


def test_he_reads_a_snapshot_for_ever(fleet: Fleet, good: Member, thief: Raw) -> None:
    """An open transaction keeps nobody from administering the fleet, but for that member's row."""
    thief.autocommit = False
    thief.execute("SELECT count(*) FROM fleet.news")
    thief.execute("SELECT fleet.seen(1)")
    begun = time.monotonic()
    fleet.does("init")
    fleet.does("status")
    kept = fleet.admin("add-member", "web9", "--max-new", "1")
    assert (kept.code, "end that session" in kept.err) == (1, True)
    fleet.add("late")
    fleet.does("remove-member", "late")
    fleet.does("remove-member", "web9")
    assert time.monotonic() - begun < 60
    goes_on(fleet)


@pytest.mark.slow
def test_old_transactions_are_ended(fleet: Fleet, good: Member, thief: Raw) -> None:
    """After a minute; also one in another database, where it keeps all notifications waiting."""
    web = fleet.members["web9"]
    dsn = f"host={web.home} port=5433 dbname=postgres user=web9"
    with psycopg.connect(dsn, password=web.password.read_text().strip()) as elsewhere:
        elsewhere.execute("LISTEN x")
        elsewhere.commit()
        for each in (elsewhere, thief):
            each.autocommit = False
            each.execute("SELECT 1")
        with good.raw() as reaper:
            assert reaper.execute("SELECT fleet.reap()").fetchone() == (0,)
            ended = list[int]()

            def reaped() -> bool:
                ended.extend(reaper.execute("SELECT fleet.reap()").fetchone() or ())
                return sum(ended) == 2

            until(reaped, patience=120)
        for each in (elsewhere, thief):
            with pytest.raises(psycopg.OperationalError):
                each.execute("SELECT 1")
