"""What reflexes promise, as cases for pytest."""

import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

import pytest

from reconciler.errors import BackendFailed
from reconciler.interfaces import Reflexes, WakingBackend
from reconciler.model import Damage, Desired
from reconciler.network import Network
from reconciler.networks import Networks, covered
from reconciler.planning.desired import collapse, subtract
from reconciler.testing.backend import EXAMPLE
from reconciler.testing.steps import Cases, given, needed

_PATIENCE: Final = 5.0
"""Seconds within which a change by others is told."""

_QUIET: Final = 0.2
"""Seconds in which nothing is told."""


class ReflexesContract(Cases):
    """For a backend with `reflexes`; a class beside `BackendContract`, with its ``damages``.

    ``elsewhere()`` lets somebody change the platform where nothing is the backend's; without it,
    the case is skipped.
    """

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {}

    @pytest.fixture
    def reflexes(self, backend: WakingBackend) -> Iterator[Reflexes]:
        """Those of a backend that holds `EXAMPLE`."""
        given(backend, EXAMPLE)
        made = backend.reflexes()
        made.hold(EXAMPLE, "")
        if _is_woken(made, _QUIET):
            made.changed()
        yield made
        made.close()

    def elsewhere(self) -> object:
        """Let somebody change what is not the backend's."""
        pytest.skip("give elsewhere()")

    def test_reflex_nothing_is_wrong(self, backend: WakingBackend, reflexes: Reflexes) -> None:
        """Where nothing happened, nothing wakes, and nothing is repaired."""
        assert not _is_woken(reflexes, _QUIET)
        assert not reflexes.changed()
        assert not reflexes.repair()
        assert needed(backend, EXAMPLE) is None

    def test_reflex_add(self, backend: WakingBackend, reflexes: Reflexes) -> None:
        """What is added is dropped at once, and its addition tells of nobody else."""
        more = _networks("192.0.2.8", "10.0.0.0/8", "2001:db8::8", "2001:db8:8::/48")
        reflexes.add(more)
        assert needed(backend, Desired(EXAMPLE.banned | more, EXAMPLE.passed)) is None
        assert not reflexes.changed()
        assert not reflexes.repair()

    def test_reflex_add_what_is_held(self, backend: WakingBackend, reflexes: Reflexes) -> None:
        """It changes nothing, be it held by itself or inside a network."""
        reflexes.add(_networks("192.0.2.7", "198.51.100.0/24"))
        reflexes.add(_networks("198.51.100.9", "198.51.100.128/25", "2001:db8:7::1"))
        assert needed(backend, EXAMPLE) is None

    @pytest.mark.parametrize("text", ["198.51.0.0/16", "192.0.2.0/28", "2001:db8::/32", "::/0"])
    def test_reflex_add_around(self, text: str, backend: WakingBackend, reflexes: Reflexes) -> None:
        """A network around held ones is dropped, all of it."""
        reflexes.add(_networks(text, "192.0.2.99"))
        held = collapse(backend.observe().banned)
        assert not subtract(_networks(text), held)
        assert covered(Network.parse("192.0.2.99"), held)
        assert not reflexes.repair()

    def test_reflex_add_many(self, backend: WakingBackend, reflexes: Reflexes) -> None:
        """A thousand are added at once, and a thousand one by one."""
        hosts = [Network.of(4, 0x0B000000 + number, 32) for number in range(2000)]
        reflexes.add(Networks.of(hosts[:1000]))
        for host in hosts[1000:]:
            reflexes.add(Networks.of([host]))
        wanted = Desired(EXAMPLE.banned | Networks.of(hosts), EXAMPLE.passed)
        assert needed(backend, wanted) is None
        assert not reflexes.repair()

    @pytest.mark.parametrize("text", ["192.0.2.7", "203.0.112.0/20", "2001:db8::/32"])
    def test_reflex_let_pass(self, text: str, backend: WakingBackend, reflexes: Reflexes) -> None:
        """It passes at once, all of it, also after damage; whoever is dropped stays so."""
        reflexes.let_pass(_networks(text))
        observed = backend.observe()
        passed = observed.passed or _networks(text)
        assert not subtract(_networks(text), collapse(passed))
        assert needed(backend, Desired(EXAMPLE.banned, passed)) is None
        assert not reflexes.changed()
        assert not reflexes.repair()

    def test_reflex_damage(self, damage: str, backend: WakingBackend, reflexes: Reflexes) -> None:
        """It wakes, and is told; what is missing is back, or the rest is left to a pass."""
        self.damages[damage](self)
        assert _is_woken(reflexes, _PATIENCE), "nothing woke"
        assert reflexes.changed(), "nobody did it"
        told: Sequence[Damage] = ()
        left = False
        try:
            told = reflexes.repair()
        except BackendFailed:
            left = True
        if left:
            observed = backend.observe()
            assert not EXAMPLE.banned - observed.banned, "something is not dropped"
            assert not EXAMPLE.passed - (observed.passed or EXAMPLE.passed), "not passed"
        else:
            assert needed(backend, EXAMPLE) is None
            assert all(map(str, told))
        with suppress(BackendFailed):
            assert not reflexes.repair(), "it is repaired again"

    def test_reflex_damage_of_what_was_added(
        self, damage: str, backend: WakingBackend, reflexes: Reflexes
    ) -> None:
        """What was added is put back as well."""
        more = _networks("192.0.2.8", "2001:db8:8::/48")
        reflexes.add(more)
        self.damages[damage](self)
        with suppress(BackendFailed):
            reflexes.repair()
        assert not (EXAMPLE.banned | more) - backend.observe().banned

    def test_reflex_hold(self, backend: WakingBackend, reflexes: Reflexes) -> None:
        """What is held is what was given last: what is not part of it is not put back."""
        less = Desired(_networks("2001:db8::7"), EXAMPLE.passed)
        given(backend, less)
        reflexes.changed()
        reflexes.hold(less, "")
        reflexes.repair()
        assert needed(backend, less) is None

    def test_reflex_elsewhere(self, reflexes: Reflexes) -> None:
        """What is changed elsewhere does not wake."""
        self.elsewhere()
        assert not _is_woken(reflexes, _QUIET)

    def test_reflex_close(self, backend: WakingBackend) -> None:
        """What is held stays in force."""
        given(backend, EXAMPLE)
        made = backend.reflexes()
        made.hold(EXAMPLE, "")
        made.close()
        assert needed(backend, EXAMPLE) is None


def _networks(*texts: str) -> Networks:
    return Networks.of(map(Network.parse, texts))


def _is_woken(reflexes: Reflexes, patience: float) -> bool:
    """Whether the descriptor is readable within so many seconds."""
    poll = select.poll()
    poll.register(reflexes.fileno(), select.POLLIN)
    return bool(poll.poll(patience * 1000))
