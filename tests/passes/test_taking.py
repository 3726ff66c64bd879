"""What a pass takes of feeds, from their own files into the kernel."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from feedfiles import nets, singles, write
from harness import Place

from reconciler.config.setup import Setup
from reconciler.errors import ConfigError
from reconciler.feeding import FeedGroup
from reconciler.passes.run import Pass
from reconciler.passes.taking import Taker
from reconciler.store.store import open_store

LISTED = FeedGroup(nets("192.0.2.0/24", "198.51.100.7", "2a00:5::/32"), "", "scans")
NFT = Callable[..., str]


@pytest.fixture
def feed(place: Place) -> Path:
    """The own file of a configured feed, not written yet."""
    return configured(place)


def configured(place: Place, text: str = "", *, name: str = "a", whitelist: str = "") -> Path:
    """Configure a feed, and return where its own file is."""
    path = place.path / name / "feed.db"
    path.parent.mkdir(exist_ok=True)
    place.configure(
        f'[feed.{name}]\ntype = "list"\npath = "/nowhere"\nstore = "{path}"\n{text}\n'
        f"[protect]\nresolvers = false\ngateways = false\n[whitelist]\nnetworks = [{whitelist}]"
    )
    return path


def dropped(nft: NFT) -> set[str]:
    """Return what the kernel drops."""
    found: set[str] = set()
    for name in ("banned4", "banned6", "banned4_nets", "banned6_nets"):
        [held] = (
            each["set"]
            for each in json.loads(nft(f"list set inet treason {name}", "-j"))["nftables"]
            if "set" in each
        )
        for element in held.get("elem", ()):
            prefix = element["prefix"] if isinstance(element, dict) else None
            found.add(f"{prefix['addr']}/{prefix['len']}" if prefix else element)
    return found


ALL = {"192.0.2.0/24", "198.51.100.7", "2a00:5::/32"}


def test_what_a_feed_says_is_dropped(feed: Path, place: Place, nft: NFT) -> None:
    """Beside the bans; what it says no more is not, and a ban of the same stays."""
    write(feed, [LISTED])
    assert place.treason("ban", "198.51.100.7", "203.0.113.1").code == 0
    assert place.treason("reconcile").code == 0
    assert dropped(nft) == ALL | {"203.0.113.1"}
    write(feed, [FeedGroup(nets("192.0.2.0/24"))])
    assert place.treason("reconcile").code == 0
    assert dropped(nft) == {"192.0.2.0/24", "198.51.100.7", "203.0.113.1"}


def test_a_check_takes_nothing(feed: Path, place: Place, nft: NFT) -> None:
    """It tells what would change, in either direction, and writes nothing."""
    write(feed, [LISTED])
    assert place.treason("reconcile").code == 0
    assert place.treason("reconcile", "--check").code == 0
    write(feed, [FeedGroup(nets("192.0.2.0/24", "203.0.113.9"))])
    before = place.snapshot()
    check = place.treason("reconcile", "--check", "-o", "json")
    assert check.code == 2
    [backend] = check.json["backends"]
    change = backend["plan"]["banned"]
    assert change == {"add": ["203.0.113.9"], "remove": ["198.51.100.7", "2a00:5::/32"]}
    assert place.snapshot() == before
    assert dropped(nft) == ALL


def unlink(path: Path) -> None:
    """Take the file away."""
    path.unlink()


def directory(path: Path) -> None:
    """Put a directory in its place."""
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    """Put a pipe in its place."""
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    """Put a link to another file in its place."""
    path.rename(path.with_suffix(".other"))
    path.symlink_to(path.with_suffix(".other"))


def halved(path: Path) -> None:
    """Leave most of it out at once."""
    write(path, [FeedGroup(singles(5))])


def empty(path: Path) -> None:
    """Hold nothing any more."""
    write(path)


def everything(path: Path) -> None:
    """Name half of the internet."""
    write(path, [FeedGroup(singles(20) | nets("64.0.0.0/8", "96.0.0.0/8")), *WIDE])


WIDE = [FeedGroup(nets(*(f"{n}.0.0.0/8" for n in range(130, 160))), reason="wide")]


def other_epoch(path: Path) -> None:
    """Come from elsewhere."""
    write(path, [FeedGroup(singles(21))], epoch="second")


def garbage(path: Path) -> None:
    """Hold anything."""
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (unlink, "there is no such file"),
        (directory, "it is not a file"),
        (fifo, "it is not a file"),
        (link, "link"),
        (halved, "15 of 20 networks are missing at once"),
        (empty, "20 of 20 networks are missing at once"),
        (everything, "set by max_share"),
        (other_epoch, "epoch has changed"),
        (garbage, ": it is"),
    ],
)
def test_what_is_not_believed_changes_nothing(
    change: Callable[[Path], None], why: str, feed: Path, place: Place, nft: NFT
) -> None:
    """It is told in a line at each pass, all else is enforced, and the pass fails."""
    write(feed, [FeedGroup(singles(20))])
    assert place.treason("reconcile").code == 0
    held = dropped(nft)
    assert len(held) == 20
    change(feed)
    for number in (1, 2):
        assert place.treason("ban", f"203.0.113.{number}").code == 0
        ended = place.treason("reconcile")
        assert ended.code == 1
        assert why in ended.err
        assert "feed a" in ended.err
        assert dropped(nft) == held | {f"203.0.113.{each}" for each in range(1, number + 1)}
    assert place.treason("reconcile", "--check").code == 1
    if feed.is_dir():
        feed.rmdir()
    write(feed, [FeedGroup(singles(19))])
    assert place.treason("reconcile").code == 0
    assert len(dropped(nft)) == 21


def test_whoever_is_exempt_is_never_dropped(place: Place, nft: NFT) -> None:
    """The whitelist, what is protected, and private space, whatever a feed says."""
    feed = configured(place, whitelist='"198.51.100.0/25"')
    wide = nets("198.51.100.0/24", "198.51.100.3", "10.0.0.0/8", "127.0.0.1", "0.0.0.0/0", "::/0")
    write(feed, [FeedGroup(wide | nets("203.0.113.5"))])
    assert place.treason("reconcile").code == 0
    assert dropped(nft) == {"198.51.100.128/25", "203.0.113.5"}


def test_what_is_only_observed_is_not_dropped(place: Place, nft: NFT) -> None:
    """And what was enforced before is not any more, however much it is."""
    feed = configured(place)
    write(feed, [FeedGroup(singles(50))])
    assert place.treason("reconcile").code == 0
    configured(place, 'mode = "observe"')
    assert place.treason("reconcile").code == 0
    assert dropped(nft) == set()
    configured(place)
    assert place.treason("reconcile").code == 0
    assert len(dropped(nft)) == 50


def test_a_feed_that_is_not_configured_any_more_holds_nothing(place: Place, nft: NFT) -> None:
    """A check says so before; the pass removes it all, since that is explained."""
    write(configured(place), [FeedGroup(singles(50))])
    assert place.treason("reconcile").code == 0
    place.configure()
    assert place.treason("reconcile", "--check").code == 2
    assert len(dropped(nft)) == 50
    assert place.treason("reconcile").code == 0
    assert dropped(nft) == set()


@pytest.mark.parametrize("said", ["", "# nothing any more\n"])
def test_a_configuration_that_was_emptied_is_not_believed(
    said: str, place: Place, nft: NFT
) -> None:
    """It names neither feeds nor the whitelist: nothing is removed, and nobody else dropped."""
    feed = configured(place, whitelist='"198.51.100.7"')
    write(feed, [FeedGroup(nets("198.51.100.0/24"))])
    assert place.treason("reconcile").code == 0
    held, text = dropped(nft), place.config.read_text()
    place.config.write_text(said)
    with open_store(place.database, write=True) as store:
        emptied = Setup(str(place.config))
        with pytest.raises(ConfigError, match="says nothing, but named 1 feed: a"):
            Pass(emptied, store, int(time.time()), backends=emptied.backends()).run()
    place.config.write_text(text)
    assert place.treason("reconcile", "--check").code == 0
    assert dropped(nft) == held


def test_nothing_ends_while_the_clock_is_doubted(feed: Path, place: Place) -> None:
    """What has ended by it is not held, and is again once the clock went back."""
    write(feed, [FeedGroup(nets("192.0.2.1"), until=2000), FeedGroup(nets("192.0.2.2"))])
    feeds = Setup(str(place.config)).feeds
    with open_store(place.database, write=True) as store:
        taker = Taker(store, 1000)
        taker.take(feeds, store.feeds.states())
        assert store.feeds.held(1000) == nets("192.0.2.1", "192.0.2.2")
        write(feed, [FeedGroup(nets("192.0.2.1"), until=2000), FeedGroup(nets("192.0.2.3"))])
        evolve(taker, now=3000, doubted=True).take(feeds, store.feeds.states())
        assert store.feeds.held(3000) == nets("192.0.2.3")
        assert store.feeds.held(1000) == nets("192.0.2.1", "192.0.2.3")
        configured(place, "max_entries = 9")
        fewer = Setup(str(place.config)).feeds
        unwritten = evolve(taker, now=3000, doubted=True, write=False)
        assert unwritten.take(fewer, store.feeds.states()).held == nets("192.0.2.3")
        evolve(taker, now=3000).take(fewer, store.feeds.states())
        assert store.feeds.held(1000) == nets("192.0.2.3")


def test_a_ban_of_a_feed_ends_by_its_time(feed: Path, place: Place, nft: NFT) -> None:
    """While the feed's process is silent, too."""
    with open_store(place.database, write=True):
        pass
    write(
        feed, [FeedGroup(nets("192.0.2.1"), until=1), FeedGroup(nets("192.0.2.2"), until=1 << 32)]
    )
    assert place.treason("reconcile").code == 0
    assert dropped(nft) == {"192.0.2.2"}


def test_without_a_place_to_write_to_it_is_enforced_all_the_same(
    feed: Path, place: Place, nft: NFT
) -> None:
    """A locked database delays no drop."""
    with open_store(place.database, write=True) as store, store.transaction():
        write(feed, [LISTED])
        ended = place.treason("reconcile")
    assert ended.code == 1
    assert "not all was stored" in ended.err
    assert dropped(nft) == ALL
