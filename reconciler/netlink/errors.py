"""How the kernel refuses.

NetlinkError             the kernel refused; ``code`` is its errno
├── NotPermitted         EPERM: CAP_NET_ADMIN is missing
├── Missing              ENOENT
├── Present              EEXIST: it is there, or overlaps with what is
├── Full                 ENFILE: a set has no room left
├── Stale                ERESTART: the ruleset is not the one that the change was made for
├── TooLong              EMSGSIZE: more than a socket takes; nothing was sent
└── AnswerLost           ENOBUFS: done, or not; the answer did not fit into the socket
"""

import errno
import os
from typing import Final

from reconciler import hints
from reconciler.errors import TreasonError


class NetlinkError(TreasonError):
    """The kernel refused a request; ``code`` is the errno."""

    def __init__(self, code: int, what: str, hint: str = "") -> None:
        super().__init__(what, hint)
        self.code = code


class NotPermitted(NetlinkError):
    """The caller may not do this."""


class Missing(NetlinkError):
    """Something that is named is not there."""


class Present(NetlinkError):
    """Something is there already, or overlaps with what is there."""


class Full(NetlinkError):
    """A set has no room left."""


class Stale(NetlinkError):
    """The ruleset has changed since the generation that a commit was made for."""


class TooLong(NetlinkError):
    """More than a socket takes; nothing was sent."""


class AnswerLost(NetlinkError):
    """The request was carried out or not, but the answers did not fit."""


_KINDS: Final[dict[int, type[NetlinkError]]] = {
    errno.EPERM: NotPermitted,
    errno.ENOENT: Missing,
    errno.EEXIST: Present,
    errno.ENFILE: Full,
    errno.ERESTART: Stale,
    errno.EMSGSIZE: TooLong,
    errno.ENOBUFS: AnswerLost,
}


CUT_OFF: Final = "an answer of the kernel is cut off, or of an unknown form"
"""What is said of an answer that makes no sense (EBADMSG)."""


def refusal(code: int, said: str = "") -> NetlinkError:
    """Return the error for an errno, with what the kernel said besides (NLMSGERR_ATTR_MSG)."""
    kind = _KINDS.get(code, NetlinkError)
    reason = "the ruleset has changed" if kind is Stale else os.strerror(code)
    return kind(code, f"{reason}: {said}" if said else reason, hints.of(code))
