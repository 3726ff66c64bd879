"""When a rule was made, as its user data notes it: the kernel tells no times.

nft(8) passes over user data of a type that it does not know, and does not list it.
"""

import time
from typing import Final

from reconciler.netlink import attribute

USER_DATA: Final = 7  # NFTA_RULE_USERDATA
_MADE: Final = 0x54
"""A type of user data of our own, far from those of libnftnl's udata.h."""

_WIDTH: Final = 8
_HEAD: Final = bytes([_MADE, _WIDTH])


def stamp() -> bytes:
    """Return the attribute of a rule that is made now."""
    return attribute(USER_DATA, _HEAD + int(time.time()).to_bytes(_WIDTH))


def read(data: bytes) -> int | None:
    """Return when a rule with this user data was made (epoch seconds); None if it does not tell."""
    if not data.startswith(_HEAD) or len(data) != len(_HEAD) + _WIDTH:
        return None
    return int.from_bytes(data[len(_HEAD) :])
