"""What backends promise that spare reading their platform, as cases for pytest."""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, ClassVar

import pytest

from reconciler.interfaces import ConfirmingBackend, DigestedBackend, FingerprintedBackend
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


MarkedContract = FingerprintedContract
"""Its earlier name, which plugins' tests go on using."""
