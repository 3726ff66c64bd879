"""What members tell each other by the fleet's database: in order, within quotas, without loss."""

import threading
from collections.abc import Iterator

import postgres
import psycopg
import pytest
from fleetbases import Base, news, publish, refusal, remove, rows
from postgres import Postgres

pytestmark = postgres.needed


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server for all tests of this file, by its socket."""
    with postgres.running() as made:
        yield made


@pytest.fixture
def base(server: Postgres) -> Iterator[Base]:
    """A fleet that nobody has joined yet."""
    made = Base(server)
    yield made
    made.close()


def nets(count: int, first: int = 11) -> list[str]:
    """Return so many networks."""
    return [f"{first}.{number >> 8}.{number & 255}.0/24" for number in range(count)]


def hours_pass(base: Base, hours: int) -> None:
    """Let the quotas' hours pass."""
    base.owner.execute(
        "UPDATE fleet.spent SET minute = minute - make_interval(hours => %s)", [hours]
    )


def days_pass(base: Base, days: int) -> None:
    """Let all that was written be older."""
    base.owner.execute("ALTER TABLE fleet.bans DISABLE TRIGGER ALL")
    base.owner.execute(
        "UPDATE fleet.bans SET gone = gone - i, removed = removed - i, since = since - i,"
        " until = until - i, told = told - i FROM make_interval(days => %s) i",
        [days],
    )
    base.owner.execute("ALTER TABLE fleet.bans ENABLE TRIGGER ALL")
    base.owner.execute("UPDATE fleet.ticks SET at = at - make_interval(days => %s)", [days])


def test_what_one_bans_the_others_hear(base: Base) -> None:
    """With its end, or none; not oneself. A removal is heard, too."""
    web, mail = base.member("web"), base.member("mail")
    assert publish(web, ["192.0.2.7", "2001:db8::/32"], 100) == 2
    assert publish(web, ["198.51.100.0/24"], None) == 1
    assert news(mail)[1:] == [
        ("web", "2001:db8::/32", False, 100),
        ("web", "198.51.100.0/24", False, None),
    ]
    assert news(web) == []
    seq = base.seq()
    assert remove(web, "198.51.100.0/24", "203.0.113.9") == 1
    assert news(mail, seq) == [("web", "198.51.100.0/24", True, None)]
    assert remove(web, "198.51.100.0/24") == 0
    assert remove(mail, "192.0.2.7") == 0


def test_what_is_said_again_moves_no_clock(base: Base) -> None:
    """The same reason and an end less than five seconds away; another one of either does."""
    web, mail = base.member("web"), base.member("mail")
    for turn in range(3):
        assert publish(web, ["192.0.2.7", "192.0.2.8"], 1000 + turn) == 2
        assert base.seq() == 1
    assert publish(web, ["192.0.2.7"], 2000) == 1
    assert base.seq() == 2
    assert publish(web, ["192.0.2.7"], 2000, "floods") == 1
    assert publish(web, ["192.0.2.8"], None) == 1
    assert base.seq() == 4
    assert remove(mail, "192.0.2.7") == remove(web, "192.0.2.99") == publish(web, []) == 0
    assert base.seq() == 4


def test_a_network_that_comes_twice_is_what_is_said_last(base: Base) -> None:
    """In one call, as in two."""
    web, mail = base.member("web"), base.member("mail")
    sql = "SELECT fleet.publish('{192.0.2.7,192.0.2.8,192.0.2.7}', '{50,60,70}', '{a,b,c}')"
    assert rows(web, sql) == [(3,)]
    assert news(mail) == [("web", "192.0.2.7/32", False, 70), ("web", "192.0.2.8/32", False, 60)]


def test_whoever_writes_by_hand_keeps_the_order_too(base: Base) -> None:
    """The owner's statements take the clock, and members hear of them."""
    mail = base.member("mail")
    base.member("web")
    for turn, network in enumerate(("192.0.2.7", "192.0.2.8"), 1):
        base.owner.execute(
            "INSERT INTO fleet.bans (network, member, seq) VALUES (%s, 'web', 99)", [network]
        )
        assert base.all("SELECT max(seq) FROM fleet.bans") == [(turn,)]
    base.owner.execute("UPDATE fleet.bans SET removed = now() WHERE network = '192.0.2.7'")
    assert news(mail, 2) == [("web", "192.0.2.7/32", True, None)]
    assert refusal(base.owner, "TRUNCATE fleet.bans") == "0A000"
    assert refusal(base.owner, "UPDATE fleet.bans SET member = 'mail'") == "0A000"


def test_who_may_have_read_what_was_deleted_reads_all_again(base: Base) -> None:
    """A ban that is deleted by hand raises the floor above everybody."""
    web, mail = base.member("web"), base.member("mail")
    publish(web, ["192.0.2.7"], None)
    base.owner.execute("DELETE FROM fleet.bans")
    [(seq, floor)] = rows(mail, "SELECT seq, floor FROM fleet.position(NULL, NULL)")
    assert (seq, floor) == (2, 2)


def test_an_end_that_came_nearer_is_heard_when_it_has_passed(base: Base) -> None:
    """Whoever read the later one would drop it for longer; who never read it hears nothing."""
    web, mail = base.member("web"), base.member("mail")
    publish(web, ["192.0.2.7", "192.0.2.8"], 3600)
    publish(web, ["192.0.2.7"], 1)
    publish(web, ["192.0.2.9"], 1)
    base.owner.execute("SELECT pg_sleep(1.1)")
    removed = [(net, gone) for _, net, gone, _ in news(mail)]
    assert removed == [("192.0.2.8/32", False), ("192.0.2.7/32", True)]


def test_a_quota_accepts_the_first_of_many(base: Base) -> None:
    """New networks count; what is known does not; after an hour there is room again."""
    web, mail = base.member("web", 3), base.member("mail")
    assert publish(web, nets(2)) == 2
    assert publish(web, nets(5)) == 3
    assert len(news(mail)) == 3
    seq = base.seq()
    with pytest.raises(psycopg.errors.ConfigurationLimitExceeded, match="the quota of web is full"):
        publish(web, nets(5)[3:])
    assert base.seq() == seq
    assert publish(web, nets(3), 7200) == 3
    hours_pass(base, 2)
    assert publish(web, nets(5)) == 5


def test_no_quota_is_evaded_by_removing(base: Base) -> None:
    """Banned, removed and banned again is new twice; so is what ended meanwhile."""
    web = base.member("web", 3)
    for turn in range(3):
        assert publish(web, nets(1), 3600 + turn) == 1
        assert remove(web, *nets(1)) == 1
    assert refusal(web, "SELECT fleet.publish('{192.0.2.7}', '{9}', '{a}')") == "53400"
    hours_pass(base, 2)
    for _ in range(3):
        publish(web, ["192.0.2.8"], 1)
        base.owner.execute("SELECT pg_sleep(1.1)")
    assert refusal(web, "SELECT fleet.publish('{192.0.2.7}', '{9}', '{a}')") == "53400"


def test_changes_have_a_quota_of_their_own(base: Base) -> None:
    """Ten times that of new networks: nobody keeps all others busy for nothing."""
    web = base.member("web", 2)
    publish(web, nets(2), 1000)
    for turn in range(10):
        assert publish(web, nets(2), 2000 + 100 * turn) == 2
    with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
        publish(web, nets(2), 9000)
    assert remove(web, *nets(2)) == 2


def test_a_quota_holds_for_two_sessions_at_once(base: Base) -> None:
    """It is counted while the clock is held."""
    base.member("web", 50)
    done: list[int] = []

    def flood(first: int) -> None:
        session = base.session("web")
        for network in nets(40, first):
            try:
                done.append(publish(session, [network]))
            except psycopg.errors.ConfigurationLimitExceeded:
                return

    threads = [threading.Thread(target=flood, args=(20 + number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(done) == 50
    assert base.all("SELECT count(*) FROM fleet.bans") == [(50,)]


def test_the_order_is_that_of_commits(base: Base) -> None:
    """A reader that goes on from the highest number it saw misses nothing that eight write."""
    reader = base.member("reader")
    names = [f"writer{number}" for number in range(8)]
    sessions = {name: base.member(name) for name in names}

    def write(name: str) -> None:
        first = 20 + names.index(name)
        for number, network in enumerate(nets(25, first)):
            with sessions[name].transaction():
                publish(sessions[name], [network])
                sessions[name].execute("SELECT pg_sleep(%s)", [0.004 * (number % 3)])

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for each in threads:
        each.start()
    cursor, seen = 0, set()
    while True:
        was_written = not any(each.is_alive() for each in threads)
        sql = "SELECT seq, network::text FROM fleet.news WHERE seq > %s ORDER BY seq"
        for seq, network in rows(reader, sql, cursor):
            seen.add(network)
            cursor = seq
        if was_written:
            break
    assert len(seen) == 200
    assert base.seq() == cursor == 200


def test_a_tick_tells_a_database_from_an_older_copy_of_it(base: Base) -> None:
    """Known is what was a tick of it, with its random text, and nothing beyond the clock."""
    web = base.member("web")
    publish(web, nets(1))
    ticks = base.all("SELECT seq, mark FROM fleet.ticks ORDER BY seq")
    asked = [*ticks, (1, "another"), (2, ticks[1][1]), (None, None), (0, None)]
    sql = "SELECT known FROM fleet.position(%s::bigint, %s::text)"
    assert [rows(web, sql, *each)[0][0] for each in asked] == [True, True, *[False] * 4]


def test_tombstones_stay_for_thirty_days_or_until_nobody_holds_the_ban(base: Base) -> None:
    """One whose end would have come goes without a trace; one that had none raises the floor."""
    web, mail = base.member("web"), base.member("mail")
    publish(web, ["192.0.2.7"], None)
    publish(web, ["192.0.2.8"], 86400)
    remove(web, "192.0.2.7", "192.0.2.8")
    seq = base.seq()
    days_pass(base, 2)
    publish(web, ["192.0.2.9"])
    held = "SELECT network::text FROM fleet.bans WHERE removed IS NOT NULL"
    position = "SELECT floor, seq FROM fleet.position(NULL, NULL)"
    assert base.all(held) == [("192.0.2.7/32",)]
    assert rows(mail, position) == [(0, seq + 1)]
    days_pass(base, 29)
    publish(web, ["192.0.2.10"])
    assert base.all(held) == []
    [(floor, _)] = rows(mail, position)
    assert floor >= seq


def test_who_has_read_all_of_a_quiet_fleet_goes_on(base: Base) -> None:
    """Old ticks are forgotten, but not the last one before the thirty days."""
    web, mail = base.member("web"), base.member("mail")
    for number in range(4):
        publish(web, nets(4)[number : number + 1], 10_000_000)
    [(mark,)] = base.all("SELECT mark FROM fleet.ticks WHERE seq = 4")
    days_pass(base, 31)
    publish(web, ["192.0.2.7"])
    assert base.all("SELECT seq FROM fleet.ticks ORDER BY seq") == [(4,), (5,)]
    sql = "SELECT known, %s >= floor FROM fleet.position(%s, %s)"
    assert rows(mail, sql, 4, 4, mark) == [(True, True)]
    assert rows(mail, sql, 3, 3, "anything") == [(True, False)]


def test_forgetting_is_a_little_work_each_time(base: Base) -> None:
    """After 5,000 bans have ended, one that comes takes no more than 1,000 of them along."""
    web = base.member("web", 100_000)
    publish(web, nets(5000), 86400)
    days_pass(base, 2)
    publish(web, ["192.0.2.7"])
    assert base.all("SELECT count(*) BETWEEN 3000 AND 4001 FROM fleet.bans") == [(True,)]
    assert base.all("SELECT floor FROM fleet.clock") == [(0,)]


def test_news_are_found_by_their_number(base: Base) -> None:
    """However many bans there are, the last ones cost no look at all of them."""
    web = base.member("web", 100_000)
    base.member("mail")
    for first in (21, 22, 23):
        publish(web, nets(10_000, first))
    publish(web, ["192.0.2.7"])
    base.owner.execute("ANALYZE fleet.bans")
    base.owner.execute("SET SESSION AUTHORIZATION mail")
    plan = "\n".join(
        line for (line,) in base.all("EXPLAIN SELECT * FROM fleet.news WHERE seq > 3 ORDER BY seq")
    )
    assert "bans_seq" in plan
    assert "Seq Scan on bans" not in plan


@pytest.mark.parametrize(
    ("networks", "seconds", "reasons", "state"),
    [
        ("{0.0.0.0/0}", "{1}", "{a}", "22023"),
        ("{11.0.0.0/7}", "{1}", "{a}", "22P02"),
        ("{2.0.0.0/7}", "{1}", "{a}", "22023"),
        ("{2001:1::/18}", "{1}", "{a}", "22P02"),
        ("{4000::/18}", "{1}", "{a}", "22023"),
        ("{::ffff:192.0.2.7}", "{1}", "{a}", "22023"),
        ("{::ffff:0:0/96}", "{1}", "{a}", "22023"),
        ("{192.0.2.7/24}", "{1}", "{a}", "22P02"),
        ("{192.0.2.7,NULL}", "{1,1}", "{a,a}", "22004"),
        ("{192.0.2.7}", "{0}", "{a}", "22023"),
        ("{192.0.2.7}", "{-9223372036854775808}", "{a}", "22023"),
        ("{192.0.2.7}", "{1,2}", "{a}", "22023"),
        ("{192.0.2.7}", "{1}", "{}", "22023"),
        ("{192.0.2.7}", "{9223372036854775808}", "{a}", "22003"),
    ],
)
def test_what_a_fleet_does_not_take(
    base: Base, networks: str, seconds: str, reasons: str, state: str
) -> None:
    """Too wide, mapped, with host bits, without an end that can be: nothing is written."""
    web = base.member("web")
    sql = "SELECT fleet.publish(%s::cidr[], %s::bigint[], %s::text[])"
    assert refusal(web, sql, networks, seconds, reasons) == state
    assert base.seq() == 0


def test_what_a_fleet_takes_at_most(base: Base) -> None:
    """10,000 networks in a call, reasons of 200 characters; a null reason is none."""
    web, mail = base.member("web", 100_000), base.member("mail")
    assert publish(web, nets(10_000)) == 10_000
    for call in ("publish(%s::cidr[], %s::bigint[], %s::text[])", "remove(%s::cidr[])"):
        many = [nets(10_001), [1] * 10_001, ["a"] * 10_001][: call.count("%s")]
        assert refusal(web, f"SELECT fleet.{call}", *many) == "54000"
    assert publish(web, ["192.0.2.7"], 10**18, "x" * 500) == 1
    rows(web, "SELECT fleet.publish('{192.0.2.8}', '{5}', ARRAY[NULL::text])")
    found = rows(
        mail, "SELECT length(reason), seconds FROM fleet.news WHERE network >= '192.0.2.0'"
    )
    assert found == [(200, None), (0, 5)]
    seq = base.seq()
    assert refusal(web, "SELECT fleet.publish(NULL, NULL, NULL)") == "22004"
    assert rows(web, "SELECT fleet.remove(NULL)") == [(0,)]
    assert rows(web, "SELECT fleet.remove('{NULL}')") == [(0,)]
    assert base.seq() == seq


def test_a_member_sees_itself(base: Base) -> None:
    """Its quota and what is left of it; how far it has read is what may be."""
    web = base.member("web", 9)
    publish(web, nets(2))
    mine = "SELECT max_new, fresh, changed, bans, last_seen IS NULL, read_seq FROM fleet.mine()"
    assert rows(web, mine) == [(9, 2, 0, 2, True, None)]
    for said, kept in ((1, 1), (2**63 - 1, 1), (-5, 0), (None, 0)):
        rows(web, "SELECT fleet.seen(%s)", said)
        assert rows(web, mine)[0][4:] == (False, kept)
    assert rows(web, "SELECT members FROM fleet.position(NULL, NULL)") == [(1,)]


def test_members_are_counted_three_times_a_minute_at_most(base: Base) -> None:
    """Not at each question, which would cost a large fleet more than all else."""
    web, mail = base.member("web"), base.member("mail")
    present = "SELECT members FROM fleet.position(NULL, NULL)"
    rows(web, "SELECT fleet.seen(0)")
    rows(mail, "SELECT fleet.seen(0)")
    assert rows(web, present) == [(1,)]
    base.owner.execute("UPDATE fleet.present SET counted = counted - interval '30 seconds'")
    rows(web, "SELECT fleet.seen(0)")
    assert rows(mail, present) == [(2,)]
    old = "UPDATE fleet.members SET last_seen = last_seen - interval '6 minutes'"
    base.owner.execute(f"{old} WHERE member = 'mail'")
    assert rows(web, present) == [(2,)]
    base.owner.execute("UPDATE fleet.present SET counted = counted - interval '6 minutes'")
    assert rows(web, present) == [(1,)]
