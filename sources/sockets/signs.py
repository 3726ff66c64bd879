"""What one look at a socket says: the attack, what is like it, and the words for both. Pure."""

from typing import Final

from reconciler import Network
from reconciler.netlink import HOLDING, PERSIST, TcpSocket

_NAMES: Final = ("established", "fin-wait-1", "close-wait", "last-ack", "closing")
_STATES: Final = dict(zip(HOLDING, _NAMES, strict=True))

_HEALTHY: Final = 60_000
"""Milliseconds within which a healthy connection has sent, and heard of its peer."""


def stalled(one: TcpSocket) -> bool:
    """Whether the window is closed with nothing in flight, and the kernel probes it."""
    return one.timer == PERSIST and one.state in HOLDING and one.unsent > 0 and not one.in_flight


def healthy(one: TcpSocket) -> bool:
    """Whether data was sent and acknowledged within the last minute, and nothing is stuck."""
    lately = max(one.since_sent, one.since_heard) <= _HEALTHY
    return lately and one.acknowledged > 0 and not one.backoff and not one.is_over


def last_sent(one: TcpSocket) -> int:
    """Return how many bytes were sent, each counted once.

    While more is in flight than the window allows, nothing new is sent: this stays the same,
    however little or much the peer acknowledges. If it has moved, the window was open meanwhile.
    """
    return one.sent - one.sent_again


def like(one: TcpSocket) -> str:
    """Return what else makes the kernel wait for a peer, and is no attack; empty: nothing does."""
    if one.timer == PERSIST:
        return "its window is closed with nothing in flight: a slow reader, by the rules"
    if one.backoff:
        return "it does not acknowledge, but its window is open: a dead peer, a bad line"
    return ""


def told(one: TcpSocket, seconds: float) -> str:
    """Return what a look has found, in words for people."""
    return (
        f"{_peer(one.peer)}:{one.peer_port} → :{one.local_port} {_STATES[one.state]},"
        f" {_bytes(one.in_flight)} in flight, window {one.window}, for {seconds:.0f} s"
    )


def told_briefly(one: TcpSocket) -> str:
    """Return the same without the time."""
    return told(one, 0).rpartition(", for")[0]


def told_stalled(one: TcpSocket, seconds: float) -> str:
    """Return what was found of a window that stays closed with nothing in flight."""
    return (
        f"{_peer(one.peer)}:{one.peer_port} → :{one.local_port} {_STATES[one.state]},"
        f" {_bytes(one.unsent)} wait, nothing in flight, window {one.window}, for {seconds:.0f} s"
    )


def _peer(address: Network) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def _bytes(number: int) -> str:
    return "1 byte" if number == 1 else f"{number} bytes"
