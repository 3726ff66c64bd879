"""What the booted system tests of a feed's secret: systemd passes it, and nobody else reads it."""

import subprocess
from pathlib import Path

from machine import BELIEVED, UNITS, banned, configure, run, say, shown, until

SERVICE = "treason-feed@kept.service"
SECRET = Path("/etc/treason/kept.key")
NETWORK = "198.19.77.0/24"
SITE = Path("/opt/treason/lib/python3.11/site-packages")
PLUGIN = f'''
from pathlib import Path
from reconciler import FeedBan, FeedPlugin, FeedSnapshot, FeedUnreadable, Needs, Network
from reconciler import hookimpl, secrets

SECRET = Path("{SECRET}")


class Kept:
    """Bans the network that is the secret, which it cannot read by itself."""

    def __init__(self, _settings):
        pass

    def changes(self, cursor):
        try:
            SECRET.read_bytes()
        except PermissionError:
            yield FeedSnapshot.BEGIN
            yield FeedBan([Network.parse(secrets.read(SECRET).decode().strip())])
            yield FeedSnapshot.END
        else:
            raise FeedUnreadable("the feed's own user reads the secret")

    def cursor(self):
        return None


@hookimpl
def treason_feeds():
    return [FeedPlugin("kept", Kept, needs=lambda _: Needs(secrets=(str(SECRET),)))]
'''


def keep() -> None:
    """Let a feed have a secret; one that is missing, or that all users know, is told."""
    about = SITE / "keptfeed-1.dist-info"
    about.mkdir()
    (SITE / "keptfeed.py").write_text(PLUGIN)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: keptfeed\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[treason]\nfeed-kept = keptfeed\n")
    SECRET.write_text(f"{NETWORK}\n")
    SECRET.chmod(0o600)
    configure(f'{BELIEVED}[feed.kept]\ntype = "kept"\n', resident=True)
    until("a feed got its secret by systemd", lambda: banned(NETWORK), 30)
    beside = (UNITS / f"{SERVICE}.d" / "treason.conf").read_text()
    assert f"LoadCredential=etc-treason-kept.key:{SECRET}\n" in beside
    SECRET.chmod(0o644)
    assert read_anew() == "exit-code"
    found = told("doctor")
    assert f"{SECRET}: all users of this machine may read this secret" in found, found
    assert "it has failed since " in told("feed", "show", "kept")
    SECRET.unlink()
    assert read_anew() != "success"
    found = told("doctor")
    assert f"{SECRET}: there is no such file" in found, found
    assert banned(NETWORK)
    SECRET.write_text(f"{NETWORK}\n")
    SECRET.chmod(0o600)
    assert read_anew() == "success"
    run("treason", "feed", "show", "kept")
    say("a secret that is missing, or known: that is told, and what was read stays")
    configure(BELIEVED, resident=True)
    until("nothing of it is enforced any more", lambda: not banned(NETWORK), 15)
    assert not [*UNITS.rglob("*feed*")]


def read_anew() -> str:
    """Let the feed be read now, once nobody reads it any more; return how that ended."""
    until("nobody reads the feed", lambda: shown(SERVICE, "MainPID") == "0", 30)
    run("systemctl", "reset-failed", SERVICE)
    subprocess.run(["systemctl", "start", SERVICE], capture_output=True, check=False)
    until("the feed was read", lambda: shown(SERVICE, "ActiveState") in {"inactive", "failed"}, 30)
    return shown(SERVICE, "Result")


def told(*words: str) -> str:
    """Return what a command prints."""
    done = subprocess.run(["treason", *words], capture_output=True, text=True, check=False)
    return done.stdout
