"""What is suspected of a socket, and when that is enough: the same however it was found. Pure."""

from typing import Final

from attrs import evolve

from reconciler import Network, Suspect
from reconciler.netlink import TcpSocket
from sources.sockets import signs

RULE: Final = "zero-window"
IN_COMPANY: Final = "zero-window-in-company"
SOCKSTRESS: Final = "sockstress"

LOOKS: Final = 3
"""Looks that it takes at least, unless the kernel tells for how long it has waited."""

ANEW: Final = 3600
"""Seconds after which what goes on is an offence again: as long as the first ban."""

_NONE: Final = TcpSocket(*(0,) * 4, b"", *(0,) * 5)

_LONG: Final = 30
"""Times ``lasting`` for which a closed window without anything in flight is suspicious."""


def name_of(one: TcpSocket) -> str:
    """Return by which name a socket is stored."""
    return f"{one.family}:{one.identity.hex()}"


def named(thing: str) -> TcpSocket:
    """Return enough of the socket of a name to look at it again (`Sockets.exact`)."""
    family, _, identity = thing.partition(":")
    return _NONE._replace(family=int(family), identity=bytes.fromhex(identity))


def suspected(
    one: TcpSocket, rule: str, seen: float, known: Suspect | None, *, looks: int
) -> Suspect:
    """Return what is suspected of a socket that so many ``looks`` at ``seen`` have found so.

    What was ``known`` of it counts, unless something new was sent since: then the window was open.
    """
    note = str(signs.last_sent(one))
    if known is None or (known.rule, known.note) != (rule, note) or is_old(known, seen):
        known = Suspect(
            thing=name_of(one),
            rule=rule,
            address=one.peer,
            since=seen,
            looks=0,
            peer_port=one.peer_port,
            local_port=one.local_port,
            note=note,
        )
    return evolve(known, looks=min(known.looks + looks, LOOKS))  # more would be written anew


def earlier(one: Suspect | None, other: Suspect | None) -> Suspect | None:
    """Return the one of two that says more of the same socket: judged, or seen for longer."""
    if one is None or other is None or one.note != other.note:
        return one or other
    return min(one, other, key=lambda each: (not each.judged, each.since))


def open_because(suspect: Suspect, seconds: float, lasting: float, waited: float) -> str:
    """Return why what was seen for so many ``seconds`` is not judged now; empty where it is.

    ``waited`` are the seconds that the kernel itself tells, ``lasting`` those of the settings.
    """
    lasting *= 1 if suspect.rule == RULE else _LONG
    if suspect.judged:
        return "it was judged in an earlier pass, which counts"
    if seconds < lasting:
        return f"seen for {seconds:.0f} s; it takes {lasting:.0f} s"
    if suspect.looks < LOOKS and waited < lasting:
        return "seen in this pass alone; the next one decides"
    return ""


def is_old(known: Suspect, seen: float) -> bool:
    """Whether the judgement was so long ago that it is made again."""
    return known.judged and seen - known.since >= ANEW


def is_loopback(peer: Network) -> bool:
    """Whether it is this machine itself, by an address that never is another's."""
    return peer.address >> 24 == 127 if peer.version == 4 else peer.address == 1
