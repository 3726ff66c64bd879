"""A server under attack, before and after: ``make bench-attack``, as root.

So many peers as the server has places each hold one connection: they ask, and shrink their window
once data is in flight. An honest client asks at the same time. Printed are sockets, their memory,
and what the client waits: at rest, attacked, with the peers dropped, and with them closed as well.
"""

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from peers import Peers, shrinking

from bench.measure import PYTHON, TREASON
from reconciler.execute import run
from reconciler.host.netns import Namespace
from reconciler.netlink import Sockets

_PORT: Final = 8080
_SERVER: Final = "10.10.0.1"
_CLIENT: Final = "10.10.0.2"
_PATIENCE: Final = 3.0
"""Seconds after which the honest client gives up."""

_ASKED: Final = 20
_MESSAGE: Final = "Probing zero-window on {}:{}/{}, seq=1:2, recv 5ms ago, lasting 700ms\n"
_CONFIG: Final = """\
[treason]
database = "{path}/treason.db"
lock = "{path}/lock"
backends = ["nftables"]
close_connections = {close}
"""
_PROGRAM: Final = """
import errno, resource, select, socket, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
port, places = map(int, sys.argv[1:])
listener = socket.create_server(("", port), backlog=4096)
listener.setblocking(False)
poll, left, held = select.epoll(), {}, {}
poll.register(listener, select.EPOLLIN)
print("ready", flush=True)
def end(number):
    poll.unregister(number)
    held.pop(number).close()
    left.pop(number, None)
    if len(held) == places - 1:
        poll.modify(listener, select.EPOLLIN)
def serve(number, events):
    try:
        if events & select.EPOLLIN and number not in left:
            if not held[number].recv(100):
                return end(number)
            left[number] = 200_000
        while left.get(number):
            left[number] -= held[number].send(bytes(left[number]))
    except BlockingIOError:
        return poll.modify(number, select.EPOLLOUT)
    except OSError:
        return end(number)
    if number in left:
        end(number)
while True:
    for number, events in poll.poll():
        if number != listener.fileno():
            serve(number, events)
        elif len(held) < places:
            one, _ = listener.accept()
            one.setblocking(False)
            held[one.fileno()] = one
            poll.register(one, select.EPOLLIN)
            if len(held) == places:
                poll.modify(listener, 0)
"""


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="bench.attack", description=__doc__)
    parser.add_argument("--connections", type=int, default=2000)
    places = parser.parse_args().connections
    host = Namespace()
    with host.entered(), TemporaryDirectory() as directory:
        peers, clients = Peers(), _client_network()
        run(["sysctl", "-qw", "net.core.somaxconn=4096", "net.ipv4.tcp_max_syn_backlog=4096"])
        command = [PYTHON, "-c", _PROGRAM, str(_PORT), str(places)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            if server.stdout is not None:
                server.stdout.readline()
            _tell(clients, peers, Path(directory), places)
        finally:
            server.kill()
            server.wait()
            peers.close()
    return 0


def _tell(clients: Namespace, peers: Peers, path: Path, places: int) -> None:
    print(f"a server with {places:,} places; the client gives up after {_PATIENCE:.0f} s")
    _state("at rest", clients)
    _attack(peers, places)
    _state(f"attacked by {places:,} peers", clients)
    for close, what in (("false", "dropped, not closed"), ("true", "dropped and closed")):
        place = path / close
        place.mkdir()
        seconds, told = _reconcile(place, close, peers)
        print(f"  treason reconcile: {seconds:.2f} s" + "".join(f"\n    {line}" for line in told))
        _state(what, clients)
        if close == "false":
            _treason(place, "teardown")


def _attack(peers: Peers, number: int) -> None:
    """Let so many peers connect, and wait until the kernel waits for each of them."""
    for index in range(number):
        peers.connect(f"10.9.{1 + index // 250}.{1 + index % 250}", 1000 + index, shrinking())
        if index % 20 == 19:
            time.sleep(0.02)
    end = time.monotonic() + 60
    while sum(one.backoff >= 2 for one in Sockets().dump(timer=1)) < number:
        if time.monotonic() > end:
            raise SystemExit("not every peer could connect: is the machine busy?")
        time.sleep(0.2)


def _reconcile(place: Path, close: str, peers: Peers) -> tuple[float, list[str]]:
    """Make a pass over the kernel's messages about the peers; return how long, and what it told."""
    (place / "treason.toml").write_text(_CONFIG.format(path=place, close=close))
    log = place / "log"
    flows = peers.flows.values()
    log.write_text("".join(_MESSAGE.format(flow.address, flow.port, _PORT) for flow in flows))
    begun = time.perf_counter()
    told = _treason(place, "reconcile", "--source", f"file:{log}")
    seconds = time.perf_counter() - begun
    return seconds, [line for line in told.splitlines() if not line.startswith("  ")]


def _treason(place: Path, *arguments: str) -> str:
    command = [TREASON, "--config", str(place / "treason.toml"), *arguments]
    return run(command, timeout=120).output


def _state(what: str, clients: Namespace) -> None:
    """Print how the server's sockets stand, and what an honest client waits."""
    sockets = Sockets()
    found = [again for one in [*sockets.dump()] if (again := sockets.exact(one)) is not None]
    ours = [one for one in found if one.local_port == _PORT]
    memory = sum(one.memory for one in ours) / 2**20
    with clients.entered():
        waited = [*_waits()]
    served = [each for each in waited if each is not None]
    answer = (
        f"median {median(served) * 1e3:.1f} ms, at most {max(served) * 1e3:.1f} ms"
        if served
        else "never"
    )
    print(
        f"{what}: {len(ours):,} sockets, {memory:,.1f} MiB of kernel memory;"
        f" honest client served {len(served)} of {len(waited)} times, {answer}"
    )


def _waits() -> Iterator[float | None]:
    """Yield the seconds from connect to the first byte of the answer; None where it gave up."""
    for _ in range(_ASKED):
        begun = time.perf_counter()
        try:
            with socket.create_connection((_SERVER, _PORT), _PATIENCE) as one:
                one.sendall(b"GET")
                if not one.recv(1):
                    raise ConnectionError
                waited = time.perf_counter() - begun
                while one.recv(1 << 16):
                    pass
        except OSError:
            yield None
        else:
            yield waited


def _client_network() -> Namespace:
    """Connect a namespace of honest clients to the current one."""
    clients = Namespace()
    run(["ip", "link", "add", "host1", "type", "veth", "peer", "name", "client1",
         "netns", clients.path])  # fmt: skip
    _bring_up("host1", _SERVER)
    with clients.entered():
        _bring_up("client1", _CLIENT)
    return clients


def _bring_up(device: str, address: str) -> None:
    run(["ip", "addr", "add", f"{address}/24", "dev", device])
    run(["ip", "link", "set", device, "up"])


if __name__ == "__main__":
    sys.exit(main())
