"""What this machine is to the network: the kernel tells of every change of addresses and routes."""

import select
from collections.abc import Callable
from typing import Final

from reconciler.daemon.loop import Loop
from reconciler.daemon.pace import Pace
from reconciler.netlink import ROUTE, Connection, NetlinkError

_GROUPS: Final = (1, 5, 7, 9, 11, 32)
"""RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE, _NEXTHOP of
``linux/rtnetlink.h`` (6.1); what is protected is told by all of these."""

_LEAST: Final = 0.1
"""Seconds of the shortest pause between two looks: a router that learns a million routes must not
make us look at nothing else."""


class Surroundings:
    """Calls ``changed`` when an address, a route or a link has changed, and not too often."""

    def __init__(self, loop: Loop, changed: Callable[[], object]) -> None:
        """Listen. Raise `NetlinkError` where the kernel does not let us."""
        self._loop, self._changed = loop, changed
        self._connection = Connection(_GROUPS, ROUTE)
        self._pace = Pace(_LEAST)
        loop.watch(self._connection.fileno(), select.POLLIN, self._woken)

    def _woken(self) -> None:
        try:
            for _ in self._connection.events():
                pass
        except NetlinkError:
            pass  # some were lost, which is as good as one
        self._loop.soon(self._pace.wait(), "surroundings", self._look)

    def _look(self) -> None:
        with self._pace.look():
            self._changed()
