"""The daemon decides as passes do: the same log, the same bans, the same firewall."""

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import Place
from residents import LINE, PATIENCE, configure, in_force, running

from reconciler import Networks
from reconciler.host.netns import Namespace

Stored = dict[str, list[Any]]

POLICIES = {
    "shipped": "",
    "threshold": '[policy]\nthreshold = 3\nwindow = "10m"',
    "for an hour": '[policy]\nban_for = "1h"\nescalate = 4\nmax_ban = "30d"',
    "IPv6 by prefix": "[policy]\nipv6_prefix = 64",
    "observing": '[policy]\nmode = "observe"',
    "listeners only": "[policy]\nlisteners_only = true",
    "few new bans": "[policy]\nmax_new_bans = 3",
    "many new bans": "[policy]\nmax_new_bans = 1000",
    "whitelist": '[whitelist]\nnetworks = ["11.0.0.0/28", "2001:db8:0:1::/64"]',
    "whitelist inside": '[policy]\nipv6_prefix = 48\n[whitelist]\nnetworks = ["2001:db8:0:1::5"]',
    "protected": '[protect]\nnat64 = ["2001:db8:64::/96"]',
    "one rule only reports": (
        '[[rule]]\nname = "treason-uncloaked"\nreport_only = true\n'
        '[[rule]]\nname = "door"\npattern = "door: (?P<address>[0-9.]+)"\nban_for = "1h"\n'
    ),
    "a rule of its own": (
        '[[rule]]\nname = "door"\npattern = "door: (?P<address>[0-9.]+)"\n'
        'threshold = 2\nwindow = "1h"\nban_for = "2h"\n'
    ),
}


def lines(dice: random.Random) -> Iterator[str]:
    """Yield what the kernel says: some peers come again, some are this machine."""
    for number in range(120):
        host = dice.randrange(60)
        address = f"11.0.0.{host}"
        if number % 5 == 0:
            address = f"2001:0db8:0000:000{host % 3}:0000:0000:0000:{host % 8:04x}"
        elif number % 31 == 0:
            address = dice.choice(["127.0.0.1", "224.0.0.1", "10.0.0.1"])
        if number % 7 == 0:
            yield f"door: 11.0.1.{host}\n"
        yield LINE.format(address, dice.randrange(1, 4))


def stored(database: Path) -> Stored:
    """Return what was stored, without what is of a moment."""
    questions = {
        "bans": "SELECT network, until - since, origin FROM bans ORDER BY network",
        "withheld": "SELECT network, until - since, origin FROM withheld ORDER BY network",
        "offences": "SELECT address, rule, evidence, count(*) FROM offences"
        " GROUP BY address, rule, evidence ORDER BY address, rule, evidence",
        "history": "SELECT action, network, count(*) FROM history GROUP BY action, network",
        "cursors": "SELECT count(*) FROM cursors",
    }
    with closing(sqlite3.connect(database)) as connection:
        return {name: connection.execute(text).fetchall() for name, text in questions.items()}


@contextmanager
def apart() -> Iterator[None]:
    """Have an empty network namespace for a while."""
    namespace = Namespace()
    with namespace.entered():
        yield
    namespace.close()


def says(log: Path, part: str) -> None:
    """Let the kernel say it at once, in a second of its own: bans are made to the second."""
    time.sleep(1.01 - time.time() % 1)
    with log.open("ab", buffering=0) as sink:
        sink.write(part.encode())


def by_passes(place: Place, parts: list[str]) -> tuple[Networks, list[Stored]]:
    """Let passes read it part by part; return what is in force, and what each had stored."""
    log = place.path / "kern.log"
    log.touch()
    place.treason("reconcile")
    found = []
    for part in parts:
        says(log, part)
        place.treason("reconcile")
        found.append(stored(place.database))
    return in_force(), found


def by_daemon(place: Place, parts: list[str], expected: list[Stored]) -> Networks:
    """Let the daemon read it, part by part: what it reads at once may be judged at once."""
    with running(place) as daemon:
        for part, wanted in zip(parts, expected, strict=True):
            says(daemon.log, part)
            end = time.monotonic() + PATIENCE
            while stored(place.database) != wanted and time.monotonic() < end:
                time.sleep(0.02)
        daemon.stop()
        return in_force()


@pytest.mark.parametrize("policy", POLICIES)
def test_the_daemon_does_what_passes_do(
    policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stored and in force are the same networks; what is refused is refused."""
    seed = random.randrange(1 << 32)  # noqa: S311 - input, no secret
    whole = [*lines(random.Random(seed))]  # noqa: S311
    parts = ["".join(whole[:40]), "".join(whole[40:])]
    if policy == "few new bans":  # the limit is a pass's there, and a minute's here
        parts = ["".join(whole)]
    passes, daemon = (Place(tmp_path / name, capsys) for name in ("passes", "daemon"))
    for place in (passes, daemon):
        place.path.mkdir()
        configure(place, POLICIES[policy])
    with apart():
        held, expected = by_passes(passes, parts)
    with apart():
        assert by_daemon(daemon, parts, expected) == held, seed
    assert stored(daemon.database) == expected[-1], seed
