"""The chain as text: what is read from iptables-save, what is wrong, and what is sent."""

import pytest

from backends.xtables import chain, hooks
from backends.xtables.chain import Fixed, parse
from backends.xtables.hooks import Hook, chain_hooks, enforced
from reconciler import BackendUnreadable, Desired, Network
from reconciler.planning.desired import desired

SETS = Fixed(
    ("-m set --match-set treason4p src -j RETURN",),
    ("-m set --match-set treason4 src -j DROP", "-m set --match-set treason4n src -j DROP"),
)
INPUT = chain_hooks(["INPUT"])


def wanted(banned: str = "", passed: str = "") -> Desired:
    """Desire networks."""
    return desired(map(Network.parse, banned.split()), map(Network.parse, passed.split()))


def body(state: Desired, version: int = 4, fixed: Fixed = chain.NO_SETS) -> list[str]:
    """Return the right chain."""
    return [*chain.body(state, version, fixed)]


def save(*rules: str, table: str = "filter", more: str = "") -> str:
    """Write a table with the chain as iptables-save does."""
    text = "".join(f"-A {chain.CHAIN} {rule}\n" for rule in rules)
    return f"*{table}\n:INPUT ACCEPT [0:0]\n:{chain.CHAIN} - [0:0]\n{more}{text}COMMIT\n"


def problems(
    text: str, hooked: tuple[Hook, ...] = INPUT, fixed: Fixed = chain.NO_SETS
) -> list[str]:
    """Return all that is damaged in a family, in words."""
    listing = parse(text)
    held = chain.contents(listing, 4, {hook.table for hook in hooked}, fixed)
    return [str(each) for each in hooks.damage(listing, 4, hooked, held)]


def test_the_parts_of_the_chain_stand_in_this_order() -> None:
    """Loopback, sets that pass, networks that pass, sets that drop, networks that are dropped."""
    assert body(wanted("192.0.2.0/24 10.0.0.1", "198.51.100.9"), fixed=SETS) == [
        "-i lo -j RETURN",
        "-m set --match-set treason4p src -j RETURN",
        "-s 198.51.100.9/32 -j RETURN",
        "-m set --match-set treason4 src -j DROP",
        "-m set --match-set treason4n src -j DROP",
        "-s 10.0.0.1/32 -j DROP",
        "-s 192.0.2.0/24 -j DROP",
    ]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("fixed", [chain.NO_SETS, SETS])
def test_what_is_written_is_read_back(version: int, fixed: Fixed) -> None:
    """With sets and without; a network of length 0 is a rule without a source."""
    texts = {4: ("10.0.0.0/8 192.0.2.7", "203.0.113.0/24"), 6: ("2001:db8::/33 ::1.2.3.4", "::/0")}
    state = wanted(*texts[version])
    content = chain.read(body(state, version, fixed), version, fixed)
    assert content == chain.Content(state.banned, state.passed, "")
    everything = Desired(frozenset({Network.of(version, 0, 0)}))
    assert body(everything, version)[-1] == "-j DROP"
    assert chain.read(body(everything, version), version).banned == everything.banned


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], "lacks '-i lo -j RETURN'"),
        (["-i lo -j RETURN", "-j ACCEPT"], "has '-j ACCEPT'"),
        (["-i lo -j RETURN", "-s 10.0.0.1/255.0.0.255 -j DROP"], "has '-s 10.0.0.1/255.0.0.255"),
        (["-i lo -j RETURN", "-s 2001:db8::1/128 -j DROP"], "has '-s 2001:db8::1/128 -j DROP'"),
        (["-i lo -j RETURN", "-s 0.0.0.0/0 -j DROP"], "has '-s 0.0.0.0/0 -j DROP'"),
        (["-i lo -j RETURN", "-s 10.0.0.1/32 -j DROP", "-s 10.0.0.1/32 -j DROP"], "twice"),
        (["-s 10.0.0.1/32 -j DROP", "-i lo -j RETURN"], "another order"),
        (["-i lo -j RETURN", "-s 10.0.0.1/32 -j DROP", "-j RETURN"], "another order"),
        (
            [f"-p {name} -j DROP" for name in ("tcp", "udp", "sctp")],
            "has '-p tcp -j DROP', has '-p udp -j DROP', and 1 more differences",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_chain_is_said(rules: list[str], said: str) -> None:
    """In few words, and never more than three."""
    assert said in chain.read(rules, 4).problem


@pytest.mark.parametrize("place", range(5))
def test_each_set_has_its_rule_and_its_place(place: int) -> None:
    """A rule that is missing, and one that is moved to the end or the front, is seen."""
    rules = body(wanted("10.0.0.1"), fixed=SETS)
    assert chain.read(rules, 4, SETS).problem == ""
    moved = rules[:place] + rules[place + 1 :]
    if place < 4:
        assert "lacks" in chain.read(moved, 4, SETS).problem
    if place != 4:
        assert "order" in chain.read([*moved, rules[place]], 4, SETS).problem
    if place != 0:
        assert "order" in chain.read([rules[place], *moved], 4, SETS).problem


def test_counters_and_comments_are_read_over() -> None:
    """Saved files may have both."""
    text = "# x\n*filter\n:INPUT ACCEPT [7:70]\n[7:70] -A INPUT -j TREASON\n[0:0] -A x\nCOMMIT\n"
    assert parse(text) == {"filter": {"INPUT": ["-j TREASON"], "x": [""]}}


def test_quoted_text_imitates_nothing() -> None:
    """Line breaks in it are none; a quote in a chain's name opens nothing."""
    text = (
        '*filter\n:a"b - [0:0]\n-A a"b -m comment --comment "\\"x\n*raw\n-A TREASON -j DROP\n\\\\"'
        ' -j ACCEPT\n-A a"b -j DROP\nCOMMIT\n'
    )
    listing = parse(text)
    assert listing.keys() == {"filter"}
    assert listing["filter"].keys() == {'a"b'}
    assert listing["filter"]['a"b'][1:] == ["-j DROP"]
    more = '-A INPUT -m comment --comment " -j TREASON " -j ACCEPT\n'
    assert hooks.jumps(parse(save(more=more)), "filter") == {}


def test_a_hidden_table_is_unreadable_where_it_matters() -> None:
    """Only if it is one of those that are asked for."""
    text = "# Table `raw' is incompatible, use 'nft' tool.\n"
    assert parse(text, ["filter"]) == {}
    with pytest.raises(BackendUnreadable, match="raw"):
        parse(text, ["filter", "raw"])


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], "lacks '-j TREASON'"),
        (["-p tcp -j ACCEPT", "-j TREASON"], "does not begin with '-j TREASON'"),
        (["-j TREASON", "-j TREASON"], "has '-j TREASON' 2 times"),
        (["-p tcp -j TREASON", "-j TREASON"],
         "has '-p tcp -j TREASON', does not begin with '-j TREASON'"),
        (["-g TREASON"], "has '-g TREASON', lacks '-j TREASON'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_jump_is_said(rules: list[str], said: str) -> None:
    """Of the chain that it is in; deleted by what they say, and made anew."""
    more = "".join(f"-A INPUT {rule}\n" for rule in rules)
    text = save("-i lo -j RETURN", more=more)
    assert problems(text) == [f"chain INPUT (IPv4 filter): {said}"]
    (repair,) = hooks.repairs(parse(text), INPUT)
    leading = [f"-D INPUT {rule}" for rule in rules if "TREASON" in rule]
    assert repair.lines() == [*leading, "-I INPUT 1 -j TREASON"]


def test_a_right_structure_needs_no_repair() -> None:
    """Other chains' names and targets that look like ours are others'."""
    more = "-A INPUT -j TREASON\n-A INPUT -j TREASONABLE\n-A x -j NOT-TREASON\n-A x -o TREASON\n"
    text = save("-i lo -j RETURN", more=more)
    assert problems(text) == []
    assert hooks.repairs(parse(text), INPUT) == []


def test_a_hook_may_exist_in_one_family_alone() -> None:
    """Built-in chains always do; what exists nowhere is told."""
    some = chain_hooks(["DOCKER-USER", "OUTPUT"])
    with_it, without = parse("*filter\n:DOCKER-USER - [0:0]\nCOMMIT\n"), parse("")
    assert hooks.absent([with_it, without], some) == []
    assert hooks.absent([without, without], some) == [Hook("filter", "DOCKER-USER")]


def test_small_changes_are_lines_and_large_ones_a_new_chain() -> None:
    """Additions come first; a new whitelist, a flaw or eleven removals replace all."""
    rules = body(wanted("10.0.0.1 10.0.0.3"))
    assert chain.changes(rules, wanted("10.0.0.1 10.0.0.3"), 4) == []
    assert chain.changes(rules, wanted("10.0.0.1 10.0.0.5"), 4) == [
        "-A TREASON -s 10.0.0.5/32 -j DROP",
        "-D TREASON -s 10.0.0.3/32 -j DROP",
    ]
    new = ":TREASON - [0:0]"
    assert chain.changes(rules, wanted("10.0.0.1", "10.0.0.2"), 4)[0] == new
    assert chain.changes([*rules, "-j ACCEPT"], wanted("10.0.0.1 10.0.0.3"), 4)[0] == new
    assert chain.changes(None, wanted(), 4) == [new, "-A TREASON -i lo -j RETURN"]
    eleven = body(Desired(frozenset(Network.of(4, number, 32) for number in range(11))))
    assert chain.changes(eleven, wanted(), 4) == [new, "-A TREASON -i lo -j RETURN"]
    assert len(chain.changes(eleven[:-1], wanted(), 4)) == 10


def test_tables_without_lines_are_not_sent() -> None:
    """One text has all tables of a family."""
    assert chain.restore({"raw": ["-A x"], "filter": [], "mangle": ["-A y", "-A z"]}) == (
        "*mangle\n-A y\n-A z\nCOMMIT\n*raw\n-A x\nCOMMIT\n"
    )


def test_what_is_enforced_is_chain_and_jumps_alone() -> None:
    """What others have beside them does not count; whether a jump comes first does."""
    one = save("-j DROP", more="-A INPUT -j TREASON\n-A INPUT -j ACCEPT\n")
    two = save("-j DROP", more="-A INPUT -j TREASON\n")
    late = save("-j DROP", more="-A INPUT -j ACCEPT\n-A INPUT -j TREASON\n")
    assert enforced(parse(one)) == enforced(parse(two))
    assert enforced(parse(one)) != enforced(parse(late))
    assert enforced(parse("*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n")) == {}
