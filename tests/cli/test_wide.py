"""Whitelist entries that are wrong, or so wide that nobody would be dropped any more."""

import pytest
from harness import Place

WIDE = ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "8000::/1", "8.0.0.0/7", "::ffff:0:0/96"]


@pytest.mark.parametrize("network", WIDE)
def test_a_network_wider_than_any_private_one_needs_force(network: str, place: Place) -> None:
    """The refusal tells what it would do, and changes nothing."""
    place.treason("ban", "9.9.9.9", "9.9.9.8", "200.0.0.1", "8001::1")
    before = place.snapshot()
    result = place.treason("whitelist", "add", "192.0.2.1", network)
    assert (result.code, result.out) == (1, "")
    assert " would be dropped, whatever is banned; " in result.err
    assert " would no longer be enforced" in result.err
    assert "use --force to add it anyway; nothing was changed" in result.err
    assert place.snapshot() == before
    forced = place.treason("whitelist", "add", "--force", network)
    assert forced.code == 0
    assert "would be dropped, whatever is banned" in forced.err


def test_the_bans_that_it_concerns_are_counted(place: Place) -> None:
    """Of its own family alone; without a database there are none."""
    assert (
        "0 stored bans would no longer be enforced" in place.treason("whitelist", "add", "::/0").err
    )
    place.treason("ban", "9.9.9.9", "9.9.9.8", "200.0.0.1", "8001::1")
    assert "nobody in all of IPv4" in place.treason("whitelist", "add", "0.0.0.0/0").err
    assert (
        "3 stored bans would no longer be enforced"
        in place.treason("whitelist", "add", "0.0.0.0/0").err
    )
    half = place.treason("whitelist", "add", "0.0.0.0/1").err
    assert "nobody in 1/2 of IPv4" in half
    assert "2 stored bans would no longer be enforced" in half


def test_where_the_bans_cannot_be_counted_that_is_told(place: Place) -> None:
    """What cannot be read is not taken for none."""
    place.database.write_bytes(b"not a database" * 100)
    place.database.chmod(0o600)
    result = place.treason("whitelist", "add", "0.0.0.0/0")
    assert "how many bans that concerns cannot be told" in result.err


@pytest.mark.parametrize("network", ["10.0.0.0/8", "fc00::/7", "fe80::/10", "172.16.0.0/12"])
def test_private_networks_need_none(network: str, place: Place) -> None:
    """However wide they are."""
    assert place.treason("whitelist", "add", network).out == f"{network}: whitelisted\n"


def test_an_entry_written_by_hand_is_told_by_the_check(place: Place) -> None:
    """It is taken, as it was, and named."""
    place.configure('[whitelist]\nnetworks = ["10.0.0.0/8", "128.0.0.0/1"]')
    result = place.treason("config", "check")
    [note, end] = result.out.splitlines()
    assert (result.code, end) == (0, f"{place.config}: OK")
    assert note.startswith("note: 128.0.0.0/1 is wider than /8, the widest private network")


def test_every_wrong_entry_of_a_long_list_is_named(place: Place) -> None:
    """The first ten; what stands among many is not found one by one."""
    wrong = [f"host{number}" for number in range(12)]
    right = [f"192.0.2.{number}" for number in range(100)]
    mixed = ", ".join(f'"{text}"' for text in (*right[:50], *wrong, *right[50:]))
    (place.path / "whitelist.toml").write_text(f"networks = [{mixed}]")
    told = place.treason("config", "check").out
    assert all(f"'{text}' is not an IP address or network" in told for text in wrong[:10])
    assert told.endswith("and 2 more\n")
