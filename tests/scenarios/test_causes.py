"""A known cause is never lost: what was lifted is lifted, whatever came in between."""

import sqlite3
from collections.abc import Callable

import pytest
from harness import Place

from reconciler.execute import run

Nft = Callable[..., str]
TWELVE = [f"198.51.100.{number}" for number in range(1, 13)]
YEARS = 3 * 365 * 86400


def held(nft: Nft) -> list[str]:
    """Return which of the twelve are dropped."""
    listed = nft("list set inet treason banned4").replace(",", " ").split()
    return [address for address in TWELVE if address in listed]


def enforced(place: Place, *bans: str) -> None:
    """Ban the twelve and one more, and make a pass."""
    assert place.treason("ban", *TWELVE, *bans).code == 0
    assert place.treason("ban", "203.0.113.1").code == 0
    assert place.treason("reconcile", "--no-scan").code == 0


def change(place: Place, *statements: str) -> None:
    """Change the database as another program would; ``:years`` are three of them."""
    with sqlite3.connect(place.database) as database:
        for statement in statements:
            database.execute(statement, {"years": YEARS})
    database.close()


def insert(place: Place, *texts: str) -> None:
    """Insert into the original script's table, as it did."""
    with sqlite3.connect(place.database) as database:
        database.executemany("INSERT INTO badips (ip) VALUES (?)", [(text,) for text in texts])
    database.close()


def test_bans_that_ended_longer_ago_than_history_is_kept_are_lifted(nft: Nft, place: Place) -> None:
    """The pass that finds them prunes nothing that it has still to carry out; the next one does."""
    enforced(place, "--for", "1h")
    change(
        place,
        "UPDATE bans SET since = since - :years, until = until - :years",
        "UPDATE history SET time = time - :years",
        "DELETE FROM prunings",
    )
    assert len(held(nft)) == 12
    assert place.treason("reconcile", "--no-scan").code == 0
    assert held(nft) == []
    change(place, "DELETE FROM prunings")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert place.treason("history", TWELVE[0]).out.count("expiry") == 0


def test_a_backend_that_was_away_still_learns_why(nft: Nft, place: Place) -> None:
    """Others went on without it for longer than history is kept."""
    enforced(place)
    assert place.treason("unban", *TWELVE).code == 0
    change(place, "UPDATE history SET time = time - :years", "DELETE FROM prunings")
    other = f"file:{place.path}/list"
    assert place.treason("reconcile", "--no-scan", "--backend", other).code == 0
    change(place, "DELETE FROM prunings")
    assert place.treason("reconcile", "--no-scan", "--backend", other).code == 0
    assert len(held(nft)) == 12
    assert place.treason("reconcile", "--no-scan").code == 0
    assert held(nft) == []


def test_what_is_enforced_and_not_stored_can_be_unbanned(nft: Nft, place: Place) -> None:
    """The database was lost: the guard asks why, and an unban is an answer."""
    enforced(place)
    change(place, "DELETE FROM bans", "DELETE FROM history", "DELETE FROM verified")
    assert place.treason("reconcile", "--no-scan").code == 1
    assert len(held(nft)) == 12
    said = place.treason("unban", *TWELVE[:11], "203.0.113.1").out
    assert said.count("was not banned; a firewall that still drops it stops") == 12

    assert place.treason("history", TWELVE[0]).out.count("unban\t") == 1
    assert place.treason("reconcile", "--no-scan").code == 0
    assert held(nft) == []


def test_an_unban_counts_however_the_ban_was_spelt(nft: Nft, place: Place) -> None:
    """An old script wrote another spelling into badips: its ban is the one that was lifted."""
    assert place.treason("ban", "203.0.113.1").code == 0
    insert(place, *(f"{each}/32" for each in TWELVE))
    assert place.treason("reconcile", "--no-scan").code == 0
    assert len(held(nft)) == 12
    assert place.treason("unban", *TWELVE).out.count(": unbanned") == 12
    change(place, "DELETE FROM verified")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert held(nft) == []


def test_a_narrower_min_prefix_explains_what_it_lifts(nft: Nft, place: Place) -> None:
    """The bans are stored, and the configuration says that they are not to be enforced."""
    place.configure(main="min_prefix = { ipv4 = 8, ipv6 = 32 }")
    assert place.treason("ban", "203.0.113.1").code == 0
    insert(place, *(f"11.{number}.0.0/15" for number in range(0, 24, 2)))
    assert place.treason("reconcile", "--no-scan").code == 0
    assert nft("list set inet treason banned4_nets").count("/15") == 12
    place.configure()
    assert place.treason("reconcile", "--no-scan").code == 0
    assert nft("list set inet treason banned4_nets").count("/15") == 0


@pytest.mark.parametrize("backend", ["nftables", "ipset", "iptables"])
def test_a_pass_that_refuses_still_drops_nobody_who_is_protected(
    backend: str, nft: Nft, place: Place
) -> None:
    """An address that the machine got since, and the router of a new default route."""
    place.configure(main=f'backends = ["{backend}"]')
    nets = [f"198.51.{number}.0/24" for number in range(1, 13)]
    assert place.treason("ban", *nets).code == 0
    assert place.treason("reconcile", "--no-scan").code == 0
    change(place, "DELETE FROM bans", "DELETE FROM history")
    for command in (
        "ip link set lo up",
        "ip link add v0 type veth peer name v1",
        "ip link set v0 up",
        "ip link set v1 up",
        "ip addr add 198.51.5.10/24 dev v0",
        "ip route add default via 198.51.5.1",
    ):
        run(command.split())
    for _ in range(2):
        refused = place.treason("reconcile", "--no-scan")
        assert refused.code == 1
        assert "refusing to remove" in refused.err
        banned = place.treason("export", "--observed").json["backends"][backend]["banned"]
        assert {"198.51.4.0/24", "198.51.6.0/24"} < {*banned}, "all else is kept"
        assert "198.51.5.0/24" not in banned
        assert not {"198.51.5.1", "198.51.5.10"} & {*banned}
        assert "198.51.5.128/25" in banned
