"""What the rules of the chain that drop have counted, as ``iptables-save --counters`` prints it."""

import re
from collections.abc import Iterable
from typing import Final

from backends.xtables import programs
from backends.xtables.chain import CHAIN, bare
from backends.xtables.firewall import FAMILIES
from reconciler import BackendUnreadable, Dropped

_COUNTED: Final = re.compile(rf"^\[([0-9]+):([0-9]+)\] -A {CHAIN} (?:.* )?-j DROP$", re.MULTILINE)


def dropped(variant: str) -> Dropped | None:
    """Return what was counted in both families; None where no rule drops.

    Since when is not told. Raise `BackendUnreadable` if no family can be read.
    """
    resolved = programs.resolve(variant)
    saved: list[str] = []
    unread: list[BackendUnreadable] = []
    for version in FAMILIES:
        try:
            saved.append(programs.save(version, resolved, counted=True))
        except BackendUnreadable as error:
            unread.append(error)
    if not saved:
        raise unread[0]
    return _total(saved)


def _total(saved: Iterable[str]) -> Dropped | None:
    counts = [map(int, found) for text in saved for found in _COUNTED.findall(bare(text))]
    if not counts:
        return None
    packets, held = (sum(column) for column in zip(*counts, strict=True))
    return Dropped(packets, held)
