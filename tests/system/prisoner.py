"""Runs as a feed, in its unit: tries what no feed may, and writes down what it could."""

import json
import os
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

READ = (
    "/var/lib/treason/outbox/people.db", "/var/lib/treason/treason.db",
    "/var/lib/private/treason/treason.db", "/run/treason/lock",
    "/var/lib/treason-feed/other/feed.db", "/dev/kmsg", "/etc/shadow",
)  # fmt: skip
WRITTEN = (
    "/etc", "/usr", "/opt/treason", "/srv", "/home", "/root", "/run", "/run/treason", "/dev/shm",
    "/dev/mqueue", "/var/lib", "/var/lib/treason", "/var/lib/treason/outbox",
    "/var/lib/treason-feed", "/var/log", os.environ["STATE_DIRECTORY"],
)  # fmt: skip
SOCKETS = ("AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_UNIX", "AF_INET", "AF_INET6")


def possible(attempt: Callable[[str], object], things: tuple[str, ...]) -> list[str]:
    """Return with which of the things it may be done."""
    done = []
    for thing in things:
        try:
            attempt(thing)
        except OSError:
            continue
        done.append(thing)
    return done


def main(name: str) -> None:
    """Write it as JSON into the feed's own directory; look a name up as well."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {
        "capabilities": {line.split()[1] for line in lines if line.startswith("Cap")} - {"0" * 16},
        "reads": possible(lambda path: Path(path).open("rb").close(), READ),
        "writes": possible(lambda path: Path(path, "mine").touch(), WRITTEN),
        "sockets": possible(lambda family: socket.socket(getattr(socket, family)).close(), SOCKETS),
        "processes": len([*Path("/proc").glob("[0-9]*")]),
        "address": socket.gethostbyname(name),
        "authorities": bool(ssl.create_default_context().get_ca_certs()),
    }
    text = json.dumps(found, default=sorted)
    Path(os.environ["STATE_DIRECTORY"], "found").write_text(text)


main(sys.argv[1])
