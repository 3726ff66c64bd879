"""Attackers met by whole passes, with database and policy: what is stored, and what follows."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from harness import Place, page, take_back_eighth, wipe
from peers import Flow, Peers, Server, healthy, shrinking, slow

Nft = Callable[..., str]

MAIN = 'sources = ["sockets"]'
SETTINGS = '[source.sockets]\nlasting = "1s"\n'
HOUR = 3600


@pytest.fixture
def lab(host: None) -> Iterator[Peers]:
    """Peers and a server."""
    made, server = Peers(), Server("::")
    yield made
    server.close()
    made.close()


@pytest.fixture
def watched(place: Place) -> Place:
    """A place that looks at sockets, with a short `lasting`."""
    place.configure(SETTINGS, main=MAIN)
    return place


def attacked(lab: Peers, address: str = "10.9.1.7", port: int = 4638) -> Flow:
    """Begin an attack."""
    flow = lab.connect(address, port, shrinking())
    lab.settle(1)
    return flow


def lasting() -> None:
    """Let the attack last."""
    time.sleep(1.1)


def judged(place: Place) -> dict[str, float | None]:
    """Make two passes; return who is banned, and for how many seconds."""
    assert place.treason("scan").code == 0
    lasting()
    assert place.treason("scan").code == 0
    return banned(place)


def banned(place: Place) -> dict[str, float | None]:
    """Return who is banned, and for how many seconds."""
    with sqlite3.connect(place.database) as database:
        rows = database.execute("SELECT network, until - since FROM bans").fetchall()
    database.close()
    return dict(rows)


def suspects(place: Place) -> int:
    """Return how many are suspected."""
    with sqlite3.connect(place.database) as database:
        [(number,)] = database.execute("SELECT count(*) FROM suspects")
    database.close()
    return int(number)


def test_an_attacker_is_dropped_by_the_second_pass(lab: Peers, watched: Place, nft: Nft) -> None:
    """For an hour, with the evidence; the policy of the configuration is for other rules."""
    watched.configure(
        '[policy]\nban_for = "permanent"\nthreshold = 5\n[protect]\nown_addresses = true\n'
        + SETTINGS,
        main=MAIN,
    )
    attacked(lab)
    assert watched.treason("reconcile").code == 0
    assert suspects(watched) == 1
    assert banned(watched) == {}
    lasting()
    result = watched.treason("reconcile", "-v")
    assert result.code == 0, result.err
    assert "10.9.1.7:4638 → :8080 established, 8192 bytes in flight, window 0, for" in result.out
    assert banned(watched) == {"10.9.1.7": HOUR}
    assert "10.9.1.7" in nft("list set inet treason banned4")
    again = watched.treason("reconcile")
    assert again.code == 0
    assert "0 offences" in again.out


def test_the_policy_is_changed_by_its_rule_alone(lab: Peers, watched: Place) -> None:
    """The other keys stay as the rule has them."""
    watched.configure(f'{SETTINGS}[[rule]]\nname = "zero-window"\nban_for = "2h"\n', main=MAIN)
    attacked(lab)
    assert judged(watched) == {"10.9.1.7": 2 * HOUR}


def test_a_rule_that_is_off_bans_nobody(lab: Peers, watched: Place) -> None:
    """And what was judged is told."""
    watched.configure(f'{SETTINGS}[[rule]]\nname = "zero-window"\nenabled = false\n', main=MAIN)
    attacked(lab)
    assert watched.treason("scan").code == 0
    lasting()
    result = watched.treason("scan", "-v")
    assert "1 offence against the rule 'zero-window', which is not on" in result.out
    assert banned(watched) == {}


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('[policy]\nmode = "observe"\n', "1 ban withheld (mode observe)"),
        ('[[rule]]\nname = "zero-window"\nenabled = false\n', "'zero-window', which is not on"),
        ('[[rule]]\nname = "zero-window"\nreport_only = true\n', "report"),
    ],
)
def test_what_goes_on_is_judged_again_once_something_follows(
    table: str, told: str, lab: Peers, watched: Place
) -> None:
    """It is told once while nothing does; the same connection bans when the rule binds."""
    watched.configure(SETTINGS + table, main=MAIN)
    attacked(lab)
    assert watched.treason("scan").code == 0
    lasting()
    assert told in watched.treason("scan").out
    assert "sockets: 0 offences, 0 new bans\n" in watched.treason("scan").out
    assert banned(watched) == {}
    lasting()
    watched.configure(SETTINGS, main=MAIN)
    assert watched.treason("scan").code == 0
    assert banned(watched) == {"10.9.1.7": HOUR}
    assert "sockets: 0 offences, 0 new bans\n" in watched.treason("scan").out


def test_each_time_again_is_four_times_as_long(lab: Peers, watched: Place) -> None:
    """The ban that ended counts, whoever moved it."""
    lengths: list[float | None] = []
    for port in range(2):
        attacked(lab, port=4000 + port)
        lengths += judged(watched).values()
        with sqlite3.connect(watched.database) as database:  # its end comes
            database.execute("UPDATE bans SET until = since + 1, since = since - 10")
        database.close()
        lasting()
        assert watched.treason("reconcile", "--no-scan").code == 0
    assert lengths == [HOUR, 4 * HOUR]


def test_a_peer_in_healthy_company_is_banned_the_third_time_in_a_day(
    lab: Peers, watched: Place
) -> None:
    """Until then it is counted, and told."""
    for port in range(5):
        lab.connect("10.9.1.7", 5000 + port, healthy)
    found = []
    for port in range(3):
        attacked(lab, port=4000 + port)
        assert watched.treason("scan").code == 0
        lasting()
        found.append(watched.treason("scan").out)
    assert "1 offence, 0 new bans" in found[0]
    assert "not banned, but counted (the third time in a day bans): 10.9.1.7:4000" in found[0]
    assert "1 offence, 0 new bans" in found[1]
    assert "1 offence, 1 new ban" in found[2]
    assert banned(watched) == {"10.9.1.7": HOUR}


def test_a_check_writes_nothing_and_judges_all_the_same(lab: Peers, watched: Place) -> None:
    """What is suspected stays as it was."""
    attacked(lab)
    assert watched.treason("scan").code == 0
    lasting()
    before = watched.snapshot()
    result = watched.treason("reconcile", "--check", "--diff")
    assert result.code == 2
    assert "10.9.1.7" in result.out
    assert watched.snapshot() == before
    watched.treason("scan")
    assert list(banned(watched)) == ["10.9.1.7"]


def test_a_pass_that_fails_to_store_suspects_nobody_twice(lab: Peers, watched: Place) -> None:
    """What it would have stored, offence, ban and suspects, comes with the next one as a whole."""
    attacked(lab)
    assert watched.treason("scan").code == 0
    lasting()
    with sqlite3.connect(watched.database) as database:
        database.execute(
            "CREATE TRIGGER no BEFORE INSERT ON suspects BEGIN SELECT raise(ABORT, 'no'); END"
        )
    database.close()
    assert watched.treason("scan").code == 1
    assert banned(watched) == {}
    with sqlite3.connect(watched.database) as database:
        database.execute("DROP TRIGGER no")
    database.close()
    assert watched.treason("scan").code == 0
    assert banned(watched) == {"10.9.1.7": HOUR}


def test_an_attacker_is_dropped_though_suspects_cannot_be_read(
    lab: Peers, watched: Place, nft: Nft
) -> None:
    """The kernel itself tells for how long it waits; a trial says what it does not know."""
    attacked(lab)
    assert watched.treason("scan").code == 0
    page(watched.database, "suspects", wipe)
    lab.wait(3)
    result = watched.treason("reconcile")
    assert result.code == 1
    assert "the table suspects cannot be read" in result.err
    assert "10.9.1.7" in nft("list set inet treason banned4")
    tried = watched.treason("test-rule", "--sockets")
    assert (tried.code, "cannot read what earlier passes saw: " in tried.out) == (0, True)


def test_what_cannot_be_stored_closes_nothing(lab: Peers, watched: Place, nft: Nft) -> None:
    """Else the next pass, which sees no attack any more, would drop nobody."""
    attacked(lab)
    assert watched.treason("reconcile").code == 0
    lasting()
    with closing(sqlite3.connect(watched.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            result = watched.treason("reconcile")
            assert (result.code, "closed" in result.out) == (1, False)
            assert "10.9.1.7" in nft("list set inet treason banned4")
    assert "closed 1 connection" in watched.treason("reconcile").out


def test_a_trial_tells_nothing_of_texts_where_nothing_is_matched(watched: Place) -> None:
    """A source judges without any, and these rules are for no other."""
    result = watched.treason("test-rule", "--sockets", "-o", "json")
    assert {each["needle"] for each in result.json["rules"]} == {""}
    assert result.json["notes"] == []
    assert "zero-window: nothing matched\n" in watched.treason("test-rule", "--sockets").out


def test_a_pass_that_sees_the_same_writes_no_suspects(lab: Peers, watched: Place) -> None:
    """However many there are, and however long the attack goes on."""
    attacked(lab)
    judged(watched)
    with sqlite3.connect(watched.database) as database:
        database.execute(
            "CREATE TRIGGER no BEFORE DELETE ON suspects BEGIN SELECT raise(ABORT, 'no'); END"
        )
    database.close()
    assert watched.treason("scan").code == 0
    assert suspects(watched) == 1


def test_a_database_of_the_earlier_schema_is_migrated(lab: Peers, watched: Place) -> None:
    """It gets its table of suspects."""
    assert watched.treason("ban", "192.0.2.7").code == 0
    with sqlite3.connect(watched.database) as database:
        take_back_eighth(database)
    database.close()
    attacked(lab)
    assert judged(watched) == {"192.0.2.7": None, "10.9.1.7": HOUR}


def test_test_rule_shows_what_comes_near(lab: Peers, watched: Place) -> None:
    """Each socket, and why it is an offence or none; it writes nothing."""
    lab.connect("10.9.1.8", 4639, slow)
    attacked(lab)
    lab.wait(0.5)
    first = watched.treason("test-rule", "--sockets")
    assert first.code == 0, first.err
    assert "zero-window: 0 matched, 0 not counted, 2 almost matched" in first.out
    assert "  ~ 10.9.1.7:4638 → :8080 established, 8192 bytes in flight, window 0\n" in first.out
    assert "sockstress: nothing matched" in first.out
    assert "judged as" not in first.out
    assert "is only for records" not in first.out
    assert "almost: seen for" in first.out
    assert "almost: its window is closed with nothing in flight: a slow reader" in first.out
    assert not watched.database.exists()
    watched.treason("scan")
    lasting()
    before = watched.snapshot()
    shown = watched.treason("test-rule", "--sockets", "-o", "json").json
    assert [each["address"] for each in shown["addresses"]] == ["10.9.1.7"]
    assert shown["addresses"][0]["state"] == "ban"
    rules = {each["rule"]: each for each in shown["rules"]}
    assert set(rules) == {"zero-window", "zero-window-in-company", "sockstress"}
    [miss] = rules["zero-window"]["misses"]
    assert miss["text"].startswith("10.9.1.8:4639 → :8080 established, 0 bytes in flight")
    assert watched.snapshot() == before


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("--sockets", "log"), "--sockets takes neither a log nor --pattern", 64),
        (("--sockets", "--rule", "ufw-block"), "no rule that sources judge by themselves", 1),
        (("--rule", "zero-window", "log"), "rule 'zero-window' has no pattern", 1),
    ],
)
def test_what_cannot_be_tried_is_refused(
    arguments: tuple[str, ...], said: str, code: int, watched: Place
) -> None:
    """In words."""
    result = watched.treason("test-rule", *arguments)
    assert result.code == code
    assert said in result.err


@pytest.mark.parametrize(
    ("sources", "advised"),
    [('["kmsg"]', True), ('["journal"]', True), ('["kmsg", "sockets"]', False),
     ('["file:/var/log/kern.log"]', False)],
)  # fmt: skip
def test_status_advises_an_older_configuration(
    sources: str, advised: bool, place: Place, host: None
) -> None:
    """Where it reads what this machine's kernel says."""
    place.configure(main=f"sources = {sources}")
    said = 'add "sockets" to [treason] sources' in place.treason("status").out
    assert said is advised
