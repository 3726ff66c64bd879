"""A socket to the kernel: questions, answers, and to nf_tables changes and events.

Names in capitals are the kernel's: ``linux/netlink.h``, ``linux/netfilter/nfnetlink.h`` and
``linux/netfilter/nf_tables.h`` (6.1).
"""

import errno
import select
import socket
import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from reconciler.log import Log
from reconciler.netlink.errors import CUT_OFF, refusal
from reconciler.netlink.filters import Filter
from reconciler.netlink.message import ACK, HEADER, REQUEST, Message, attributes, number

_log = Log("netlink")

NFTABLES: Final = 10
"""NFNL_SUBSYS_NFTABLES, the upper byte of a message's type."""

NFTABLES_EVENTS: Final = 7
"""NFNLGRP_NFTABLES: every change of a ruleset."""

ROUTE, NETFILTER = 0, 12
"""Protocols: NETLINK_ROUTE, NETLINK_NETFILTER."""

_BATCH_BEGIN, _BATCH_END = 0x10, 0x11  # NFNL_MSG_BATCH_*
_BATCH_GENERATION: Final = 1  # NFNL_BATCH_GENID
_NEW_GENERATION, _GET_GENERATION = 15, 16  # NFT_MSG_NEWGEN, NFT_MSG_GETGEN
_GENERATION_ID: Final = 1  # NFTA_GEN_ID
_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
_CAPPED, _EXTENDED = 0x100, 0x200  # NLM_F_CAPPED, NLM_F_ACK_TLVS
_EXTENDED_TEXT: Final = 1  # NLMSGERR_ATTR_MSG
_INTERRUPTED: Final = 0x10  # NLM_F_DUMP_INTR

_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP, _CAP_ACK, _EXT_ACK = 1, 10, 11  # NETLINK_*
_SNDBUFFORCE, _RCVBUFFORCE = 32, 33  # SO_*, asm-generic/socket.h
_ATTACH_FILTER: Final = 26  # SO_ATTACH_FILTER, asm-generic/socket.h
_NETNS_COOKIE: Final = 71  # SO_NETNS_COOKIE, Linux 5.14
_READ: Final = 1 << 16
"""Bytes read at once; a dump comes in pieces of 32 KiB."""

_KEPT: Final = 1 << 23
"""Bytes of answers and events that a socket is to hold."""

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_HEAD: Final = 4  # bytes of struct nfgenmsg: family, version, resource
_TO_NFTABLES: Final = b"\0" + NFTABLES.to_bytes(2)  # the version, and what a batch is for


def messages(data: bytes) -> Iterator[bytes]:
    """Yield the messages that were received at once. Raise `NetlinkError` if one is cut off."""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], sys.byteorder)
        if not HEADER <= length <= len(data) - at:
            raise refusal(errno.EBADMSG, CUT_OFF)
        yield data[at : at + length]
        at += (length + 3) & ~3


Split = Callable[[bytes], Iterable[bytes]]
"""How what was received at once becomes messages, as `messages` makes them."""


class Connection:
    """A socket to a part of the kernel, in the network namespace of the calling thread.

    It is closed by `close`, or when nobody has it any more.
    """

    def __init__(
        self,
        groups: Sequence[int] = (),
        protocol: int = NETFILTER,
        let_through: Filter | None = None,
    ) -> None:
        """Open it, and join the multicast ``groups`` (NFNLGRP_*). Raise `NetlinkError`.

        Of what comes, only what the filter lets through is received.
        """
        self._sequence = 0
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
            )
            self._socket.bind((0, 0))
            for option in (_CAP_ACK, _EXT_ACK):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            self._make_room(_RCVBUFFORCE, socket.SO_RCVBUF, _KEPT)
            if let_through:
                self._attach(let_through)
            for group in groups:
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except OSError as error:
            raise refusal(error.errno or 0) from None

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket, and so leave the groups."""
        if hasattr(self, "_socket"):  # or it could not be opened
            self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor, which poll(2) finds readable when something has come."""
        return self._socket.fileno()

    @property
    def namespace(self) -> int | None:
        """What tells this network namespace from every other since boot; None before Linux 5.14.

        The number of its inode is given to another one when it is gone.
        """
        try:
            cookie = self._socket.getsockopt(socket.SOL_SOCKET, _NETNS_COOKIE, 8)
        except OSError:
            return None
        return int.from_bytes(cookie, sys.byteorder)

    @property
    def port(self) -> int:
        """The port id of this socket: events of its own changes carry it."""
        port, _groups = self._socket.getsockname()
        return int(port)

    def ask(self, request: Message, split: Split = messages) -> Iterator[Message]:
        """Send a request and yield the answers, of a dump or of one question.

        ``split`` may leave out answers that are like others. Take all of them before asking
        anything else. Raise `NetlinkError`; it is `Stale`, at the end, when something changed while
        the kernel was listing (NLM_F_DUMP_INTR).
        """
        start = HEADER + 1 + len(request.head)
        for answer in self._answers(request, split):
            length, kind, flags, _, port = _HEADER.unpack_from(answer)
            if length < start:
                raise refusal(errno.EBADMSG, CUT_OFF)
            head, body = answer[HEADER + 1 : start], answer[start:length]
            yield Message(kind, answer[HEADER], body, flags, port, head=head)

    def runs(self, request: Message) -> Iterator[tuple[bytes, int]]:
        """Do as `ask`, but yield the answers undivided: bytes, and how many each message has.

        The messages of a run have the same length, kind and flags.
        """
        for run in self._answers(request, _runs):
            yield run, int.from_bytes(run[:4], sys.byteorder)

    def _answers(self, request: Message, split: Split) -> Iterator[bytes]:
        """Send a request, and yield the answers with their headers, as they are split."""
        self._sequence += 1
        self._send(_packed(request, REQUEST | ACK | request.flags, self._sequence))
        interrupted = False  # the rest of a dump comes all the same, and is to be read
        while True:
            for answer in split(self._block(wait=True)):
                _, kind, flags, sequence, _ = _HEADER.unpack_from(answer)
                if sequence != self._sequence:
                    continue
                interrupted |= bool(flags & _INTERRUPTED)
                if kind in {_ERROR, _DONE}:
                    _judge(kind, flags, answer[HEADER:])
                    if interrupted:
                        raise refusal(errno.ERESTART)
                    return
                yield answer

    def generation(self) -> int:
        """Return the number of the ruleset's generation: each commit in the namespace raises it."""
        request = Message(NFTABLES << 8 | _GET_GENERATION, socket.AF_UNSPEC, b"")
        numbers = [generation(answer) for answer in self.ask(request)]
        return next(number for number in numbers if number is not None)

    def commit(
        self, messages: Sequence[Message], generation: Callable[[], int] = lambda: 0
    ) -> None:
        """Carry out nf_tables' messages as one transaction, or none of them.

        Only if the ruleset still is of the ``generation``, which is asked for last, when all else
        is ready to be sent; 0 stands for any. Raise `NetlinkError`; all but `AnswerLost` mean that
        nothing was changed.
        """
        first = self._sequence + 1
        last = self._sequence + len(messages) + 1
        self._sequence = last + 1
        packed = [
            _packed(message, REQUEST | message.flags | (ACK if at == last else 0), at)
            for at, message in enumerate(messages, first + 1)
        ]
        end = Message(_BATCH_END, socket.AF_UNSPEC, b"", head=_TO_NFTABLES)
        data = b"".join([*packed, _packed(end, REQUEST, last + 1)])
        self._make_room(_SNDBUFFORCE, socket.SO_SNDBUF, len(data) + (1 << 16))
        condition = number(_BATCH_GENERATION, generation())
        begin = Message(_BATCH_BEGIN, socket.AF_UNSPEC, condition, head=_TO_NFTABLES)
        with _log.timed("batch of %d messages, %d bytes", len(messages), len(data)):
            self._carry_out(_packed(begin, REQUEST, first), data, first, last)

    def _carry_out(self, begin: bytes, data: bytes, first: int, last: int) -> None:
        """Send a batch, and read the answers to its messages, numbered from first to last."""
        self._send(begin, data)
        acknowledged = False
        for kind, flags, sequence, _, body in self._received():
            if kind == _ERROR and sequence >= first:
                _judge(kind, flags, body)
                acknowledged |= sequence == last
        if not acknowledged:
            raise refusal(errno.ENOBUFS)

    def events(self) -> Iterator[Message]:
        """Yield what the joined groups were told, as far as it has come.

        Raise `AnswerLost` when some of it did not fit into the socket.
        """
        for kind, flags, _, port, body in self._received():
            yield Message(kind, body[0], body[_HEAD:], flags, port)

    def wait(self, seconds: float) -> None:
        """Wait until there is something to read, or the time is over."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.poll(seconds * 1000)

    def _send(self, *data: bytes) -> None:
        try:
            self._socket.sendmsg(data)
        except OSError as error:
            raise refusal(error.errno or 0) from None

    def _received(self) -> Iterator[tuple[int, int, int, int, bytes]]:
        """Yield type, flags, sequence, port and body of each message, until none is left."""
        while block := self._block(wait=False):
            for message in messages(block):
                _, kind, flags, sequence, port = _HEADER.unpack_from(message)
                yield kind, flags, sequence, port, message[HEADER:]

    def _block(self, *, wait: bool) -> bytes:
        """Return what the kernel sent at once: whole messages; nothing where nothing is to wait."""
        try:
            return self._socket.recv(_READ, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise refusal(error.errno or 0) from None

    def _attach(self, program: Filter) -> None:
        code = array("B", program.code)
        place, _ = code.buffer_info()
        head = struct.pack("HP", program.number, place)  # struct sock_fprog
        self._socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, head)

    def _make_room(self, forced: int, allowed: int, size: int) -> None:
        """Let the socket hold ``size`` bytes, or as much as the caller may."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, forced, size)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, allowed, size)


def generation(event: Message) -> int | None:
    """Return the generation that an event or an answer announces, if it does."""
    if event.kind != NFTABLES << 8 | _NEW_GENERATION:
        return None
    return int.from_bytes(dict(attributes(event.body))[_GENERATION_ID])


def _runs(block: bytes) -> Iterable[bytes]:
    """Return a block undivided where its messages have the same length, kind and flags."""
    size = int.from_bytes(block[:4], sys.byteorder)
    if size < HEADER or len(block) % size or size % 4:
        return messages(block)
    alike = len(block) // size
    for at in range(8):  # length, kind and flags
        if block[at::size] != block[at : at + 1] * alike:
            return messages(block)
    return [block]


def _packed(message: Message, flags: int, sequence: int) -> bytes:
    body = bytes([message.family]) + message.head + message.body
    return _HEADER.pack(HEADER + len(body), message.kind, flags, sequence, 0) + body


def _judge(kind: int, flags: int, body: bytes) -> None:
    """Raise what an NLMSG_ERROR or NLMSG_DONE says, unless it says that all went well."""
    code = -int.from_bytes(body[:4], sys.byteorder, signed=True)
    if not code:
        return
    said = ""
    if kind == _ERROR and flags & _EXTENDED:
        (length,) = struct.unpack_from("=I", body, 4)
        start = 4 + (HEADER if flags & _CAPPED else (length + 3) & ~3)
        told = dict(attributes(body[start:])).get(_EXTENDED_TEXT, b"")
        said = told.rstrip(b"\0").decode(errors="replace")
    raise refusal(code, said)
