"""The filter of events, attached to sockets that hear what really happens in a namespace."""

from collections.abc import Callable, Iterator

import pytest

from reconciler.netlink import (
    CREATE,
    MESSAGES,
    NFTABLES,
    NFTABLES_EVENTS,
    Connection,
    Message,
    about_table,
    attribute,
    nested,
    text,
)

Nft = Callable[..., str]

_LONG = ", ".join(f"10.0.{at // 250}.{at % 250}" for at in range(3000))
_ELSEWHERE = (
    "add element inet other s { 1.1.1.1 }",
    "add element inet other s { 1.1.1.2, 1.1.1.3 }; add rule inet other c accept",
    f"add element inet other s {{ {_LONG} }}",
    "flush set inet other s",
    "add element inet treason2 s { 1.1.1.1 }",
    "delete table inet treaso",
    "add table inet t; delete table inet t",
    "add counter inet other treason",
    "add chain inet other treason; add rule inet other treason counter",
)
_OURS = (
    "add element inet treason banned4 { 1.1.1.1 }",
    "add element inet other s { 1.1.1.2 }; flush set inet treason banned4",
    "add rule inet treason c ip saddr @banned4 drop",
    (
        "add element inet other s { 1.1.1.3, 1.1.1.4 };"
        " add element inet treason banned4 { 1.1.1.9 }; add element inet treason2 s { 1.1.1.2 }"
    ),
    f"add element inet other s {{ {_LONG} }}; delete element inet treason banned4 {{ 1.1.1.5 }}",
    "add table inet treason { flags dormant; }",
    "delete chain inet treason c",
    "add counter inet treason n",
    "add map inet treason m { type ipv4_addr : verdict; }",
    "delete set inet treason banned4",
    "delete table inet treason",
    "flush ruleset",
)


@pytest.fixture
def tables(host: None, nft: Nft) -> Nft:
    """Our table, and others of nearly the same name."""
    nft(
        "add table inet treason; add chain inet treason c;"
        " add set inet treason banned4 { type ipv4_addr; elements = { 1.1.1.5 }; };"
        "add table inet other; add set inet other s { type ipv4_addr; }; add chain inet other c;"
        "add table inet treason2; add set inet treason2 s { type ipv4_addr; };"
        "add table inet treaso"
    )
    return nft


@pytest.fixture
def events() -> Iterator[Connection]:
    """A socket that hears of our table."""
    connection = Connection([NFTABLES_EVENTS], let_through=about_table("treason", but_of=1))
    yield connection
    connection.close()


@pytest.mark.parametrize("text", _ELSEWHERE, ids=lambda text: text[:60])
def test_what_is_of_other_tables_wakes_nobody(text: str, tables: Nft, events: Connection) -> None:
    """However many events a commit has."""
    tables(text)
    assert not [*events.events()]


@pytest.mark.parametrize("text", _OURS, ids=lambda text: text[:60])
def test_what_is_of_the_table_comes_through(text: str, tables: Nft, events: Connection) -> None:
    """Also in the middle of what others are changed by."""
    tables(text)
    assert [*events.events()]


@pytest.mark.parametrize("most", MESSAGES)
def test_longer_datagrams_come_through(most: int, tables: Nft) -> None:
    """What cannot be looked at as a whole may be of the table."""
    heard = Connection(
        [NFTABLES_EVENTS], let_through=about_table("treason", but_of=1, messages=most)
    )
    tables("add table inet t; add set inet t s { type ipv4_addr; }")
    for number, expected in ((most, False), (most + 1, True)):
        addresses = ", ".join(f"10.0.0.{last}" for last in range(number))
        tables(f"add element inet t s {{ {addresses} }}")
        assert bool([*heard.events()]) == expected
        tables("delete set inet t s; add set inet t s { type ipv4_addr; }")
        assert not [*heard.events()]


def test_a_table_of_another_family_comes_through(tables: Nft, events: Connection) -> None:
    """Families are told apart by whoever listens."""
    tables("add table ip treason")
    assert {event.family for event in events.events()} == {2}


def test_changes_by_the_own_socket_do_not_come(tables: Nft) -> None:
    """Those that another one makes do."""
    own, other = Connection(), Connection()
    heard = Connection([NFTABLES_EVENTS], let_through=about_table("treason", but_of=own.port))
    flush = Message(NFTABLES << 8 | 14, 1, text(1, "treason") + text(2, "banned4"))
    element = nested(1, nested(1, attribute(1, bytes([1, 1, 1, 5]))))
    fill = Message(NFTABLES << 8 | 12, 1, flush.body + nested(3, element), CREATE)
    own.commit([flush])
    own.commit([fill])
    assert not [*heard.events()]
    other.commit([flush])
    assert {event.port for event in heard.events()} == {other.port}


def test_any_name_has_a_filter(host: None, nft: Nft) -> None:
    """Short ones, and the longest."""
    for name in ("t", "abc", "n" * 60):
        heard = Connection([NFTABLES_EVENTS], let_through=about_table(name, but_of=1))
        nft(f"add table inet {name}x; add table inet {name[1:] or 'y'}")
        assert not [*heard.events()]
        nft(f"add table inet {name}")
        assert [*heard.events()]
