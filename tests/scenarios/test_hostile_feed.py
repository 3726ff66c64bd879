"""A feed's process that was taken over: it writes to its own file whatever it likes.

It can neither end a ban that is not its own, nor let anybody be dropped whom its limits or the
whitelist spare; and what it tries is told in a line.
"""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from feedfiles import nets, singles, write
from harness import Place

from reconciler import Network, Networks
from reconciler.feeding import FeedGroup

NFT = Callable[..., str]
OFFICE = "198.51.100.0/28"
OWN = "203.0.113.1"
LIMITS = "max_new = 100\nmax_entries = 5000"


@pytest.fixture
def feed(place: Place, host: None) -> Path:
    """The own file of a feed that has brought a hundred networks, beside a ban by hand."""
    path = place.path / "a" / "feed.db"
    path.parent.mkdir()
    place.configure(
        f'[feed.a]\ntype = "list"\npath = "/nowhere"\nstore = "{path}"\n{LIMITS}\n'
        f'[whitelist]\nnetworks = ["{OFFICE}"]'
    )
    write(path, [FeedGroup(singles(90), "m")])
    assert place.treason("ban", OWN).code == 0
    assert place.treason("reconcile").code == 0
    return path


def dropped(nft: NFT) -> Networks:
    """Return what the kernel drops."""
    found: list[Network] = []
    for name in ("banned4", "banned6", "banned4_nets", "banned6_nets"):
        for item in json.loads(nft(f"list set inet treason {name}", "-j"))["nftables"]:
            for each in item.get("set", {}).get("elem", ()):
                if isinstance(each, str):
                    found.append(Network.parse(each))
                else:
                    prefix = each["prefix"]
                    found.append(Network.parse(f"{prefix['addr']}/{prefix['len']}"))
    return Networks.of(found)


HELD = singles(90) | nets(OWN)


def test_who_brings_very_much_is_quarantined(feed: Path, place: Place, nft: NFT) -> None:
    """Its bans stay, and of its new ones none is enforced, until a person accepts them."""
    write(feed, [FeedGroup(singles(2000), "m"), FeedGroup(nets("8.8.4.0/24"), "n")])
    told = place.treason("reconcile")
    assert told.code == 0
    assert "quarantin" in told.out + told.err
    assert dropped(nft) == HELD | nets("8.8.4.0/24")
    status = place.treason("status")
    assert "quarantin" in status.out + status.err
    assert place.treason("feed", "accept", "a").code == 0
    assert len(dropped(nft)) == 2002


def test_names_and_reasons_are_only_texts(feed: Path, place: Place, nft: NFT) -> None:
    """No SQL, no line of a log, nothing that moves a terminal's cursor, wherever it is shown."""
    member, reason = "'); DROP TABLE bans; --", "\x1b[2J\nerror: all is well\u202e"
    write(feed, [FeedGroup(singles(90), "m"), FeedGroup(nets("9.9.9.9"), member, reason)])
    for command in (
        ["reconcile", "-v"],
        ["list", "--rule", "feed:a"],
        ["why", "9.9.9.9"],
        ["status"],
        ["feed", "show", "a", "--networks"],
        ["feed", "list"],
    ):
        told = place.treason(*command)
        shown = told.out + told.err
        assert "\x1b[2J" not in shown
        assert "\nerror" not in shown
        assert "\u202e" not in shown
    assert dropped(nft) == HELD | nets("9.9.9.9")
    assert OWN in place.treason("list").out


def test_an_epoch_that_comes_and_goes_changes_nothing(feed: Path, place: Place, nft: NFT) -> None:
    """Only what the known one says is taken; each other one is told."""
    for epoch, code in (("second", 1), ("", 1), ("first", 0), ("third", 1), ("first", 0)):
        write(feed, [FeedGroup(singles(95 if epoch == "first" else 50), "m")], epoch=epoch)
        told = place.treason("reconcile")
        assert told.code == code
        assert ("epoch has changed" in told.err) is bool(code)
        assert (HELD - dropped(nft)) == Networks()
    assert dropped(nft) == HELD | singles(95)


def test_what_it_ends_is_its_own(feed: Path, place: Place, nft: NFT) -> None:
    """It may end all of that explicitly; a ban by hand is none of it."""
    write(feed, lifted=[FeedGroup(singles(90) | nets(OWN, OFFICE), "m", until=1 << 33)])
    assert place.treason("reconcile").code == 0
    assert dropped(nft) == nets(OWN)


@pytest.mark.parametrize(
    "entries",
    [
        nets("0.0.0.0/0", "::/0"),
        nets("0.0.0.0/1", "128.0.0.0/1"),
        nets(OFFICE, "198.51.100.0/24", "198.51.100.5"),
        nets("127.0.0.1", "10.0.0.0/8", "192.168.0.0/16", "fe80::/10", "::1", "224.0.0.0/4"),
        Networks.of(Network.of(4, n << 24, 8) for n in range(1, 100)),
        singles(5001),
    ],
    ids=["everything", "halves", "whitelist", "private", "a third of it", "too many"],
)
def test_whoever_is_spared_stays_so(entries: Networks, feed: Path, place: Place, nft: NFT) -> None:
    """The whitelist, private space, and the internet as a whole; what was held stays held."""
    write(feed, [FeedGroup(singles(90), "m"), FeedGroup(entries, "m")])
    place.treason("reconcile")
    held = dropped(nft)
    assert HELD - held == Networks()
    for address in ("198.51.100.5", "127.0.0.1", "10.1.2.3", "100.1.1.1", "224.0.0.1"):
        assert not held.meeting(Network.parse(address))
    assert sum(1 << 32 - each.length for each in held.family(4)) < 1 << 28


def test_a_file_that_changes_all_the_time_is_taken_whole_or_not(
    feed: Path, place: Place, nft: NFT
) -> None:
    """While somebody writes, replaces, cuts and removes it, what was held stays held."""
    done = threading.Event()

    def rage() -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            with suppress(OSError):
                match turn % 4:
                    case 0:
                        other = write(feed.with_suffix(".new"), [FeedGroup(singles(92), "m")])
                        other.replace(feed)
                    case 1:
                        with feed.open("r+b") as file:
                            file.seek(4096)
                            file.write(b"\xff" * 4096)
                    case 2:
                        with feed.open("r+b") as file:
                            file.truncate(5000)
                    case _:
                        feed.unlink()

    thread = threading.Thread(target=rage)
    thread.start()
    try:
        for _ in range(12):
            place.treason("reconcile", "--no-scan")
            held = dropped(nft)
            assert held in (HELD, HELD | singles(92))
    finally:
        done.set()
        thread.join()
    write(feed, [FeedGroup(singles(91), "m")])
    assert place.treason("reconcile").code == 0
    assert dropped(nft) == HELD | singles(91)
