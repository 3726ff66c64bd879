"""The contracts of feeds, on a folder that members share; and what becomes of each line."""

import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from treason_folder import Folder, Settings

from reconciler import FeedBan, FeedSnapshot, FeedUnreadable, Network
from reconciler.testing import (
    EpochFeedContract,
    NotingFeedContract,
    PublishingFeedContract,
    WakingFeedContract,
)

ROOT = Path(__file__).parent.parent
Ways = Mapping[str, Callable[[Any], AbstractContextManager[object]]]


class Members:
    """Two members, who share what they say; and we."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.write("EPOCH", "one\n")
        self.says()

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        (self.path / name).write_text(text)

    def says(self, *networks: str) -> None:
        """Let each member say every other one."""
        for member, part in (("alpha", networks[::2]), ("beta", networks[1::2])):
            self.write(f"{member}.bans", "".join(f"{each} - probes\n" for each in part))

    def feed(self) -> Folder:
        """Listen to them."""
        return Folder(Settings(str(self.path), "ours"))

    def heard(self) -> Collection[str]:
        """Read our own file."""
        own = self.path / "ours.bans"
        return [line.split()[0] for line in own.read_text().splitlines()]


class TestFolder(EpochFeedContract, NotingFeedContract, PublishingFeedContract, WakingFeedContract):
    """What every feed promises, and more."""

    members: Members

    @pytest.fixture
    def speaker(self, tmp_path: Path) -> Members:
        """A folder where nobody bans anybody."""
        self.members = Members(tmp_path / "folder")
        return self.members

    @contextmanager
    def away(self, name: str = "") -> Iterator[None]:
        """The folder is gone, or a file of it."""
        path = self.members.path / name
        away = path.rename(self.members.path.parent / "away")
        yield
        away.rename(path)

    @contextmanager
    def instead(self, name: str) -> Iterator[None]:
        """A directory is in the place of a file."""
        with self.away(name):
            (self.members.path / name).mkdir()
            yield
            (self.members.path / name).rmdir()

    @contextmanager
    def unmounted(self) -> Iterator[None]:
        """The directory is there, and empty."""
        with self.away():
            self.members.path.mkdir()
            yield
            self.members.path.rmdir()

    @contextmanager
    def linked(self) -> Iterator[None]:
        """Our file leads to another one."""
        own = self.members.path / "ours.bans"
        own.symlink_to("alpha.bans")
        yield
        own.unlink()

    faults: ClassVar[Ways] = {
        "the folder is gone": lambda self: self.away(),
        "nothing is mounted": lambda self: self.unmounted(),
        "no epoch": lambda self: self.away("EPOCH"),
        "a file that is none": lambda self: self.instead("alpha.bans"),
    }
    refusals: ClassVar[Ways] = {
        "the folder is gone": lambda self: self.away(),
        "nothing is mounted": lambda self: self.unmounted(),
        "a link": lambda self: self.linked(),
    }

    def another(self) -> None:
        """Another folder is mounted there."""
        self.members.write("EPOCH", "two\n")

    def odd(self) -> None:
        """Write what is neither a network nor an end."""
        with (self.members.path / "alpha.bans").open("a") as file:
            file.write("\x1b[31mlocalhost\n192.0.2.99 tomorrow\n")


@pytest.fixture
def members(tmp_path: Path) -> Members:
    """A folder where nobody bans anybody."""
    return Members(tmp_path / "folder")


def bans(members: Members) -> list[FeedBan]:
    """Return what is said."""
    return [change for change in members.feed().changes(None) if isinstance(change, FeedBan)]


def test_what_a_line_says(members: Members) -> None:
    """Member, reason and the seconds that are left; what is over is not said any more."""
    now = int(time.time())
    members.write("alpha.bans", f"192.0.2.7 {now + 900} it\tprobes\x1b\n192.0.2.8 {now - 1}\n")
    members.write("beta.bans", "192.0.2.7\n2001:db8::/32 -\n")
    alpha, beta = bans(members)
    assert (alpha.member, alpha.reason, [*alpha.networks]) == (
        "alpha", "it probes?", [Network.parse("192.0.2.7")],
    )  # fmt: skip
    assert alpha.seconds is not None
    assert 800 < alpha.seconds <= 900
    assert (beta.member, beta.seconds, beta.reason) == ("beta", None, "")
    assert [*map(str, beta.networks)] == ["192.0.2.7", "2001:db8::/32"]


def test_who_is_listened_to(members: Members) -> None:
    """Not ourselves, nor what a program that synchronises leaves beside the files."""
    for name in ("ours.bans", ".alpha.bans", "alpha.bans.tmp", "a b.bans", "-.bans"):
        members.write(name, "192.0.2.7\n")
    assert bans(members) == []


def test_a_member_that_leaves(members: Members) -> None:
    """Its file is gone, and so is what it said; what others say stays."""
    members.says("192.0.2.7", "192.0.2.8")
    (members.path / "alpha.bans").unlink()
    [ban] = bans(members)
    assert (ban.member, [*map(str, ban.networks)]) == ("beta", ["192.0.2.8"])


def test_our_file(members: Members) -> None:
    """It is what others read: with ends and reasons, in the order of the addresses."""
    now = int(time.time())
    feed = members.feed()
    networks = [Network.parse(text) for text in ("192.0.2.9", "192.0.2.10")]
    feed.publish([FeedBan(networks[:1], reason="by\nhand"), FeedBan(networks[1:], 900)])
    first, second = (members.path / "ours.bans").read_text().splitlines()
    assert first == "192.0.2.9 - by hand"
    network, end = second.split()
    assert network == "192.0.2.10"
    assert now + 900 <= int(end) <= now + 990
    assert [*feed.changes(None)] == [*FeedSnapshot]


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b"])
def test_names(name: str) -> None:
    """A name that is not a file's is refused."""
    with pytest.raises(ValueError, match="must match regex"):
        Settings("/srv/bans", name)


def test_an_epoch_without_text(members: Members) -> None:
    """It tells nothing from anything."""
    members.write("EPOCH", "\n")
    with pytest.raises(FeedUnreadable, match="is empty"):
        bans(members)


def test_public_names_only() -> None:
    """The plugin keeps to the public names, as its pyproject.toml says."""
    lint = Path(sys.executable).with_name("lint-imports")
    subprocess.run([lint, "--no-cache"], cwd=ROOT, check=True)
