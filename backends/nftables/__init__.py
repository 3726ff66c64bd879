"""nftables: one table of its own, with sets of what to drop and what to pass ahead."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from backends.nftables import layout, library
from reconciler import (
    BackendError,
    BackendFailed,
    BackendPlugin,
    BackendUnreadable,
    Damage,
    Network,
    Observed,
    Plan,
    hookimpl,
)


class Nftables:
    """The table ``inet treason``, in the network namespace of the caller."""

    def __init__(self, _settings: object = None) -> None:
        pass

    def observe(self) -> Observed:
        """Read structure and elements back."""
        with _raising(BackendUnreadable):
            listing = layout.parse(library.structure())
            damage = list(layout.damage(listing))
            held: dict[bool, set[Network]] = {True: set(), False: set()}
            for each in layout.SETS:
                if each.type in (listing or {}).get(f"set {each.name}", ()):
                    members, strange = _members(library.elements(layout.TABLE, each.name))
                    held[each.banned].update(members)
                    damage += [Damage(f"set {each.name}", f"holds {what}") for what in strange]
        return Observed(frozenset(held[True]), frozenset(held[False]), tuple(damage))

    def render(self, plan: Plan) -> str:
        """Give the nft script that `apply` runs."""
        with _raising(BackendUnreadable):
            listing = layout.parse(library.structure())
        return layout.script(plan, layout.sizes(listing))

    def apply(self, plan: Plan) -> None:
        """Carry out the plan in one transaction."""
        script = self.render(plan)
        with _raising(BackendFailed):
            library.run(script)

    def teardown(self) -> None:
        """Remove the table."""
        with _raising(BackendFailed):
            library.run(f"add table {layout.TABLE}\ndelete table {layout.TABLE}\n")


def _members(elements: Iterable[Any]) -> tuple[list[Network], list[str]]:
    """Read elements as libnftables-json(5) writes them: the networks, and what is none."""
    networks: list[Network] = []
    strange: list[str] = []
    for element in elements:
        value = (
            element["elem"]["val"] if "elem" in element and isinstance(element, dict) else element
        )
        match value:
            case str():
                networks.append(Network.parse(value))
            case {"prefix": {"addr": str(address), "len": int(length)}}:
                networks.append(Network.parse(f"{address}/{length}"))
            case {"range": [first, last]}:
                strange.append(f"{first}-{last}, which is no network")
            case _:
                strange.append(f"{value!r}, which is no network")
    return networks, strange


@contextmanager
def _raising(kind: type[BackendError]) -> Iterator[None]:
    try:
        yield
    except BackendError as error:
        raise kind(error.what, error.hint) from None


@hookimpl
def treason_backends() -> list[BackendPlugin]:
    """Give the backend ``nftables``."""
    return [BackendPlugin("nftables", Nftables)]
