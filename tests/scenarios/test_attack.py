"""The whole way: seen in the sockets, banned, dropped, closed, with attackers of all kinds."""

import time
from collections.abc import Callable, Iterator
from itertools import cycle

import pytest
from harness import Place
from peers import Answer, Flow, Peers, Server, healthy, nibbling, shrinking, slow

from reconciler import Network
from reconciler.netlink import Sockets, TcpSocket

MAKERS: tuple[Callable[[], Callable[[Flow], Answer]], ...] = (
    shrinking,
    lambda: shrinking(1),
    lambda: shrinking(100),
    nibbling,
)
CLOSING = 8081
"""The port of a server that closes once it has sent."""

MANY = 200


@pytest.fixture
def servers(peers: Peers) -> Iterator[list[Server]]:
    """One that keeps its connections, and one that closes them."""
    made = [Server("::"), Server("::", CLOSING, closing=True)]
    yield made
    for each in made:
        each.close()


def held() -> dict[Network, list[TcpSocket]]:
    """Return the connections of each peer, with their memory."""
    sockets = Sockets()
    found: dict[Network, list[TcpSocket]] = {}
    for one in [*sockets.dump()]:
        if (again := sockets.exact(one)) is not None:
            found.setdefault(one.peer, []).append(again)
    return found


def test_each_attacker_is_banned_dropped_and_rid_of_its_socket(
    peers: Peers, servers: list[Server], place: Place, nft: Callable[..., str]
) -> None:
    """Established or closed by the server, over IPv4 (mapped) and IPv6; honest peers go on."""
    place.configure('[source.sockets]\nlasting = "2s"', main='sources = ["sockets"]')
    attackers = []
    for number, (make, port) in zip(
        range(MANY),
        cycle((make, port) for port in (8080, CLOSING) for make in MAKERS),
        strict=False,
    ):
        address = f"10.9.1.{number + 1}" if number % 3 else f"fd00:9::1:{number + 1:x}"
        attackers.append(Network.parse(address))
        peers.connect(address, 1000 + number, make(), to=port)
        time.sleep(0.005)
    honest = [
        peers.connect(f"10.9.2.{number}", 1, healthy if number % 2 else slow)
        for number in range(1, 21)
    ]
    peers.settle(MANY)
    before = sum(one.memory for peer in attackers for one in held().get(peer, []))
    offences, closed, memory = 0, 0, 0
    for _ in range(20):
        result = place.treason("reconcile", "-o", "json")
        assert result.code == 0, result.err
        [source] = result.json["sources"]
        offences += source["offences"]
        closed += sum(each["connections"] for each in result.json["closing"]["closed"])
        memory += sum(each["memory"] for each in result.json["closing"]["closed"])
        if closed == MANY:
            break
        time.sleep(1)
    assert (offences, closed) == (MANY, MANY)
    assert len(place.treason("list").out.splitlines()) == MANY
    assert place.treason("reconcile", "--check", "--full", "--no-scan").code == 0
    left = held()
    assert not {*attackers} & {*left}
    assert memory == before > 0
    assert not any(flow.reset for flow in honest)
