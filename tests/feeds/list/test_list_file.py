"""A list in a file."""

import gzip
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from listservers import LIST, refusal, said
from pytest_mock import MockerFixture

from feeds.list import ListSettings
from feeds.list.feed import List
from reconciler import Network, Networks, blocklist
from reconciler.blocklist import Blocklist

NETWORKS = {"": Networks.of(map(Network.parse, ("192.0.2.1", "198.51.100.0/24")))}
FILE = "  a list is read from a file, or from https://"
LARGE = "  if a list may be so large, raise max_mib"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the list is."""
    return tmp_path / "list.txt"


def test_a_file_is_read_again_only_if_it_has_changed(path: Path) -> None:
    """By what it holds, not by its times."""
    path.write_bytes(LIST)
    feed = List(ListSettings(path))
    assert said(feed) == NETWORKS
    path.touch()
    assert said(feed, feed.cursor()) is None
    path.write_bytes(b"192.0.2.1\n")
    assert said(feed, feed.cursor()) == {"": Networks.of([Network.parse("192.0.2.1")])}


def test_a_packed_file_and_a_link_are_read(path: Path) -> None:
    """An administrator who names a link means what it leads to."""
    packed = path.with_suffix(".gz")
    packed.write_bytes(gzip.compress(LIST))
    path.symlink_to(packed)
    assert said(List(ListSettings(path))) == NETWORKS


def fifo(path: Path) -> None:
    """Make something to which nobody writes."""
    os.mkfifo(path)


def device(path: Path) -> None:
    """Lead to what has no end."""
    path.symlink_to("/dev/zero")


def large(path: Path) -> None:
    """Write somewhat more than a mebibyte."""
    path.write_bytes(b"192.0.2.1\n" * 105_000)


def sparse(path: Path) -> None:
    """Make a file of ten gigabytes, which takes no place."""
    path.touch()
    os.truncate(path, 10 << 30)


def bomb(path: Path) -> None:
    """Make one that holds more than it seems to."""
    path.write_bytes(gzip.compress(b"192.0.2.1\n" * 200_000))


def page(path: Path) -> None:
    """Save a page of a web site."""
    path.write_text("<html>\n<p>192.0.2.1</p>\n")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda _path: None, "cannot be read: No such file or directory"),
        (Path.mkdir, "cannot be read: Is a directory"),
        (fifo, f"is not a regular file\n{FILE}"),
        (device, f"is not a regular file\n{FILE}"),
        (sparse, f"holds more than 1 MiB\n{LARGE}"),
        (large, f"holds more than 1 MiB\n{LARGE}"),
        (bomb, f"holds more than 1 MiB\n{LARGE}"),
        (Path.touch, "names no"),
        (page, "2 of 2 lines"),
    ],
)
def test_what_is_no_list_is_unreadable(
    path: Path, make: Callable[[Path], object], told: str
) -> None:
    """It is missing, of another kind, too large, empty, or a page."""
    make(path)
    assert refusal(List(ListSettings(path, max_mib=1))).startswith(f"{path}: {told}")


def test_a_file_that_is_being_written_is_read_once_it_is_whole(
    path: Path, mocker: MockerFixture
) -> None:
    """It is read again when it has changed meanwhile."""
    path.write_bytes(LIST[:10])
    rest = [LIST[10:15], LIST[15:]]

    def read(pieces: Iterable[bytes], most: int) -> Blocklist:
        found = whole(pieces, most)
        with path.open("ab") as file:
            file.write(rest.pop(0) if rest else b"")
        return found

    whole = blocklist.read
    mocker.patch.object(blocklist, "read", read)
    slept: list[float] = []
    assert said(List(ListSettings(path), sleep=slept.append)) == NETWORKS
    assert slept == [1.0, 1.0]


def test_a_file_that_is_written_all_the_time_is_unreadable(
    path: Path, mocker: MockerFixture
) -> None:
    """After the fifth time; and it is said what its writer is to do."""
    path.write_bytes(LIST)

    def read(pieces: Iterable[bytes], most: int) -> Blocklist:
        found = whole(pieces, most)
        with path.open("ab") as file:
            file.write(b"# more\n")
        return found

    whole = blocklist.read
    mocker.patch.object(blocklist, "read", read)
    slept: list[float] = []
    assert refusal(List(ListSettings(path), sleep=slept.append)) == (
        f"{path}: changes whenever it is read\n  let its writer write another file, and rename that"
    )
    assert slept == [1.0] * 5
