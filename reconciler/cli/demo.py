"""The demonstration: from a kernel message to a dropped packet, in a namespace of its own.

`tell` starts this module anew inside a new network namespace (where that is not allowed, inside a
user namespace in which the user is root), so nothing that it does can reach the machine.
"""

import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from reconciler.errors import TreasonError
from reconciler.execute import CommandFailed, run
from reconciler.host.netns import WITNESS4, Wire

LOG: Final = """\
TCP: Treason uncloaked! Peer 117.79.83.112:4638/8080 shrinks window 3207520931:3207522811. Repaired.
TCP: Treason uncloaked! Peer 218.14.17.182:4771/8080 shrinks window 2946511037:2946513358. Repaired.
TCP: Treason uncloaked! Peer 218.14.17.182:4771/8080 shrinks window 2946511037:2946513358. Repaired.
TCP: Treason uncloaked! Peer 218.14.17.182:4771/8080 shrinks window 2946511037:2946513358. Repaired.
"""
OFFENDERS: Final = ("117.79.83.112", "218.14.17.182")
PARTNER: Final = "172.16.5.4"

_PYTHON: Final = (sys.executable, "-P")  # never from the directory where somebody happens to be

_CONFIG: Final = """\
[treason]
database = "{directory}/treason.db"
lock = "{directory}/lock"
sources = ["file"]

[source.file]
path = "{directory}/kernel.log"
trusted = true

[whitelist]
networks = [{{ network = "172.16.0.0/12", comment = "our own" }}]
"""


def tell() -> int:
    """Run the demonstration in a process that takes the place of this one."""
    own = _unshare()
    sys.stdout.flush()
    os.execvp(own[0], [*own, *_PYTHON, "-m", __name__])  # noqa: S606 - takes our place


def _unshare() -> list[str]:
    """Find a way to a network namespace: directly, or as root of a user namespace."""
    ways = (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"])
    for way in ways:
        try:
            run([*way, "true"])
        except CommandFailed as error:
            failure = error
        else:
            return way
    raise TreasonError(
        f"cannot make a network namespace: {failure.what}",
        "run the demo as root, or allow user namespaces",
    )


def story() -> None:
    """Run every scene; raise `TreasonError` where one ends otherwise than announced."""
    with tempfile.TemporaryDirectory(prefix="treason-demo-") as directory:
        Path(directory, "treason.toml").write_text(_CONFIG.format(directory=directory))
        Path(directory, "kernel.log").write_text(LOG)
        os.environ["TREASON_CONFIG"] = f"{directory}/treason.toml"
        wire = Wire([*OFFENDERS, PARTNER])
        try:
            _scenes(wire)
        finally:
            wire.close()


def _scenes(wire: Wire) -> None:
    everybody = {*OFFENDERS, WITNESS4, PARTNER}
    others = everybody - set(OFFENDERS)
    _say("A network namespace of its own: nothing here touches this machine's firewall.")
    _say("The kernel has said this of two peers:")
    click.echo(LOG, nl=False)
    _packets(wire, everybody, "Nothing is enforced yet, so everybody's packets arrive:")

    _say("What would have to change? Nothing is changed by asking. Exit code 2 means drift.")
    _treason("reconcile", "--check", code=2)
    _say("Now for real, in one transaction, and verified:")
    _treason("reconcile")
    _packets(wire, others, "The two are dropped, the others pass:")

    _say("Somebody else empties a set:")
    _command("nft", "flush", "set", "inet", "treason", "banned4")
    _packets(wire, everybody, "The offenders are back:")
    _say("But treason compares with what the kernel really holds:")
    _treason("reconcile", "--check", code=2)
    _treason("reconcile")
    _packets(wire, others, "Dropped again:")

    _say("In sync: a further check finds nothing to do.")
    _treason("reconcile", "--check")
    _treason("list")
    _say("Whoever is whitelisted is never dropped, even if banned by hand:")
    _treason("ban", "--force", "172.16.5.0/24", "--for", "1h")
    _treason("reconcile")
    _packets(wire, others, f"{PARTNER} still passes:")
    _say("All came as told. The namespace ends here, and with it all that was made in it.")


def _say(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _packets(wire: Wire, expected: set[str], text: str) -> None:
    """Send a packet from everybody, and show who reaches the host."""
    _say(text)
    senders = [*OFFENDERS, PARTNER, WITNESS4]
    arrived = wire.arriving(senders)
    for sender in senders:
        click.echo(f"  packet from {sender:<14} {'arrives' if sender in arrived else 'dropped'}")
    if arrived != expected:
        raise TreasonError(f"expected to arrive: {sorted(expected)}; arrived: {sorted(arrived)}")


def _treason(*arguments: str, code: int = 0) -> None:
    click.echo(f"$ treason {shlex.join(arguments)}")
    _show([*_PYTHON, "-m", "reconciler", *arguments], code)
    click.echo(f"(exit code {code})")


def _command(*argv: str) -> None:
    click.echo(f"$ {shlex.join(argv)}")
    _show(argv, 0)


def _show(argv: Sequence[str], code: int) -> None:
    done = run(argv, codes=(code,))
    click.echo(done.output + done.error, nl=False)


if __name__ == "__main__":
    try:
        story()
    except TreasonError as failure:
        click.echo(f"treason: the demonstration failed: {failure}", err=True)
        sys.exit(1)
