"""What backends promise that spare reading their platform, as cases for pytest."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from copy import copy
from typing import Any, ClassVar

import pytest

from reconciler.asking import AskableBackend
from reconciler.errors import BackendUnreadable
from reconciler.interfaces import ConfirmingBackend, DigestedBackend, FingerprintedBackend
from reconciler.network import Network
from reconciler.networks import NOTHING
from reconciler.testing.backend import EXAMPLE
from reconciler.testing.steps import Cases, given, needed, reach, state


class FingerprintedContract(Cases):
    """For a backend with `fingerprint`; a class beside `BackendContract`, with its ``damages``."""

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {}

    def test_fingerprint(self, damage: str, backend: FingerprintedBackend) -> None:
        """Looking leaves it as it is; damage changes it."""
        given(backend, EXAMPLE)
        before = _fingerprint(backend)
        backend.observe()
        assert backend.fingerprint() == before
        self.damages[damage](self)
        assert backend.fingerprint() != before

    def test_fingerprint_of_a_change(self, backend: FingerprintedBackend) -> None:
        """A change of the backend's own gives another one."""
        given(backend, state(["192.0.2.7"]))
        before = _fingerprint(backend)
        reach(backend, state(["192.0.2.7", "192.0.2.9"]))
        assert backend.fingerprint() != before

    def test_apply_without_observe(self, backend: FingerprintedBackend) -> None:
        """What was verified is not read: the change comes to an object that has read nothing."""
        fresh = copy(backend)
        given(backend, state(["192.0.2.7"]))
        more = state(["192.0.2.7", "192.0.2.9"])
        made = needed(backend, more)
        assert made is not None
        fresh.apply(made)
        assert needed(backend, more) is None


def _fingerprint(backend: FingerprintedBackend) -> str:
    fingerprint = backend.fingerprint()
    if fingerprint is None:
        pytest.skip("the platform has no fingerprint here")
    return fingerprint


class ConfirmingContract(Cases):
    """For a backend with `confirm`; a class beside `BackendContract`, with its ``damages``."""

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {}

    def test_confirm(self, damage: str, backend: ConfirmingBackend) -> None:
        """What was damaged after the change is not confirmed."""
        given(backend, state(["192.0.2.7", "192.0.2.9", "203.0.113.128/25"]))
        made = needed(backend, EXAMPLE)
        assert made is not None
        backend.apply(made)
        self.damages[damage](self)
        assert not backend.confirm(made)


class DigestedContract(Cases):
    """For a backend with `digest`; a class beside `BackendContract`, with its ``damages``."""

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {}

    def test_digest(self, damage: str, backend: DigestedBackend) -> None:
        """It is what was announced, and another one after damage, or none."""
        assert backend.digest() is None
        made = needed(backend, EXAMPLE)
        assert made is not None
        announced = backend.digest_of(made)
        assert backend.digest() is None
        backend.apply(made)
        assert backend.digest() == announced
        assert backend.subject() == copy(backend).subject()
        self.damages[damage](self)
        assert backend.digest() != announced


class AskableContract(Cases):
    """For a backend with `holds`; a class beside `BackendContract`, with its ``unreadable``."""

    def unreadable(self) -> AbstractContextManager[object]:
        """Make the platform unreadable inside the block."""
        pytest.skip("give unreadable()")

    @pytest.mark.parametrize(
        "text",
        [
            *("192.0.2.7", "192.0.2.8", "192.0.2.0/24", "198.51.100.0/24", "198.51.100.77"),
            *("198.51.0.0/16", "203.0.113.9", "203.0.113.0/29", "0.0.0.0/0", "255.255.255.255"),
            *("2001:db8::7", "2001:db8::8", "2001:db8:7::/48", "2001:db8:7::1", "2001:db8::/32"),
            *("2001:db8:9::9", "::/0", "ffff::1"),
        ],
    )
    def test_holds(self, text: str, backend: AskableBackend) -> None:
        """It tells of a network what reading everything tells."""
        given(backend, EXAMPLE)
        asked, seen = Network.parse(text), backend.observe()
        held = backend.holds(asked)
        assert held.reached
        for drops, networks in ((True, seen.banned), (False, seen.passed or NOTHING)):
            told = {x for each in held.decisions if each.drops is drops for x in each.networks}
            assert told == networks.meeting(asked)

    def test_holds_nothing(self, backend: AskableBackend) -> None:
        """Where nothing was ever made, nothing is held, and that is no error."""
        held = backend.holds(Network.parse("192.0.2.7"))
        assert not any(each.networks for each in held.decisions)

    def test_holds_unreadable(self, backend: AskableBackend) -> None:
        """What cannot be read is an error, and never empty."""
        given(backend, EXAMPLE)
        with self.unreadable(), pytest.raises(BackendUnreadable):
            backend.holds(Network.parse("198.51.0.0/16"))


MarkedContract = FingerprintedContract
"""Its earlier name, which plugins' tests go on using."""
