"""Tables of feeds that are refused, with the line and what is wrong."""

import pytest
from harness import Place

LIST = 'type = "list"\npath = "/nowhere"\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('type = "lst"', "[feed.a] type: unknown feed 'lst'; did you mean 'list'?"),
        ('type = "list"\npath = 5', "[feed.a] path: must be a string, not a whole number"),
        (f"{LIST}max_new = -5", "[feed.a] max_new: 'max_new' must be >= 0: -5"),
        (f"{LIST}max_removals = nan", "[feed.a] max_removals: 'max_removals' must be >= 0: nan"),
        (f"{LIST}pubish = []", "[feed.a] unknown key 'pubish'"),
    ],
)
def test_a_wrong_key_is_named(text: str, why: str, place: Place) -> None:
    """In one line, in words that an administrator knows."""
    place.configure(f"[feed.a]\n{text}")
    told = place.treason("config", "check")
    assert told.code == 1
    assert told.out.splitlines()[0].endswith(why)


def test_no_feed_writes_what_is_anothers(place: Place) -> None:
    """Neither the database nor the file of another feed, by whatever name."""
    place.configure(f'[feed.a]\n{LIST}store = "{place.path}/./{place.database.name}"')
    assert "treason keeps its database there" in place.treason("config", "check").out
    assert place.treason("feed", "run", "a").code == 1
    stores = [f'[feed.{name}]\n{LIST}store = "{name[0]}/feed.db"\n' for name in ("a", "b", "a2")]
    place.configure("".join(stores[:2]))
    assert place.treason("config", "check").code == 0
    place.configure("".join(stores))
    told = place.treason("config", "check")
    assert (told.code, "[feed.a2] store: " in told.out) == (1, True)
    assert "is refused: [feed.a] writes it" in told.out


def test_a_feed_may_put_a_link_where_its_file_was(place: Place) -> None:
    """Whoever may write to its directory cannot make the configuration a wrong one."""
    place.configure("".join(f'[feed.{n}]\n{LIST}store = "{n}/feed.db"\n' for n in "ab"))
    (place.path / "a").mkdir()
    for target in ("../b/feed.db", place.database):
        (place.path / "a" / "feed.db").unlink(missing_ok=True)
        (place.path / "a" / "feed.db").symlink_to(target)
        assert place.treason("config", "check").code == 0


def test_a_rule_that_nobody_has_is_not_published(place: Place) -> None:
    """It is named, with one that is alike; rules of one's own and bans by hand may be told."""
    table = (
        '[feed.a]\ntype = "list"\npath = "/x"\npublish = ["zero-window", "manual", "trap", "{}"]\n'
    )
    rule = '[[rule]]\nname = "trap"\npattern = "trap (?P<address>\\\\S+)"\n'
    place.configure(table.format("zero-windw") + rule)
    checked = place.treason("config", "check")
    assert checked.code == 1
    assert "publish: unknown rule 'zero-windw'; did you mean 'zero-window'?" in checked.out
    place.configure(table.format("ufw-block") + rule)
    assert place.treason("config", "check").code == 0
