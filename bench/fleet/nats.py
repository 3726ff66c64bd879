"""What the same costs NATS, which only tells: ``python -m bench.fleet.nats [LISTENERS...]``.

As root. Debian's package nats-server, started privately in a network namespace, speaks its own
protocol over TLS. It keeps nothing, and knows neither quotas nor who may end whose ban. Listeners
are connections of this process.
"""

import argparse
import resource
import select
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import trustme

from bench.fleet.spending import cpu, memory, wire
from bench.measure import program
from reconciler.execute import run
from reconciler.host.netns import Namespace

_ADDRESS: Final = ("127.0.0.1", 4222)
_TOLD: Final = (
    b'{"seq":1,"network":"198.51.100.7/32","member":"web1","seconds":86400,"reason":"zero-window"}'
)
_TIMES: Final = 20
_PATIENCE: Final = 20.0


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(prog="bench.fleet.nats", description=__doc__)
    parser.add_argument("listeners", nargs="*", type=int, default=[10, 100, 1_000])
    resource.setrlimit(resource.RLIMIT_NOFILE, (8_192, 8_192))
    namespace = Namespace()
    with namespace.entered():
        run(["ip", "link", "set", "lo", "up"])
        for number in parser.parse_args().listeners:
            with TemporaryDirectory() as directory, _running(Path(directory)) as (server, context):
                _measure(server.pid, context, number)
    namespace.close()


@contextmanager
def _running(
    directory: Path,
) -> Iterator[tuple["subprocess.Popen[bytes]", ssl.SSLContext]]:
    """Start it; yield its process, and how it is verified."""
    authority = trustme.CA()
    certificate = authority.issue_cert(_ADDRESS[0])
    certificate.private_key_pem.write_to_path(str(directory / "key"))
    certificate.cert_chain_pems[0].write_to_path(str(directory / "certificate"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    command = ["-a", _ADDRESS[0], "-p", str(_ADDRESS[1]), "--tls"]
    command += ["--tlskey", str(directory / "key"), "--tlscert", str(directory / "certificate")]
    found = shutil.which("nats-server") or program("nats-server")
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen([found, *command], stderr=log)
    try:
        yield server, context
    finally:
        server.terminate()
        server.wait()


def _measure(pid: int, context: ssl.SSLContext, number: int) -> None:
    publisher = _connected(context)
    held, spent = memory([pid]), cpu([pid])
    links = [_connected(context, b"SUB fleet 1\r\n") for _ in range(number)]
    spent = cpu([pid]) - spent
    print(f"{number} listeners: a connection costs {1e3 * spent / number:.2f} ms of CPU")
    costs = [_told(pid, publisher, links) for _ in range(_TIMES)]
    held = (memory([pid]) - held) // number
    print(f"{number} listeners: a connection holds {held / 1024:.0f} KB (Pss)")
    busy, packets, octets = (median(each[index] for each in costs) for index in range(3))
    print(
        f"{number} listeners, one message of {len(_TOLD)} bytes: server {1e3 * busy:.2f} ms of"
        f" CPU; {packets / number:.1f} packets and {octets / number:,.0f} bytes a listener",
        flush=True,
    )
    for link in (publisher, *links):
        link.close()


def _told(pid: int, publisher: ssl.SSLSocket, links: list[ssl.SSLSocket]) -> tuple[float, int, int]:
    """Publish it once; return seconds, packets and bytes until all have it."""
    busy, (packets, octets) = cpu([pid]), wire()
    publisher.sendall(b"PUB fleet %d\r\n%s\r\n" % (len(_TOLD), _TOLD))
    end = time.monotonic() + _PATIENCE
    waiting = {each.fileno(): each for each in links}
    poll = select.epoll()
    for descriptor in waiting:
        poll.register(descriptor, select.EPOLLIN)
    while waiting:
        if time.monotonic() > end:
            raise RuntimeError(f"{len(waiting)} listeners have heard nothing")
        for descriptor, _ in poll.poll(1):
            if descriptor in waiting and _TOLD in waiting[descriptor].recv(4_096):
                del waiting[descriptor]
    poll.close()
    after = wire()
    return cpu([pid]) - busy, after[0] - packets, after[1] - octets


def _connected(context: ssl.SSLContext, more: bytes = b"") -> ssl.SSLSocket:
    """Connect as docs.nats.io has it (client protocol): INFO, TLS, CONNECT, PING, PONG."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            plain = socket.create_connection(_ADDRESS, timeout=_PATIENCE)
            break
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    plain.recv(4_096)
    link = context.wrap_socket(plain, server_hostname=_ADDRESS[0])
    link.sendall(b'CONNECT {"verbose":false,"tls_required":true}\r\n' + more + b"PING\r\n")
    while b"PONG" not in link.recv(4_096):
        pass
    return link


if __name__ == "__main__":
    main()
