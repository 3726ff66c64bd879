"""What the contracts' cases do again and again: desire a state, make it, look whether it holds."""

from collections.abc import Iterable
from typing import Final

import pytest

from reconciler.errors import BackendError
from reconciler.interfaces import Backend
from reconciler.model import Desired, Plan
from reconciler.network import Network
from reconciler.planning.desired import desired
from reconciler.planning.plan import plan

_SPREAD: Final = {
    "damage": "damages",
    "deed": "deeds",
    "fault": "faults",
    "refusal": "refusals",
    "harm": "harmless",
    "gap": "gaps",
    "flaw": "flaws",
}


class Cases:
    """Makes a case of each damage and each fault that the subclass gives."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test with the argument ``damage`` for each of ``damages``, and so on."""
        for argument, attribute in _SPREAD.items():
            if argument in metafunc.fixturenames:
                metafunc.parametrize(argument, [*getattr(self, attribute)])


def state(banned: Iterable[str] = (), passed: Iterable[str] = ()) -> Desired:
    """Desire networks to be dropped, and others to be passed."""
    return desired(map(Network.parse, banned), map(Network.parse, passed))


def needed(backend: Backend, wanted: Desired) -> Plan | None:
    """Return the plan that would be needed now."""
    return plan(wanted, backend.observe())


def reach(backend: Backend, wanted: Desired) -> None:
    """Carry out the plan that is needed, once."""
    made = needed(backend, wanted)
    if made is not None:
        backend.apply(made)


def given(backend: Backend, wanted: Desired) -> None:
    """Start a case from a state; the case is not judged when even that cannot be made."""
    try:
        for _ in range(2):
            reach(backend, wanted)
        missing = needed(backend, wanted)
    except BackendError as error:
        pytest.skip(f"not judged, its start cannot be made: {error}")
    if missing is not None:
        pytest.skip(
            f"not judged, its start cannot be made, see test_add and test_remove: {missing}"
        )


def settle(backend: Backend) -> None:
    """Start from two addresses, on a backend that can add and remove."""
    both = state(["192.0.2.7", "192.0.2.9"])
    for start in (both, state(["192.0.2.7"]), both):
        given(backend, start)


def numbered(count: int) -> Desired:
    """Desire this many hosts."""
    return Desired(frozenset(Network.of(4, 0x0B000000 + index, 32) for index in range(count)))
