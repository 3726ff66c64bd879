"""What the sources and backends know to be wrong around them (`reconciler.diagnosis`)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final

from attrs import evolve

from reconciler.diagnosis import Diagnosing, Finding
from reconciler.doctor.machine import Machine
from reconciler.errors import TreasonError, guarded, said
from reconciler.host.deadline import Run, limited

_SECONDS: Final = 1.0
"""For which one of them is waited for."""


def check(machine: Machine) -> Iterator[Finding]:
    """Yield what they say."""
    setup = machine.setup
    kinds: tuple[tuple[str, Mapping[str, Callable[[], object]]], ...] = (
        ("source", setup.sources()),
        ("backend", setup.backends()),
    )
    for kind, makers in kinds:
        for name, make in makers.items():
            ask = partial(limited, _SECONDS, name, partial(_asked, make))
            found = guarded(ask, partial(_failed, name), name)
            yield from (_named(machine, f"{kind} {name}", each) for each in found)


def _named(machine: Machine, name: str, found: Finding) -> Finding:
    """Return it with who found it; a command of ours goes by the same configuration."""
    ours, rest = found.remedy.startswith("treason "), found.remedy.removeprefix("treason ")
    return evolve(found, check=name, remedy=f"{machine.command()} {rest}" if ours else rest)


def _asked(make: Callable[[], object], run: Run) -> list[Finding]:
    def ask() -> list[Finding]:
        asked = make()
        told: Iterable[object] = asked.diagnose() if isinstance(asked, Diagnosing) else ()
        found: list[Finding] = []
        for each in told:
            if not isinstance(each, Finding):
                raise TypeError(f"{each!r} is not of the class Finding")
            found.append(each)
        return found

    return run(ask)


def _failed(name: str, error: BaseException) -> list[Finding]:
    """Return nothing of what its own check tells; a plugin's mistake is told here."""
    if isinstance(error, TreasonError):
        return []
    return [
        Finding(
            f"{name} cannot tell what is wrong: {said(error)}",
            "what it knows stays untold",
            "this is a fault in the plugin; report it to its author",
        )
    ]
