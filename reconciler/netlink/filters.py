"""Classic BPF for sockets that listen to nf_tables: what is none of the listener's wakes nobody.

The kernel sends the events of one commit in datagrams of many messages; that of the new generation
comes by itself. A message begins with struct nlmsghdr (16 bytes) and struct nfgenmsg (4), then
comes the table's name, the first attribute of every event about anything in a table. Opcodes are
those of linux/bpf_common.h; a load beyond the datagram's end drops it.
"""

import struct
import sys
from typing import Final

from attrs import frozen

from reconciler.netlink.message import HEADER, text

MESSAGES: Final = (64, 32)
"""How many messages of a datagram are looked at. So many events of elements, the shortest that
there are, fit into one (NLMSG_GOODSIZE, linux/netlink.h); the less, the smaller the program, which
must fit into net.core.optmem_max: 20 KiB before Linux 6.9."""

_ACCEPT, _DROP = 0xFFFFFFFF, 0
_RETURN: Final = 0x06
_LOAD_WORD, _LOAD_LENGTH = 0x20, 0x80  # at a place; how long the datagram is
_LOAD_WORD_AT, _LOAD_BYTE_AT = 0x40, 0x50  # at the index register and a constant
_STORE, _STORE_INDEX, _LOAD_INDEX = 0x02, 0x03, 0x61  # cells of scratch memory
_SHIFT_LEFT, _OR_INDEX, _ADD_INDEX, _TO_INDEX, _SET_INDEX = 0x64, 0x4C, 0x0C, 0x07, 0x01
_IF_EQUAL, _IF_GREATER_THAN_INDEX = 0x15, 0x2D

_PORT_AT: Final = 12  # struct nlmsghdr: nlmsg_pid
_NAME_AT: Final = HEADER + 4
_LOW, _HIGH = (0, 1) if sys.byteorder == "little" else (3, 2)
"""Where a message's length has its lower bytes; no datagram has as much as 64 KiB."""

Instruction = tuple[int, int, int, int]
"""Opcode, what to skip when true and when false, and a constant (struct sock_filter)."""


@frozen
class Filter:
    """A program for SO_ATTACH_FILTER, as the kernel takes it: ``number`` instructions."""

    code: bytes
    number: int


def about_table(name: str, *, but_of: int, messages: int = MESSAGES[0]) -> Filter:
    """Let through what may concern a table of this name, in any family.

    Changes that were made through the socket with the port id ``but_of`` are dropped, too. A
    datagram of more than so many messages is let through, unless all that it has is of that socket.
    """
    attribute = text(1, name)  # NFTA_*_TABLE
    words = [int.from_bytes(attribute[at : at + 4]) for at in range(0, len(attribute), 4)]
    own = int.from_bytes(but_of.to_bytes(4, sys.byteorder))
    program: list[Instruction] = [
        (_LOAD_WORD, 0, 0, _PORT_AT),
        (_IF_EQUAL, 0, 1, own),
        (_RETURN, 0, 0, _DROP),
        (_SET_INDEX, 0, 0, 0),
    ]
    for _ in range(messages):
        program += _message(words)
    program.append((_RETURN, 0, 0, _ACCEPT))
    code = b"".join(struct.pack("=HBBI", *each) for each in program)
    return Filter(code, len(program))


def _message(words: list[int]) -> list[Instruction]:
    """Look at the message at the index: accept one of the table, drop where none is behind it."""
    told: list[Instruction] = []
    for place, word in enumerate(words):
        behind = 2 * (len(words) - place - 1) + 1  # the rest of the comparison, and its end
        told += [
            (_LOAD_WORD_AT, 0, 0, _NAME_AT + 4 * place),
            (_IF_EQUAL, 0, behind, word),
        ]
    return [
        *told,
        (_RETURN, 0, 0, _ACCEPT),
        (_STORE_INDEX, 0, 0, 0),
        (_LOAD_BYTE_AT, 0, 0, _HIGH),
        (_SHIFT_LEFT, 0, 0, 8),
        (_STORE, 0, 0, 1),
        (_LOAD_BYTE_AT, 0, 0, _LOW),
        (_LOAD_INDEX, 0, 0, 1),
        (_OR_INDEX, 0, 0, 0),
        (_LOAD_INDEX, 0, 0, 0),
        (_ADD_INDEX, 0, 0, 0),  # lengths are multiples of four: every attribute is padded
        (_TO_INDEX, 0, 0, 0),
        (_LOAD_LENGTH, 0, 0, 0),
        (_IF_GREATER_THAN_INDEX, 1, 0, 0),
        (_RETURN, 0, 0, _DROP),
    ]
