"""What reflexes promise, as cases for pytest."""

import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import pytest

from reconciler.errors import BackendFailed
from reconciler.model import Damage, Desired
from reconciler.network import Network
from reconciler.networks import Networks, covered
from reconciler.planning.desired import collapse, subtract
from reconciler.testing.backend import EXAMPLE
from reconciler.testing.steps import Cases, given, needed
from reconciler.waiting import PolledReflexes, Reflexes, WakingBackend


class ReflexesContract(Cases):
    """For a backend with `reflexes`; a class beside `BackendContract`, with its ``damages``.

    ``elsewhere()`` lets somebody change the platform where nothing is the backend's; without it,
    the case is skipped. ``patience`` is how many seconds may pass until a change by others is told,
    and ``quiet`` those after which nothing is told any more.
    """

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {}
    patience: ClassVar[float] = 5.0
    quiet: ClassVar[float] = 0.2

    @pytest.fixture
    def reflexes(self, backend: WakingBackend) -> Iterator[Reflexes]:
        """Those of a backend that holds `EXAMPLE`."""
        given(backend, EXAMPLE)
        made = self.made(backend)
        made.hold(EXAMPLE, "")
        if self.is_woken(made, self.quiet):
            made.changed()
        yield made
        made.close()

    def elsewhere(self) -> object:
        """Let somebody change what is not the backend's."""
        pytest.skip("give elsewhere()")

    def made(self, backend: WakingBackend) -> Reflexes:
        """Make reflexes as a resident process does."""
        return backend.reflexes()

    def is_woken(self, reflexes: Reflexes, patience: float) -> bool:
        """Whether the descriptor is readable within so many seconds."""
        poll = select.poll()
        poll.register(reflexes.fileno(), select.POLLIN)
        return bool(poll.poll(patience * 1000))

    def test_reflex_nothing_is_wrong(self, backend: WakingBackend, reflexes: Reflexes) -> None:
        """Where nothing happened, nothing wakes, and nothing is repaired."""
        assert not self.is_woken(reflexes, self.quiet)
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
        assert self.is_woken(reflexes, self.patience), "nothing woke"
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
        assert not self.is_woken(reflexes, self.quiet)

    def test_reflex_close(self, backend: WakingBackend) -> None:
        """What is held stays in force."""
        given(backend, EXAMPLE)
        made = self.made(backend)
        made.hold(EXAMPLE, "")
        made.close()
        assert needed(backend, EXAMPLE) is None


class PolledReflexesContract(ReflexesContract):
    """For reflexes with `stop_listening`: a class beside that with `ReflexesContract`."""

    def made(self, backend: WakingBackend) -> Reflexes:
        """Make reflexes that are asked each second."""
        made = backend.reflexes()
        assert isinstance(made, PolledReflexes)
        made.stop_listening()
        return made

    @pytest.fixture
    def reflexes(self, backend: WakingBackend) -> Iterator[Reflexes]:
        """Those of a backend that holds `EXAMPLE`, which were asked before."""
        given(backend, EXAMPLE)
        made = self.made(backend)
        made.hold(EXAMPLE, "")
        assert not made.repair()
        yield made
        made.close()

    def is_woken(self, reflexes: Reflexes, _patience: float) -> bool:
        """Whether it tells of a change now: nothing comes by itself."""
        return bool(reflexes.changed())

    def test_reflex_elsewhere(self, reflexes: Reflexes) -> None:
        """What is changed elsewhere costs a look at most."""
        self.elsewhere()
        assert not reflexes.repair()
        assert not reflexes.changed()

    def test_reflex_tells_until_the_repair(self, damage: str, reflexes: Reflexes) -> None:
        """A change that could not be looked at yet is told again."""
        self.damages[damage](self)
        assert reflexes.changed()
        assert reflexes.changed()
        with suppress(BackendFailed):
            reflexes.repair()
        assert not reflexes.changed()


def _networks(*texts: str) -> Networks:
    return Networks.of(map(Network.parse, texts))
