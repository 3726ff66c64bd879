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
    InvalidNetwork,
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
                    members, strange = _members(each, library.elements(layout.TABLE, each.name))
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


def _members(into: layout.Set, elements: Iterable[Any]) -> tuple[list[Network], list[str]]:
    """Read elements as libnftables-json(5) writes them: the right ones, and what is none."""
    networks: list[Network] = []
    strange: list[str] = []
    for element in elements:
        text = _written(element)
        try:
            network = Network.exact(text)
        except InvalidNetwork:
            strange.append(f"{text}, which is no network")
            continue
        if into.takes(network):
            networks.append(network)
        else:
            strange.append(f"{text}, which belongs elsewhere")
    return networks, strange


def _written(element: Any) -> str:  # noqa: ANN401 - JSON
    match element:
        case {"elem": {"val": value}}:
            return _written(value)
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"range": [first, last]}:
            return f"{first}-{last}"
    return str(element)


@contextmanager
def _raising(kind: type[BackendError]) -> Iterator[None]:
    try:
        yield
    except BackendError as error:
        raise kind(error.what, error.hint) from None


@hookimpl
def treason_backends() -> list[BackendPlugin]:
    """Give the backend ``nftables``."""
    return [BackendPlugin("nftables", Nftables, claims=lambda _: [f"table {layout.TABLE}"])]
