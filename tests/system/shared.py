"""What the booted system tests of a fleet: its own feed beside Debian's PostgreSQL."""

import os
import subprocess
from pathlib import Path

from machine import BELIEVED, UNITS, banned, configure, run, say, shown, until
from resident import ONCE

SERVICE = "treason-feed@fleet.service"
SERVER = ("postgresql.service", "postgresql@15-main.service")
PASSWORD = Path("/etc/treason/fleet.password")
ITS, OURS = "203.0.113.77", "198.51.100.99"
"""Whom another member bans, and whom this machine does."""

CONFIGURED = (
    f'{BELIEVED}[feed.fleet]\ntype = "postgresql"\npublish = ["manual"]\n'
    f'dsn = "host=127.0.0.1 dbname=fleet user=vm"\npassword_file = "{PASSWORD}"\n'
)
PUBLISH = f"SELECT fleet.publish('{{{ITS}}}', '{{3600}}', '{{scan}}')"


def share() -> None:
    """Be a member of a fleet, whose database ends and comes back."""
    run("systemctl", "start", *SERVER)
    administer("createdb", "fleet")
    administer("treason", "fleet", "init", "--dsn", "dbname=fleet")
    other = add("other")
    PASSWORD.touch(0o600)
    PASSWORD.write_text(f"{add('vm')}\n")
    configure(CONFIGURED, resident=True)
    until("a member reads the fleet", lambda: shown(SERVICE, "ActiveState") == "active", 30)
    reach = ["psql", "-X", "-h", "127.0.0.1", "-U", "other", "-d", "fleet", "-c", PUBLISH]
    subprocess.run(reach, env={**os.environ, "PGPASSWORD": other}, capture_output=True, check=True)
    until("what another member bans is dropped", lambda: banned(ITS), 30)
    run("treason", "ban", OURS)
    until("others hear whom we ban", lambda: OURS in held(), 30)
    assert shown(SERVICE, "User") == "treason-feed-fleet"
    assert "other: 1 held, the newest of " in told()
    lose()
    run("treason", "unban", OURS)
    run("systemctl", "start", ONCE)
    until("others hear whom we ban no more", lambda: OURS not in held(), 30)
    configure(BELIEVED, resident=True)
    until("nothing of the fleet is enforced any more", lambda: not banned(ITS), 15)
    assert not [*UNITS.rglob("*feed*")]
    run("systemctl", "stop", *SERVER)


def lose() -> None:
    """Let the database end, and come back: all stays, and it is said since when."""
    run("systemctl", "stop", *SERVER)
    until("it is said that the fleet is not reached", lambda: "it has failed since " in told(), 60)
    found = subprocess.run(["treason", "doctor"], capture_output=True, text=True, check=False)
    assert "feed fleet has failed since " in found.stdout, found
    assert banned(ITS)
    run("systemctl", "start", *SERVER)
    until("it is reached again", lambda: "it has failed since " not in told(), 90)
    assert banned(ITS)
    say(told().rstrip())


def administer(*command: str) -> str:
    """Run a command as the owner of the server."""
    return run("runuser", "-u", "postgres", "--", *command)


def add(member: str) -> str:
    """Return the password of a new member."""
    return administer("treason", "fleet", "add-member", member, "--dsn", "dbname=fleet").strip()


def held() -> str:
    """Return what this machine has told the fleet, and has not taken back."""
    query = "SELECT network FROM fleet.bans WHERE member = 'vm' AND removed IS NULL"
    return administer("psql", "-XAt", "-d", "fleet", "-c", query)


def told() -> str:
    """Return what is shown of the feed."""
    show = ["treason", "feed", "show", "fleet"]
    return subprocess.run(show, capture_output=True, text=True, check=False).stdout
