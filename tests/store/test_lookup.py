"""What is stored about one network: all of it, and of no other."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reconciler import Network
from reconciler.model import Ban, Offence
from reconciler.store.store import open_store

N = Network.parse
NETWORKS = ["0.0.0.0/0", "203.0.0.0/16", "203.0.113.0/24", "203.0.113.7", "203.0.113.8"]
OTHERS = ["203.1.0.0/16", "198.51.100.7", "::/0", "2001:db8::7"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with bans of both families; one of them has ended."""
    path = tmp_path / "db"
    with open_store(path, write=True) as store:
        store.bans.add(Ban(N(each), 1, 2 if "8" in each else None, "manual") for each in NETWORKS)
        store.bans.add(Ban(N(each), 1, None, "manual") for each in OTHERS)
    return path


@pytest.mark.parametrize(
    ("asked", "around", "inside"),
    [
        ("203.0.113.7", ["0.0.0.0/0", "203.0.0.0/16", "203.0.113.0/24", "203.0.113.7"], []),
        ("203.0.113.9", ["0.0.0.0/0", "203.0.0.0/16", "203.0.113.0/24"], []),
        ("203.0.113.0/24", ["0.0.0.0/0", "203.0.0.0/16", "203.0.113.0/24"],
         ["203.0.113.7", "203.0.113.8"]),
        ("203.0.113.4/30", ["0.0.0.0/0", "203.0.0.0/16", "203.0.113.0/24"], ["203.0.113.7"]),
        ("2001:db8::/32", ["::/0"], ["2001:db8::7"]),
        ("::/0", ["::/0"], ["2001:db8::7"]),
        ("10.0.0.1", ["0.0.0.0/0"], []),
    ],
)  # fmt: skip
def test_around_and_inside(asked: str, around: list[str], inside: list[str], path: Path) -> None:
    """The widest first, those inside in address order; what has ended is there until lifted."""
    with open_store(path, write=False) as store:
        assert [str(ban.network) for ban in store.lookup.around(N(asked))] == around
        assert [str(ban.network) for ban in store.lookup.inside(N(asked), 9)] == inside
        assert len(store.lookup.inside(N(asked), 1)) <= 1


def test_what_another_program_wrote_is_found(path: Path) -> None:
    """A row that has no key yet, because nobody of ours has written since."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO badips (ip) VALUES ('10.0.0.1'), ('no network')")
    with open_store(path, write=False) as store:
        found = store.lookup.around(N("10.0.0.1"))
        assert [(str(ban.network), ban.origin) for ban in found] == [
            ("0.0.0.0/0", "manual"), ("10.0.0.1", "badips"),
        ]  # fmt: skip
        assert [str(x.network) for x in store.lookup.inside(N("10.0.0.0/8"), 9)] == ["10.0.0.1"]


def test_events_and_offences(path: Path) -> None:
    """The last first, and no more than was asked for."""
    with open_store(path, write=True) as store:
        store.bans.expire(5)
        store.bans.lift([N("203.0.113.0/24")], 9)
        heard = [Offence(N("203.0.113.8"), "r", f"{n}", True, time=float(n)) for n in range(9)]
        store.offences.add("file", [*heard, Offence(N("10.0.0.1"), "r", "x", True)], 10)
        events = store.lookup.endings(N("203.0.113.8"), 9)
        assert [(e.action, e.network) for e in events] == [
            ("unban", "203.0.113.0/24"), ("expiry", "203.0.113.8"),
        ]  # fmt: skip
        offences = store.lookup.offences(N("203.0.113.0/24"), 3)
        assert [each.evidence for each in offences] == ["8", "7", "6"]
