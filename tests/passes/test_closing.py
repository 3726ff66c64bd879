"""Connections of banned peers are closed, with their memory; nobody else's are (real kernel)."""

import errno
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Thread

import pytest
from attrs import evolve
from harness import REAL_ROOT, Place
from peers import SERVER4, Answer, Flow, Peers, Server, dead, healthy, shrinking, slow

from reconciler import Network, Networks
from reconciler.config.tables import Config
from reconciler.detection.grounds import expected
from reconciler.detection.policy import Policy
from reconciler.errors import TreasonError
from reconciler.execute import run
from reconciler.host import orphans
from reconciler.host.netns import Namespace
from reconciler.model import Ban, Closing, Ground, Offence
from reconciler.netlink import Sockets, TcpSocket, refusal
from reconciler.passes.closing import FOLLOWED, Closer, ClosingResult, allowed
from reconciler.store.store import Store, open_store

NOW = 1_000_000
BOTH = frozenset({4, 6})
A, B, C = "10.9.1.1", "10.9.1.2", "fd00:9::5"
MESSAGE = "Probing zero-window on {}:1000/8080, seq=1:2, recv 5ms ago, lasting 700ms\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with open_store(tmp_path / "db", write=True) as opened:
        yield opened


@pytest.fixture
def server(peers: Peers) -> Iterator[Server]:
    """A server for both families that sends to whoever asks."""
    made = Server("::")
    yield made
    made.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, for some seconds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, [*Sockets().dump(states=range(1, 12))]
        time.sleep(0.05)


def connect(peers: Peers, address: str, port: int, behave: Callable[[Flow], Answer]) -> Flow:
    """Begin a connection; the first packet of a new device may get lost."""
    flow = peers.connect(address, port, behave)
    for _ in range(20):
        end = time.monotonic() + 1
        while not flow.start and time.monotonic() < end:
            time.sleep(0.01)
        if flow.start:
            break
        peers.send(flow, 2, 8192, options=b"\x02\x04\x05\xb4")
    return flow


def held(*peers: str) -> list[TcpSocket]:
    """Return the connections of these peers, with their memory."""
    sockets = Sockets()
    wanted = {Network.parse(peer) for peer in peers}
    found = [one for one in [*sockets.dump(states=range(1, 12))] if one.peer in wanted]
    return [again for one in found if (again := sockets.exact(one)) is not None]


def caught(*peers: str) -> bool:
    """Whether the kernel has long waited for each of these."""
    found = {str(one.peer) for one in held(*peers) if one.backoff >= 2}
    return found == {*peers}


def banned(store: Store, ground: Ground, *networks: str) -> list[Closing]:
    """Store bans, and what is to be closed of them."""
    found = [Network.parse(each) for each in networks]
    store.bans.add(Ban(network, NOW, None, "zero-window") for network in found)
    closings = [Closing(network, ground, NOW) for network in found]
    store.closings.expect(closings)
    return closings


def close(store: Store, expecting: Sequence[Closing], **how: object) -> ClosingResult:
    """Close what is expected, as at the end of a pass that verified both families."""
    options = {"now": NOW, "versions": BOTH, "exempt": Networks()} | how
    return Closer(store, **options).close(expecting)  # type: ignore[arg-type]  # options by name


def test_a_pass_closes_what_a_banned_attacker_holds(
    peers: Peers, server: Server, place: Place, nft: Callable[..., str]
) -> None:
    """Sockets and memory are gone, honest connections go on, and it is told everywhere."""
    for port in range(3):
        connect(peers, A, 1000 + port, shrinking())
        connect(peers, C, 1000 + port, shrinking(window=100))
    others = [connect(peers, B, 1000, healthy), connect(peers, "10.9.1.3", 1, slow)]
    until(lambda: caught(A, C))
    before = held(B, "10.9.1.3")
    memory = sum(one.memory for one in held(A, C))
    log = place.path / "log"
    log.write_text(MESSAGE.format(A) + MESSAGE.format("fd00:0009:0000:0000:0000:0000:0000:0005"))
    result = place.treason("reconcile", "--source", f"file:{log}", "-o", "json")
    assert result.code == 0
    closed = result.json["closing"]["closed"]
    assert {each["network"]: each["connections"] for each in closed} == {A: 3, C: 3}
    assert sum(each["memory"] for each in closed) == memory > 6 * 4000
    assert held(A, C) == []
    assert [one.identity for one in held(B, "10.9.1.3")] == [one.identity for one in before]
    assert not any(flow.reset for flow in others)
    events = place.treason("history", A).out.splitlines()
    assert [line.split("\t")[1] for line in events] == ["close", "ban"]
    assert "3 connections, " in events[0]
    assert "closed" not in place.treason("reconcile", "--no-scan").out


def test_a_message_alone_closes_nothing(store: Store, peers: Peers, server: Server) -> None:
    """Anybody may have caused it: of its peer some connection must show the same now.

    One that the source ``sockets`` has judged needs no more: what holds data for it goes, and what
    holds none stays.
    """
    connect(peers, A, 1, dead)
    connect(peers, A, 2, healthy)
    until(lambda: caught(A))
    told = banned(store, Ground.TOLD, A)
    assert close(store, told).closed == ()
    assert len(held(A)) == 2
    seen = banned(store, Ground.SEEN, A)
    assert [each.connections for each in close(store, seen).closed] == [1]
    assert [one.peer_port for one in held(A)] == [2]


def test_a_peer_that_was_spared_loses_its_bad_connections_only(
    store: Store, peers: Peers, server: Server
) -> None:
    """It is not banned, nothing needs to be dropped, and it is done once."""
    for port, behave in enumerate([shrinking(), shrinking(window=1), dead, slow, healthy]):
        connect(peers, A, 1 + port, behave)
    until(lambda: len([one for one in held(A) if one.backoff >= 2]) >= 3)
    closings = expected(
        [Offence(Network.parse(A), "zero-window-in-company", "", True)], [], NOW, Policy()
    )
    store.closings.expect(closings)
    assert [each.connections for each in close(store, closings, versions=()).closed] == [2]
    assert sorted(one.peer_port for one in held(A)) == [3, 4, 5]
    assert store.closings.expected() == []


def test_nobody_exempt_or_of_this_machine_is_touched(
    store: Store, peers: Peers, server: Server
) -> None:
    """Nor who is banned in a family that no firewall drops, or is not banned any more."""
    for peer in (A, B, C):
        connect(peers, peer, 1, shrinking())
    until(lambda: caught(A, B, C))
    closings = banned(store, Ground.SEEN, A, C)
    exempt = Networks.of([Network.parse("10.9.1.0/24"), Network.parse(C)])
    assert close(store, closings, exempt=exempt).closed == ()
    assert close(store, closings, versions={6}, exempt=Networks.of([Network.parse(C)])).closed == ()
    assert close(store, [Closing(Network.parse(B), Ground.SEEN, NOW)]).closed == ()
    with socket.create_connection((SERVER4, 8080)) as ours:
        ours.send(b"x")
        until(lambda: bool(ours.recv(1)))
        every = banned(store, Ground.EVERY, f"{SERVER4}/32", "127.0.0.0/8")
        assert close(store, every).closed == ()
        assert ours.recv(1)
    assert len(held(A, B, C)) == 3


def test_by_hand_every_connection_of_a_network_goes(
    peers: Peers, server: Server, place: Place, nft: Callable[..., str]
) -> None:
    """Idle ones as well; not what listens, not what waits for its time, not other networks."""
    leaving = connect(peers, "10.9.2.9", 1, healthy)
    idle = [connect(peers, f"10.9.2.{i}", 1, healthy) for i in (1, 2)]
    other = connect(peers, A, 1, healthy)
    until(lambda: len(server.connections) == 4)
    gone = next(c for c in server.connections if c.getpeername()[0].endswith("10.9.2.9"))
    until(lambda: leaving.received > 0 and not held("10.9.2.9")[0].unacknowledged)
    gone.close()
    peers.send(leaving, 0x11, 8192)
    leaving.sequence += 1
    until(lambda: [one.timer for one in held("10.9.2.9")] == [3])
    assert place.treason("ban", "10.9.2.0/24", "--close").code == 0
    assert len(held("10.9.2.1", "10.9.2.2")) == 2
    result = place.treason("reconcile", "--no-scan", "-v")
    assert (result.code, "warning" in result.err) == (0, False)
    assert "closed 2 connections of 1 network, which held" in result.out
    assert "closed 10.9.2.0/24: 2 connections" in result.out
    assert held("10.9.2.1", "10.9.2.2") == []
    assert len(held("10.9.2.9")) == 1
    until(lambda: all(flow.reset for flow in idle))
    assert not other.reset
    connect(peers, "10.9.1.9", 9, healthy)
    until(lambda: len(held("10.9.1.9")) == 1)


def test_what_was_asked_to_be_closed_is_withdrawn_with_its_ban(
    peers: Peers, server: Server, place: Place, nft: Callable[..., str]
) -> None:
    """Banned again without it, an idle connection stays; that of another network is closed."""
    for peer in (A, B):
        connect(peers, peer, 1, healthy)
    until(lambda: len(server.connections) == 2)
    assert place.treason("ban", A, B, "--close").code == 0
    assert place.treason("unban", A).code == 0
    assert place.treason("ban", A).code == 0
    assert "closed 1 connection of 1 network" in place.treason("reconcile", "--no-scan").out
    assert len(held(A)) == 1
    assert held(B) == []


def test_closing_by_hand_is_refused_where_nothing_would_be_closed(place: Place) -> None:
    """Nothing is banned then."""
    place.configure('[policy]\nmode = "observe"')
    result = place.treason("ban", "10.9.1.1", "--close")
    assert (result.code, "mode is observe" in result.err) == (1, True)
    place.configure(main='backends = ["file"]\n[backend.file]\npath = "/nonexistent/x"')
    result = place.treason("ban", "10.9.1.1", "--close")
    assert (result.code, "no backend" in result.err) == (1, True)
    assert place.treason("list").out == ""


def test_what_cannot_be_dropped_yet_is_closed_later(
    peers: Peers, server: Server, place: Place, nft: Callable[..., str]
) -> None:
    """A list for other programs drops nothing; what a check finds is closed by the next pass."""
    connect(peers, A, 1, shrinking())
    until(lambda: caught(A))
    log = place.path / "log"
    log.write_text(MESSAGE.format(A))
    blocklist = f"file:{place.path}/list"
    source = ("--source", f"file:{log}")
    assert place.treason("reconcile", *source, "--backend", blocklist).code == 0
    assert place.treason("reconcile", *source, "--check").code == 2
    assert len(held(A)) == 1
    assert "closed 1 connection of 1 network" in place.treason("reconcile", "--no-scan").out
    assert held(A) == []


@pytest.mark.parametrize("off", ["[policy]\nmode = 'observe'", "close_connections = false"])
def test_what_is_not_wanted_is_not_made_up_for(
    off: str, peers: Peers, server: Server, place: Place, nft: Callable[..., str]
) -> None:
    """Switched on again, nothing is closed that was banned before."""
    connect(peers, A, 1, shrinking())
    until(lambda: caught(A))
    log = place.path / "log"
    log.write_text(MESSAGE.format(A))
    assert place.treason("scan", "--source", f"file:{log}").code == 0
    place.configure(main=off)
    assert place.treason("reconcile", "--no-scan").code == 0
    place.configure()
    assert place.treason("reconcile", "--no-scan").code == 0
    assert len(held(A)) == 1


def test_a_server_that_writes_late_is_followed(store: Store, peers: Peers, server: Server) -> None:
    """What comes to hold data within half an hour is closed, too; then it is settled."""
    closings = banned(store, Ground.SEEN, A)
    assert close(store, closings).closed == ()
    connect(peers, A, 1, shrinking())
    until(lambda: caught(A))
    assert [
        e.connections for e in close(store, store.closings.expected(), now=NOW + 60).closed
    ] == [1]
    assert store.closings.expected() == closings
    close(store, closings, now=NOW + FOLLOWED)
    assert store.closings.expected() == []


def test_what_can_never_be_closed_is_forgotten_after_a_day(store: Store) -> None:
    """No firewall drops it, or the kernel ends nothing: it must not pile up."""
    closings = banned(store, Ground.SEEN, A, C)
    close(store, closings, versions=())
    store.prune(NOW + 86_400, 86_400, 86_400)
    assert len(store.closings.expected()) == 2
    store.prune(NOW + 2 * 86_400, 86_400, 86_400)
    assert store.closings.expected() == []


def test_other_network_namespaces_are_not_seen(store: Store, peers: Peers, server: Server) -> None:
    """Though a peer there has the same address."""
    connect(peers, A, 1, shrinking())
    until(lambda: caught(A))
    other = Namespace()
    with other.entered():
        assert close(store, banned(store, Ground.SEEN, A)).closed == ()
    other.close()
    assert len(held(A)) == 1


def test_an_orphan_is_ended_where_the_kernel_does_that(
    store: Store, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried once in a boot, on a connection of our own; else it is left, and told."""
    server = Server(closing=True)
    connect(peers, A, 1, shrinking())
    until(lambda: caught(A))
    assert orphans.is_orphan(held(A)[0])
    closings = banned(store, Ground.SEEN, A)
    for answer, why in ((None, "with the source sockets"), (False, "would keep them for ever")):
        with monkeypatch.context() as patch:
            patch.setattr(orphans, "end", lambda _sockets, answer=answer: answer)
            result = close(store, closings)
        assert (result.closed, len(held(A))) == ((), 1)
        assert "1 connection left, closed by the server already" in result.notes[0]
        assert why in result.notes[0]
    assert len(close(store, closings).notes) == 1
    store.closings.remember_probe("another boot", orphans_end=False)
    assert [each.connections for each in close(store, closings).closed] == [1]
    assert held(A) == []
    server.close()


def test_orphans_are_tried_once_in_a_pass_though_nothing_can_be_stored(
    store: Store, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, and whatever comes of it."""
    server = Server(closing=True)
    for port in range(3):
        connect(peers, A, port + 1, shrinking())
    until(lambda: caught(A) and all(orphans.is_orphan(one) for one in held(A)))
    tried: list[Sockets] = []
    monkeypatch.setattr(orphans, "end", tried.append)
    [note] = close(store, banned(store, Ground.SEEN, A), write=False).notes
    assert note.startswith("3 connections left")
    assert len(tried) == 1
    server.close()


def test_of_two_networks_that_hold_a_peer_the_one_that_closes_more_counts(
    store: Store, peers: Peers, server: Server
) -> None:
    """A message about its neighbours keeps nobody's connections from being closed by hand."""
    connect(peers, A, 1, healthy)
    until(lambda: len(held(A)) == 1)
    closings = [*banned(store, Ground.TOLD, "10.9.1.0/24"), *banned(store, Ground.EVERY, A)]
    [closed] = close(store, closings).closed
    assert (str(closed.network), held(A)) == (A, [])


def test_a_connection_that_is_only_begun_shows_nothing(store: Store, peers: Peers) -> None:
    """By this machine to a peer that does not answer: a SYN is in flight, and no window known."""
    with socket.socket() as ours:
        ours.setblocking(False)
        ours.connect_ex((B, 9))
        until(lambda: any(one.waited for one in held(B)))
        assert [(one.state, one.in_flight > (one.window or 0)) for one in held(B)] == [(2, True)]
        spared = [Closing(Network.parse(B), Ground.SPARED, NOW)]
        every = banned(store, Ground.EVERY, "10.9.3.0/24")
        assert close(store, [*spared, *every]).closed == ()


def test_the_trial_leaves_nothing_behind(host: None) -> None:
    """Also where it cannot be made: then nobody knows."""
    assert orphans.end(Sockets()) is None
    run(["ip", "link", "set", "lo", "up"])
    assert orphans.end(Sockets()) is True
    until(lambda: [*Sockets().dump(states=(1, 4, 5, 8, 9, 11))] == [])


def test_the_trial_does_not_hang_where_loopback_is_closed(host: None) -> None:
    """As for a service without IPAddressAllow: a packet gets lost, a connect takes minutes."""
    run(["ip", "link", "set", "lo", "up"])
    rule = "table ip closed { chain out { type filter hook output priority 0; policy drop; }; }"
    run(["nft", rule])
    trial = Thread(target=orphans.end, args=(Sockets(),), daemon=True)
    trial.start()
    trial.join(30)
    assert not trial.is_alive()


class Refusing(Sockets):
    """Lets nothing be ended."""

    error: TreasonError = refusal(errno.EOPNOTSUPP)

    def destroy(self, one: TcpSocket) -> bool:
        """Refuse."""
        raise self.error


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.EOPNOTSUPP, "it needs CONFIG_INET_DIAG_DESTROY"),
        (errno.EPERM, "run as root, or with CAP_NET_ADMIN"),
    ],
)
def test_a_kernel_that_refuses_is_told_of_in_one_line(
    code: int, told: str, store: Store, peers: Peers, server: Server
) -> None:
    """And nothing is lost: another pass may close it."""
    connect(peers, A, 1, shrinking())
    until(lambda: caught(A))
    closings = banned(store, Ground.SEEN, A)
    refusing = Refusing()
    refusing.error = refusal(code)
    [note] = close(store, closings, open_sockets=lambda: refusing).notes
    assert told in note
    assert "\n" not in note
    assert store.closings.expected() == closings
    assert len(close(store, closings).closed) == 1


def test_without_the_right_the_kernel_refuses(peers: Peers, server: Server) -> None:
    """The real one, to a program that may do nothing."""
    if not REAL_ROOT:
        pytest.skip("another user id needs root")
    connect(peers, A, 1, shrinking())
    until(lambda: caught(A))
    program = (
        "from reconciler.netlink import *; s = Sockets(); [one] = s.dump(states=(1,), timer=1)\n"
        "try: s.destroy(one)\nexcept NotPermitted as error: print(error.hint)"
    )
    command = [
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]
    told = run([*command, sys.executable, "-c", program]).output
    assert "CAP_NET_ADMIN" in told


class Blind(Sockets):
    """Knows no TCP, as a kernel without the module."""

    def dump(self, *_args: object, **_how: object) -> Iterator[TcpSocket]:
        """Refuse."""
        raise refusal(errno.ENOENT)


def test_no_sockets_to_be_seen_is_not_nothing_to_close(store: Store, host: None) -> None:
    """It is told, with what to do."""
    closings = banned(store, Ground.SEEN, A)
    [note] = close(store, closings, open_sockets=Blind).notes
    assert "modprobe tcp_diag" in note
    assert store.closings.expected() == closings


def test_what_is_gone_in_between_is_no_error(store: Store, peers: Peers, server: Server) -> None:
    """Somebody else may have ended it."""

    class Late(Sockets):
        def destroy(self, one: TcpSocket) -> bool:
            assert super().destroy(one)
            return super().destroy(one)

    connect(peers, A, 1, shrinking())
    until(lambda: caught(A))
    closings = banned(store, Ground.SEEN, A)
    assert close(store, closings, open_sockets=Late) == ClosingResult()
    assert held(A) == []


def test_only_rules_that_sockets_can_confirm_close_anything() -> None:
    """Bans by hand and by an administrator's own rules leave connections to themselves."""
    address = Network.parse(A)
    grounds = {
        rule: [each.ground for each in expected([], [Ban(address, NOW, None, rule)], NOW, Policy())]
        for rule in ("zero-window", "sockstress", "probing-zero-window", "trap", "manual", "badips")
    }
    assert grounds == {
        "zero-window": [Ground.SEEN],
        "sockstress": [Ground.SEEN],
        "probing-zero-window": [Ground.TOLD],
        "trap": [],
        "manual": [],
        "badips": [],
    }


def test_the_rule_that_sockets_confirmed_closes_whoever_wrote_it() -> None:
    """Not another rule, by which the same peer is banned."""
    address = Network.parse(A)
    shown = [Offence(address, "odd", "", True, shown=True)]
    bans = [Ban(address, NOW, None, rule) for rule in ("odd", "probing-zero-window", "trap")]
    assert [each.ground for each in expected(shown, bans, NOW, Policy())] == [
        Ground.SEEN,
        Ground.TOLD,
    ]


def test_the_configuration_allows_it() -> None:
    """By hand also where rules close nothing; observing, nobody does."""
    config = Config()
    off = evolve(config, treason=evolve(config.treason, close_connections=False))
    observing = evolve(config, policy=Policy(mode="observe"))
    address = Network.parse(A)
    assert [
        [allowed(each, Closing(address, ground, NOW)) for ground in Ground]
        for each in (config, off, observing)
    ] == [[True] * 4, [False, False, True, False], [False] * 4]
