"""`treason unban` of what feeds name."""

import pytest
from fed import group, taken
from harness import Place

NAMED = [f"192.0.2.{number}" for number in range(100, 111)]


@pytest.fixture
def fed(place: Place, host: None) -> Place:
    """A place where two feeds name networks, and one of them is banned by hand as well."""
    place.configure(
        '[feed.drop]\ntype = "list"\npath = "/nowhere"\n',
        main=f'sources = []\nbackends = ["file:{place.path}/banned.txt"]',
    )
    taken(place, "drop", group("192.0.2.0/24", "203.0.113.7"))
    taken(place, "fleet", group("192.0.2.7"), group("198.51.100.1", state="observed"))
    place.treason("ban", "203.0.113.7", "198.51.100.1")
    return place


def test_what_a_feed_names_is_said_to_stay(fed: Place) -> None:
    """With what lets it through; what is only observed does not count."""
    own, drop, both, one = "198.51.100.1", "203.0.113.7", "192.0.2.7", "192.0.2.8"
    result = fed.treason("unban", own, drop, both, one)
    assert result.code == 0
    through = "names it: treason whitelist add {0} lets it through"
    told = dict(line.split(": ", 1) for line in result.out.splitlines())
    assert told == {
        own: "unbanned",
        drop: f"unbanned; the feed drop {through.format(drop)}",
        both: f"was not banned; drop and fleet {through.format(both).replace('names', 'name')}",
        one: f"was not banned; the feed drop {through.format(one)}",
    }


def test_members_that_name_it_are_told(fed: Place) -> None:
    """They alone can end it everywhere; of many networks the first ten."""
    several = [group(*NAMED, member=each) for each in ("web2", "web\x1b1")]
    taken(fed, "drop", *several, group(NAMED[0], member="web3", state="observed"))
    result = fed.treason("unban", *NAMED)
    told = result.out.splitlines()
    assert f"{NAMED[0]}: was not banned; the feed drop (web\\x1b1, web2) names it: " in told[0]
    assert "the feed drop names it: " in told[10]


def test_all_bans_are_removed_and_feeds_stay(fed: Place) -> None:
    """And that is said, also where there is no ban at all."""
    stay = 'info: 2 networks of feed drop stay; mode = "observe" in [feed.drop] removes them\n'
    result = fed.treason("unban", "--all")
    assert (result.code, result.out) == (0, "unbanned: 2 bans\n")
    assert stay in result.err
    again = fed.treason("unban", "--all")
    assert (again.code, again.out) == (0, "there is no ban\n")
    assert stay in again.err
    assert len(fed.treason("list", "--all").out.splitlines()) == 4


def test_a_feed_is_no_rule_to_unban(fed: Place) -> None:
    """Its next word would ban it all again."""
    ended = fed.treason("unban", "--rule", "feed:drop")
    assert ended.code == 1
    assert ended.err.startswith("treason: what a feed names is not unbanned: ")
    assert 'set mode = "observe" in [feed.drop]' in ended.err
