"""What every backend promises, as cases for pytest."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, ClassVar, Final

import pytest

from reconciler.errors import BackendError, BackendUnreadable, TreasonError
from reconciler.interfaces import Backend
from reconciler.model import Desired
from reconciler.network import Network
from reconciler.testing.steps import Cases, given, needed, numbered, reach, settle, state

Deed = Callable[[Any], object]
Fault = Callable[[Any], AbstractContextManager[object]]

_MIXED = ("192.0.2.7", "192.0.2.9", "198.51.100.0/24", "203.0.113.128/25")
_FULL = "full"
_CHANGES = "changes"

EXAMPLE: Final = state(
    ["192.0.2.7", "198.51.100.0/24", "2001:db8::7", "2001:db8:7::/48"],
    ["203.0.113.9", "2001:db8:9::9"],
)
"""What a backend holds when it is damaged."""


class BackendContract(Cases):
    """Subclass it, and give a fixture ``backend``: a backend on a platform that is empty.

    A case that needs something of the platform is skipped, and says what it needs, until the
    subclass gives it:

    ``damages``
        names of damages, and functions that do them, each called with the test's instance:
        whatever strangers may do to the objects that the backend owns while it holds `EXAMPLE`.
    ``faults``
        names of the steps of a change, and functions that give a context manager, each called
        with the test's instance: inside, that step fails.
    ``unreadable()``
        a context manager: inside, the platform cannot be read.
    ``foreign()``
        makes objects of strangers, and returns a function that reads them exactly.
    ``owned()``
        reads exactly what the backend owns (optional: repairs are then compared by it).
    ``full()``
        a context manager: inside, ``beyond`` networks do not fit. Without it they may fit.

    A case starts from a state that it makes; where that fails, another case tells why.
    """

    damages: ClassVar[Mapping[str, Deed]] = {}
    faults: ClassVar[Mapping[str, Fault]] = {}
    many: ClassVar[int] = 10_000
    beyond: ClassVar[int] = 70_000

    @pytest.fixture
    def backend(self) -> Backend:
        """A backend on a platform that is empty."""
        raise NotImplementedError(f"{type(self).__name__} must give the fixture 'backend'")

    def unreadable(self) -> AbstractContextManager[object]:
        """Make the platform unreadable inside the block."""
        pytest.skip("give unreadable()")

    def foreign(self) -> Callable[[], object]:
        """Make objects of strangers, and return what reads them."""
        pytest.skip("give foreign()")

    def owned(self) -> object:
        """Read what the backend owns."""
        return None

    def full(self) -> AbstractContextManager[object]:
        """Make the platform too small inside the block."""
        return nullcontext()

    @property
    def deeds(self) -> list[str]:
        """Whatever may touch what is not the backend's."""
        return [_CHANGES, *self.damages]

    @property
    def refusals(self) -> list[str]:
        """Whatever may keep a change from being carried out."""
        return [*self.faults, _FULL]

    def test_empty(self, backend: Backend) -> None:
        """On an empty platform nothing is dropped and nothing is passed."""
        observed = backend.observe()
        assert not observed.banned
        assert not observed.passed

    def test_add(self, backend: Backend) -> None:
        """What is desired is held."""
        wanted = state(["192.0.2.7", "192.0.2.9"])
        reach(backend, wanted)
        assert needed(backend, wanted) is None

    def test_render(self, backend: Backend) -> None:
        """A plan can be shown, names what it adds, and showing it changes nothing."""
        given(backend, state(["192.0.2.7"]))
        made = needed(backend, state(["192.0.2.7", "192.0.2.9"]))
        assert made is not None
        assert "192.0.2.9" in backend.render(made)
        assert needed(backend, state(["192.0.2.7"])) is None

    def test_remove(self, backend: Backend) -> None:
        """What is no longer desired is no longer held, all of it at once; the rest is."""
        given(backend, state(["192.0.2.7", "192.0.2.9"]))
        reach(backend, state(["192.0.2.7"]))
        assert backend.observe().banned == {Network.parse("192.0.2.7")}

    @pytest.mark.parametrize(
        "texts",
        [
            ("192.0.2.7", "198.51.100.0/24", "10.0.0.0/8", "192.0.2.9"),
            ("2001:db8::7", "2001:db8:7::/48", "2001:db8:8::/48", "2001:db8::9"),
        ],
        ids=["IPv4", "IPv6"],
    )
    def test_remove_several(self, texts: tuple[str, ...], backend: Backend) -> None:
        """Hosts and networks are lifted in one change, and many at once."""
        settle(backend)
        given(backend, state())
        given(backend, state(texts))
        reach(backend, state(texts[:1]))
        assert backend.observe().banned == state(texts[:1]).banned
        several = state([*texts, *(f"11.0.{number}.1" for number in range(250))])
        given(backend, several)
        reach(backend, state(texts[:1]))
        assert backend.observe().banned == state(texts[:1]).banned

    def test_both_families(self, backend: Backend) -> None:
        """IPv6 addresses are held beside those of IPv4."""
        given(backend, state(["192.0.2.7"]))
        wanted = state(["192.0.2.7", "2001:db8::7", "2001:db8::ffff:9"])
        reach(backend, wanted)
        assert backend.observe().banned == wanted.banned

    @pytest.mark.parametrize(
        "texts",
        [
            ("192.0.2.7", "198.51.100.0/24", "10.0.0.0/8", "172.16.0.0/31"),
            ("2001:db8::7", "2001:db8:7::/48", "2001:db8:8::/127", "2a00::/12"),
        ],
        ids=["IPv4", "IPv6"],
    )
    def test_hosts_and_networks(self, texts: tuple[str, ...], backend: Backend) -> None:
        """Each network is held with its own length."""
        given(backend, state(texts[:1]))
        wanted = state(texts)
        reach(backend, wanted)
        assert backend.observe().banned == wanted.banned

    @pytest.mark.parametrize("wide", ["10.0.0.0/8", "10.1.2.0/24"])
    def test_overlaps(self, wide: str, backend: Backend) -> None:
        """A wider network takes the place of those inside it, and makes place for them again."""
        narrow = state(["10.1.2.3", "10.1.2.128/25", "192.0.2.7"])
        for start in (state([wide]), state(["192.0.2.7"]), narrow):
            given(backend, start)
        reach(backend, state([wide, "192.0.2.7"]))
        assert Network.parse(wide) in backend.observe().banned
        reach(backend, narrow)
        assert narrow.banned <= backend.observe().banned

    def test_whitelist_carved_out(self, backend: Backend) -> None:
        """A banned network is held in parts that leave the whitelisted address out."""
        given(backend, state(["192.0.2.7"]))
        given(backend, state())
        wanted = state(["10.0.0.0/8", "192.0.2.7"], ["10.1.2.3"])
        given(backend, state(["10.0.0.0/8"]))
        reach(backend, wanted)
        held = backend.observe().banned
        exempt = Network.parse("10.1.2.3")
        assert not [network for network in held if network <= exempt <= network.end]
        assert held == wanted.banned

    def test_whitelist_passed_ahead(self, backend: Backend) -> None:
        """What is whitelisted is passed as well, where the platform can do that."""
        given(backend, state(["192.0.2.7"]))
        wanted = state(["192.0.2.7"], ["198.51.100.9", "203.0.113.0/24"])
        reach(backend, wanted)
        assert backend.observe().passed in {None, wanted.passed}
        both = state(["192.0.2.7"], ["198.51.100.9", "2001:db8:9::9", "2001:db8:a::/48"])
        reach(backend, both)
        assert backend.observe().passed in {None, both.passed}
        reach(backend, state(["192.0.2.7"], ["198.51.100.9"]))
        assert needed(backend, state(["192.0.2.7"], ["198.51.100.9"])) is None

    @pytest.mark.parametrize("banned", [(), _MIXED], ids=["nothing", "something"])
    def test_second_pass_does_nothing(self, banned: tuple[str, ...], backend: Backend) -> None:
        """One change reaches the state, and nothing is left to do, however often one looks."""
        given(backend, state(_MIXED))
        backend.teardown()
        wanted = state(banned, ["198.51.100.9"])
        reach(backend, wanted)
        assert needed(backend, wanted) is None
        assert needed(backend, wanted) is None

    def test_damage(self, damage: str, backend: Backend) -> None:
        """It is seen, one change mends it, and all is as it was, also what is not ours."""
        given(backend, state(_MIXED))
        given(backend, EXAMPLE)
        healthy = self.owned()
        self.damages[damage](self)
        assert needed(backend, EXAMPLE) is not None, "the damage is not seen"
        reach(backend, EXAMPLE)
        assert needed(backend, EXAMPLE) is None, "the damage is not mended"
        assert self.owned() == healthy

    def test_foreign_objects(self, deed: str, backend: Backend) -> None:
        """What others made stays as it is, to the byte, whatever the backend does."""
        given(backend, EXAMPLE if deed in self.damages else state(["192.0.2.7"]))
        read = self.foreign()
        before = read()
        if deed in self.damages:
            self.damages[deed](self)
            with suppress(TreasonError):
                if read() == before:  # else the damage hit what is not ours as well
                    reach(backend, EXAMPLE)
                    assert read() == before
            return
        reach(backend, state(["192.0.2.9"]))
        assert read() == before
        for _ in range(2):
            backend.teardown()
            assert read() == before
        reach(backend, state(["192.0.2.9"]))
        assert read() == before

    def test_unreadable(self, backend: Backend) -> None:
        """What cannot be read is an error, and never empty."""
        given(backend, state(["192.0.2.7"]))
        with self.unreadable(), pytest.raises(BackendUnreadable):
            backend.observe()
        assert Network.parse("192.0.2.7") in backend.observe().banned

    def test_teardown(self, backend: Backend) -> None:
        """Nothing is left; it may be repeated, and be done where nothing was; then all works."""
        backend.teardown()
        given(backend, state(_MIXED, ["203.0.113.9"]))
        backend.teardown()
        backend.teardown()
        observed = backend.observe()
        assert not observed.banned
        assert not observed.passed
        given(backend, state(["192.0.2.7"]))

    def test_many(self, backend: Backend) -> None:
        """Ten thousand are held, and one more is one change."""
        given(backend, state())
        wanted = numbered(self.many)
        reach(backend, wanted)
        assert needed(backend, wanted) is None
        more = Desired(wanted.banned | {Network.parse("192.0.2.9")})
        made = needed(backend, more)
        assert made is not None
        assert list(made.banned.add) == [Network.parse("192.0.2.9")]
        backend.apply(made)
        assert needed(backend, more) is None

    def test_many_of_each_kind(self, backend: Backend) -> None:
        """Hosts and networks of both families, by the thousand."""
        given(backend, state([*_MIXED, "2001:db8::7"]))
        given(backend, state())
        kinds = (
            (4, 0x0B, 24, 32),
            (4, 0x0C, 24, 24),
            (6, 0x20010DB8, 96, 128),
            (6, 0x2A00, 112, 64),
        )
        wanted = Desired(
            frozenset(
                Network.of(
                    version,
                    head << bits | index << ((128 if version == 6 else 32) - length),
                    length,
                )
                for version, head, bits, length in kinds
                for index in range(self.many // 8)
            )
        )
        reach(backend, wanted)
        assert needed(backend, wanted) is None

    def test_capacity(self, backend: Backend) -> None:
        """More than the platform takes is held, all of it, or refused aloud."""
        given(backend, state())
        wanted = numbered(self.beyond)
        with self.full():
            try:
                reach(backend, wanted)
            except BackendError:
                return
        assert needed(backend, wanted) is None, "success was reported, but not all is held"

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3", "10.1.0.0/16"),
            ("10.1.0.0/16", "10.1.2.3"),
        ],
        ids=["the same", "wider", "narrower"],
    )
    def test_refusal_loses_nothing(
        self, before: str, after: str, refusal: str, backend: Backend
    ) -> None:
        """A change that fails leaves in force what is banned before and after it."""
        for start in (after, before):
            given(backend, state([start, "192.0.2.9"]))
        wanted = numbered(self.beyond) if refusal == _FULL else state(["198.51.100.3"])
        wanted = Desired(wanted.banned | state([after]).banned)
        with self._failing(refusal), suppress(BackendError):
            reach(backend, wanted)
        address = Network.parse("10.1.2.3")
        held = backend.observe().banned
        assert [network for network in held if network <= address <= network.end]

    def test_fault_is_told(self, fault: str, backend: Backend) -> None:
        """A step that fails raises an error, unless all is held nevertheless."""
        settle(backend)
        wanted = state(["192.0.2.7", "198.51.100.3"])
        made = needed(backend, wanted)
        assert made is not None
        told = False
        with self._failing(fault):
            try:
                backend.apply(made)
            except BackendError:
                told = True
        assert told or needed(backend, wanted) is None

    def test_fault_is_recovered(self, fault: str, backend: Backend) -> None:
        """After a step failed, two changes at most reach the state."""
        settle(backend)
        wanted = state(["192.0.2.7", "198.51.100.3"], ["203.0.113.9"])
        with self._failing(fault), suppress(BackendError):
            reach(backend, wanted)
        for _ in range(2):
            reach(backend, wanted)
        assert needed(backend, wanted) is None

    def _failing(self, refusal: str) -> AbstractContextManager[object]:
        return self.full() if refusal == _FULL else self.faults[refusal](self)
