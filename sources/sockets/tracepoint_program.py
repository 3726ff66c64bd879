"""What the kernel tells by itself, without being asked: it sends again what no window allows.

A program of our own runs where the kernel sends TCP data again (the tracepoint tcp_retransmit_skb),
and tells of a socket of our network namespace that has more in flight than its peer's window
allows. In C it would be::

    int treason(struct sock *sk)
    {
        u32 window = tcp_sk(sk)->snd_wnd, una = tcp_sk(sk)->snd_una, nxt = tcp_sk(sk)->snd_nxt;
        if (nxt - una <= window)
            return 0;                                    // as allowed
        if (sk->__sk_common.skc_net.net->ns.inum != OWN)
            return 0;                                    // another network namespace's

        u64 now = bpf_ktime_get_ns();
        u64 *last = bpf_map_lookup_elem(&told, &sk);     // the 4,096 sockets told of lately
        if (last && now - *last < PAUSE)
            return 0;                                    // told of less than 200 ms ago
        bpf_map_update_elem(&told, &sk, &now, BPF_ANY);

        struct record *record = bpf_ringbuf_reserve(&ring, sizeof *record, 0);
        if (!record) {
            __sync_fetch_and_add(&lost, 1);              // the ring is full
            return 0;
        }
        *record = ...;                                   // time, in flight, window, members of sk
        bpf_ringbuf_submit(record, 0);
        return 0;
    }

It reads by bpf_probe_read_kernel() alone, to which a wrong address does no harm; where members are,
the kernel itself tells (`reconciler.bpf.members`). It writes to its own maps, changes no packet and
no socket, and has no loop. A socket at the address of one that has just gone is told of by the time
of its next retransmission.
"""

import struct
from typing import Final, NamedTuple

from reconciler.bpf import BpfUnavailable, Member, members
from reconciler.bpf.assembler import (
    ADD,
    ATOMIC_ADD,
    CALL,
    DW,
    EXIT,
    JA,
    JEQ,
    JLE,
    JLT,
    JNE,
    KTIME_GET_NS,
    LABEL,
    LDX,
    MAP_BY_FD,
    MAP_LOOKUP_ELEM,
    MAP_UPDATE_ELEM,
    MAP_VAL,
    MOV,
    MOV32,
    PROBE_READ_KERNEL,
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R9,
    R10,
    RINGBUF_RESERVE,
    RINGBUF_SUBMIT,
    STX,
    SUB,
    SUB32,
    Instruction,
    Label,
    Register,
    W,
)

PAUSE: Final = 200_000_000
"""Nanoseconds for which a socket of which was told is not told of again."""

RECORD: Final = struct.Struct("=QIIIHHHBx4s4s16s16s4x")
"""Time, bytes in flight, window; then `_FIELDS`."""
_IN_FLIGHT_AT, _WINDOW_AT = 8, 12
_FIELDS: Final = {
    "skc_bound_dev_if": (16, 4),
    "skc_family": (20, 2),
    "skc_num": (22, 2),
    "skc_dport": (24, 2),
    "skc_state": (26, 1),
    "skc_daddr": (28, 4),
    "skc_rcv_saddr": (32, 4),
    "skc_v6_daddr": (36, 16),
    "skc_v6_rcv_saddr": (52, 16),
}
"""Members of struct sock_common: where the record has them, and in how many bytes."""

_OF_IPV6: Final = {"skc_v6_daddr", "skc_v6_rcv_saddr"}
"""What a kernel without IPv6 does not have."""

SIZES: Final = {
    "tcp_sock": {"snd_wnd": 4, "snd_una": 4, "snd_nxt": 4},
    "sock_common": {"skc_net": 8} | {name: size for name, (_, size) in _FIELDS.items()},
    "ns_common": {"inum": 4},
}
"""What the program reads, and how many bytes of it."""

_WINDOW, _UNA, _NXT, _INODE = -4, -8, -12, -16
_NAMESPACE, _SOCKET, _NOW = -24, -32, -40
"""Places on the stack, from its end."""

Steps = list[Instruction | Label]
Places = dict[str, int]


class Maps(NamedTuple):
    """Descriptors of what the program writes to."""

    ring: int
    lost: int
    told: int


def code(where: Places, own: int, maps: Maps) -> Steps:
    """Return the program; ``own`` is the inode of the network namespace."""
    return [
        LDX(DW, R6, R1, 0),  # r6 = sk, the first argument of the tracepoint
        *_more_than_allowed(where),
        *_of_namespace(where, own),
        *_not_lately(maps.told),
        *_told(where, maps),
        LABEL("out"),
        MOV(R0, 0),
        EXIT(),
    ]


def _more_than_allowed(where: Places) -> Steps:
    """Leave where what is in flight, r9, fits into the window."""
    return [
        *_read(R6, where["snd_wnd"], _WINDOW, 4),
        *_read(R6, where["snd_una"], _UNA, 4),
        *_read(R6, where["snd_nxt"], _NXT, 4),
        LDX(W, R9, R10, _NXT),
        LDX(W, R1, R10, _UNA),
        SUB32(R9, R1),  # sequence numbers begin again at 2**32
        LDX(W, R1, R10, _WINDOW),
        JLE(R9, R1, "out"),
    ]


def _of_namespace(where: Places, own: int) -> Steps:
    """Leave where the socket is of another network namespace."""
    return [
        *_read(R6, where["skc_net"], _NAMESPACE, 8),
        LDX(DW, R7, R10, _NAMESPACE),
        *_read(R7, where["inum"], _INODE, 4),
        LDX(W, R1, R10, _INODE),
        MOV32(R2, own),
        JNE(R1, R2, "out"),
    ]


def _not_lately(told: int) -> Steps:
    """Leave where it was told of this socket a moment ago; else remember that it is, at r8."""
    return [
        CALL(KTIME_GET_NS),
        MOV(R8, R0),
        STX(DW, R10, _NOW, R8),
        STX(DW, R10, _SOCKET, R6),
        MAP_BY_FD(R1, told),
        MOV(R2, R10),
        ADD(R2, _SOCKET),
        CALL(MAP_LOOKUP_ELEM),
        JEQ(R0, 0, "tell"),
        LDX(DW, R1, R0, 0),
        MOV(R2, R8),
        SUB(R2, R1),
        JLT(R2, PAUSE, "out"),
        LABEL("tell"),
        MAP_BY_FD(R1, told),
        MOV(R2, R10),
        ADD(R2, _SOCKET),
        MOV(R3, R10),
        ADD(R3, _NOW),
        MOV(R4, 0),  # BPF_ANY
        CALL(MAP_UPDATE_ELEM),
    ]


def _told(where: Places, maps: Maps) -> Steps:
    """Write the record, r7; count it where the ring has no room."""
    return [
        MAP_BY_FD(R1, maps.ring),
        MOV(R2, RECORD.size),
        MOV(R3, 0),
        CALL(RINGBUF_RESERVE),
        JNE(R0, 0, "write"),
        MAP_VAL(R1, maps.lost, 0),
        MOV(R2, 1),
        ATOMIC_ADD(DW, R1, 0, R2),
        JA("out"),
        LABEL("write"),
        MOV(R7, R0),
        STX(DW, R7, 0, R8),
        STX(W, R7, _IN_FLIGHT_AT, R9),
        LDX(W, R1, R10, _WINDOW),
        STX(W, R7, _WINDOW_AT, R1),
        *(step for name, field in _FIELDS.items() for step in _copied(where.get(name), *field)),
        MOV(R1, R7),
        MOV(R2, 0),
        CALL(RINGBUF_SUBMIT),
    ]


def _copied(place: int | None, to: int, size: int) -> Steps:
    """Copy a member of the socket into the record; nothing where it has none."""
    return [] if place is None else _probe(R6, place, R7, to, size)


def _read(base: Register, place: int, to: int, size: int) -> Steps:
    """Read from the kernel's memory onto the stack."""
    return _probe(base, place, R10, to, size)


def _probe(base: Register, place: int, block: Register, to: int, size: int) -> Steps:
    """Read ``size`` bytes of the kernel's memory; zeros where the address is none."""
    return [
        MOV(R1, block),
        ADD(R1, to),
        MOV(R2, size),
        MOV(R3, base),
        ADD(R3, place),
        CALL(PROBE_READ_KERNEL),
    ]


def places() -> Places:
    """Return where a socket has what is read. Raise `BpfUnavailable` where it has it not so."""
    found = members({"net": ["ns"]} | {name: [*each] for name, each in SIZES.items()})
    where: Places = {}
    for structure, sizes in SIZES.items():
        for name, size in sizes.items():
            one = found[structure].get(name)
            if one is None and name in _OF_IPV6:
                continue
            where[name] = _checked(one, f"{structure}.{name}", size)
    inside = found["net"].get("ns")
    where["inum"] += _checked(inside, "net.ns", inside.size if inside else 0)
    return where


def _checked(one: Member | None, name: str, size: int) -> int:
    if one is None or one.size != size:
        what = "is missing" if one is None else f"has {one.size} bytes, not {size}"
        raise BpfUnavailable(f"the TCP of this kernel is unknown to treason: {name} {what}")
    return one.offset
