"""What `status` shows, held against the kernel: packets by packets, bans by bans."""

from collections.abc import Callable, Iterator

import pytest
from harness import Place
from pytest_mock import MockerFixture

from reconciler.host.netns import Wire
from reconciler.passes import prepared

Nft = Callable[..., str]

BANNED, OTHER = ("198.51.100.7", "2001:db8:bad::1"), "198.51.100.8"
BACKENDS = ("nftables", "ipset", "iptables")


@pytest.fixture
def wire(nft: Nft) -> Iterator[Wire]:
    """A cable to who is banned, and to somebody else."""
    made = Wire([*BANNED, OTHER])
    yield made
    made.close()


def dropped(place: Place) -> tuple[int, str | None]:
    """Return how many packets were dropped, and since when."""
    (told,) = place.treason("status", "-o", "json").json["dropped"]
    assert told["error"] is None
    return told["packets"], told["since"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_packets_that_are_dropped_are_counted(backend: str, place: Place, wire: Wire) -> None:
    """Since the chain was made: a repair that makes it anew begins at nothing."""
    place.configure(main=f'sources = []\nbackends = ["{backend}"]')
    assert place.treason("status", "-o", "json").json["dropped"][0]["packets"] is None
    place.treason("ban", *BANNED)
    assert place.treason("reconcile").code == 0
    before, since = dropped(place)
    assert (since is not None) == (backend == "nftables")
    for _ in range(5):
        assert wire.arriving([*BANNED, OTHER]) == {OTHER}
    assert dropped(place)[0] >= before + 10
    assert place.treason("reconcile").code == 0
    assert dropped(place)[0] >= before + 10
    shown = place.treason("status").out
    assert "packets" in shown
    assert (f"since {since}" if since else "since the chain was made") in shown
    place.treason("teardown")
    assert place.treason("reconcile").code == 0
    assert dropped(place)[0] < before + 10


def test_a_backend_that_counts_nothing_has_no_line(place: Place, nft: Nft) -> None:
    """A file has no packets."""
    place.configure(main=f'sources = []\nbackends = ["file:{place.path}/list"]')
    place.treason("ban", *BANNED)
    assert place.treason("reconcile").code == 0
    assert place.treason("status", "-o", "json").json["dropped"] == []
    assert "dropped" not in place.treason("status").out


def test_several_backends_are_told_apart(place: Place, nft: Nft) -> None:
    """Each by its name, on a line of its own."""
    place.configure(main='sources = []\nbackends = ["nftables", "iptables"]')
    place.treason("ban", *BANNED)
    assert place.treason("reconcile").code == 0
    lines = [line.split() for line in place.treason("status").out.splitlines()]
    at = next(number for number, words in enumerate(lines) if words[0] == "dropped")
    assert (lines[at][1], lines[at + 1][0]) == ("nftables:", "iptables:")


def test_what_is_to_drop_is_told_without_reading_the_bans(
    place: Place, nft: Nft, mocker: MockerFixture
) -> None:
    """As long as it is known what the backend holds; with what has changed since, and exactly."""
    place.configure(main="sources = []")
    place.treason("ban", "192.0.2.0/28", "198.51.100.7", "203.0.113.9")
    place.treason("whitelist", "add", "192.0.2.3")
    assert place.treason("reconcile").code == 0
    place.treason("ban", "192.0.2.128/25", "192.0.2.200", "198.51.100.9")
    place.treason("unban", "203.0.113.9")
    read = mocker.spy(prepared._Whole, "__call__")  # noqa: SLF001 - what is spared
    known = place.treason("status", "-o", "json").json
    assert (read.call_count, known["backends"][0]["state"]) == (0, "drift")
    assert place.treason("reconcile").code == 0
    in_sync = place.treason("status", "-o", "json").json
    assert place.treason("reconcile", "--full").code == 0
    nft("add table inet other")  # so that the fingerprint is another one
    read.reset_mock()
    again = place.treason("status", "-o", "json").json
    assert read.call_count > 0
    assert known["desired"] == in_sync["desired"] == again["desired"]


def test_bans_are_told_by_their_origin(place: Place, nft: Nft) -> None:
    """The most first, with the rule's name, and what people banned; as JSON, too."""
    log = place.path / "log"
    lines = [
        f"TCP: Treason uncloaked! Peer 203.0.113.{number}:4638/8080 shrinks window 1:2. Repaired.\n"
        for number in (1, 2, 3)
    ]
    log.write_text("".join(lines))
    place.configure(f'[source.file]\npath = "{log}"\ntrusted = true', main='sources = ["file"]')
    place.treason("ban", "192.0.2.7", "--for", "1h")
    assert place.treason("reconcile").code == 0
    result = place.treason("status", "-o", "json")
    rule, manual = result.json["origins"]
    assert (rule["permanent"], rule["temporary"]) == (3, 0)
    assert manual == {"origin": "manual", "permanent": 0, "temporary": 1}
    (source,) = result.json["read"]
    assert (source["source"], source["offences"]) == ("file", 3)
    assert source["moved"] is not None
    assert source["last_offence"] is not None
    shown = place.treason("status").out
    assert f"{rule['origin']}: 3 permanent" in shown
    assert f"file: moved on at {source['moved']} (" in shown
