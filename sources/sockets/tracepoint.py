"""Without a poll: the kernel itself tells of a socket that sends again what no window allows.

It is a suspect, no more: retransmissions are told of at once, and what is told is a moment. The
program that tells is in `sources.sockets.tracepoint_program`.
"""

import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from reconciler import Network
from reconciler.bpf import BpfUnavailable, Counter, Ring, attach, check_machine, load, recent
from reconciler.bpf.assembler import assemble
from sources.sockets.tracepoint_program import RECORD, Maps, code, places

_TRACEPOINT: Final = "tcp_retransmit_skb"

_TOLD: Final = 4096
"""Sockets that are remembered for that."""

_RING: Final = 1 << 16
"""Bytes of the ring: some 800 records, and whole pages wherever Linux runs."""

_NAMESPACE: Final = Path("/proc/thread-self/ns/net")


class Retransmission(NamedTuple):
    """A socket that has more in flight than its peer's window allows, and sends it again.

    ``at`` are nanoseconds of CLOCK_MONOTONIC, ``in_flight`` and ``window`` bytes. ``interface`` is
    the index of the device that the socket is bound to, 0 where it is bound to none.
    """

    at: int
    in_flight: int
    window: int
    interface: int
    family: int
    state: int
    local: Network
    local_port: int
    peer: Network
    peer_port: int


class Retransmissions:
    """What the kernel tells of them, in the network namespace of the thread that asks.

    Only `__init__` needs capabilities (CAP_BPF and CAP_PERFMON), and calls bpf(2).
    """

    def __init__(self) -> None:
        """Load the program, and let it run. Raise `BpfError`."""
        check_machine()
        where, own = places(), _own_namespace()
        with ExitStack() as kept, ExitStack() as passing:
            self._ring = Ring("treason_ring", _RING)
            kept.callback(self._ring.close)
            self._counter = Counter("treason_lost")
            kept.callback(self._counter.close)
            told = recent("treason_told", 8, 8, _TOLD)
            passing.callback(os.close, told)  # the program keeps it
            maps = Maps(self._ring.descriptor, self._counter.descriptor, told)
            program = load("treason", assemble(code(where, own, maps)))
            passing.callback(os.close, program)  # as what is attached keeps the program
            kept.callback(os.close, attach(program, _TRACEPOINT))
            self._kept = kept.pop_all()
        self._lost = 0

    def fileno(self) -> int:
        """Return the descriptor that is readable while there is something to read."""
        return self._ring.fileno()

    def read(self) -> list[Retransmission]:
        """Return what has come, in order; nothing where the first is still being written."""
        return [each for record in self._ring.read() if (each := decoded(record))]

    def lost(self) -> int:
        """Return how many found the ring full since the last call."""
        before, self._lost = self._lost, self._counter.value
        return self._lost - before

    def close(self) -> None:
        """End the program; nothing of it stays in the kernel."""
        self._kept.close()


def decoded(record: bytes) -> Retransmission | None:
    """Return what a record tells; None where it is not of TCP over IP."""
    at, in_flight, window, interface, family, local_port, port, state, *addresses = RECORD.unpack(
        record
    )
    if family == socket.AF_INET:
        peer, local = (Network.of(4, int.from_bytes(each), 32) for each in addresses[:2])
    elif family == socket.AF_INET6:
        peer, local = (Network.of(6, int.from_bytes(each), 128).unmapped for each in addresses[2:])
    else:
        return None
    return Retransmission(
        at=at,
        in_flight=in_flight,
        window=window,
        interface=interface,
        family=family,
        state=state,
        local=local,
        local_port=local_port,
        peer=peer,
        peer_port=socket.ntohs(port),
    )


def _own_namespace() -> int:
    """Return the number by which the kernel knows the network namespace that we are in."""
    try:
        return _NAMESPACE.stat().st_ino
    except OSError as error:
        raise BpfUnavailable(f"cannot read {_NAMESPACE}: {error.strerror}") from None
