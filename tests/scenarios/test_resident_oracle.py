"""The daemon decides as passes do: the same log, the same bans, the same firewall."""

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from harness import Place
from residents import LINE, configure, in_force, running

from reconciler import Networks
from reconciler.host.netns import Namespace

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


def stored(database: Path) -> dict[str, list[Any]]:
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


def by_passes(place: Place, parts: list[str]) -> Networks:
    """Let passes read the log, one part after the other; return what is in force."""
    log = place.path / "kern.log"
    log.touch()
    place.treason("reconcile")
    for part in parts:
        with log.open("a") as sink:
            sink.write(part)
        place.treason("reconcile")
    return in_force()


def by_daemon(place: Place, parts: list[str], expected: dict[str, list[Any]]) -> Networks:
    """Let the daemon read it."""
    with running(place) as daemon:
        for part in parts:
            with daemon.log.open("a") as sink:
                sink.write(part)
        end = time.monotonic() + 5
        while stored(place.database) != expected and time.monotonic() < end:
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
    held = []
    expected: dict[str, list[Any]] = {}
    for name in ("passes", "daemon"):
        path = tmp_path / name
        path.mkdir()
        place = Place(path, capsys)
        configure(place, POLICIES[policy])
        namespace = Namespace()
        with namespace.entered():
            if name == "passes":
                held.append(by_passes(place, parts))
                expected = stored(place.database)
            else:
                held.append(by_daemon(place, parts, expected))
                assert stored(place.database) == expected, seed
        namespace.close()
    assert held[0] == held[1], seed
