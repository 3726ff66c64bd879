"""The backend: what most passes ask, and, once that does not suffice, the table itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from backends.nftables.errors import raising
from backends.nftables.ruleset import Ruleset
from reconciler import BackendFailed, BackendUnreadable, Network, Observed, Plan
from reconciler.netlink import Connection

if TYPE_CHECKING:
    from backends.nftables.contents import Contents
    from backends.nftables.reflexes import NftablesReflexes
    from reconciler import Dropped, Held

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class Nftables:
    """The table ``inet treason``, in the network namespace of the caller."""

    def __init__(self, _settings: object = None) -> None:
        self._ruleset: Ruleset | None = None
        self._table: Contents | None = None

    def fingerprint(self) -> str | None:
        """Name the namespace and the generation of its ruleset, which every commit raises."""
        with raising(BackendUnreadable):
            connection = self._known.connection
            namespace, generation = connection.namespace, connection.generation()
        return None if namespace is None else f"{_BOOT.read_text()[:36]}:{namespace}:{generation}"

    def observe(self) -> Observed:
        """Read structure and elements back."""
        with raising(BackendUnreadable):
            self._ruleset, self._table = Ruleset(), None
            return self._contents.observe()

    def holds(self, network: Network) -> "Held":
        """Follow the rules, and ask the sets for the network by its key."""
        from backends.nftables import asking  # noqa: PLC0415 - no pass asks so

        with raising(BackendUnreadable):
            return asking.held(network)

    def dropped(self) -> "Dropped | None":
        """Return what the rules that drop have counted."""
        from backends.nftables.dropped import dropped  # noqa: PLC0415 - no pass counts

        with raising(BackendUnreadable):
            return dropped()

    def render(self, plan: Plan) -> str:
        """Return the nft script that does what `apply` does."""
        with raising(BackendUnreadable):
            return self._contents.render(plan)

    def apply(self, plan: Plan) -> None:
        """Carry out the plan in one transaction, on nothing but what was read."""
        with raising(BackendFailed):
            self._contents.apply(plan)

    def confirm(self, plan: Plan) -> bool:  # noqa: ARG002 - the protocol's signature
        """Return whether the change just made is held; False when that cannot be told."""
        with raising(BackendUnreadable):
            return self._contents.confirm()

    def reflexes(self) -> "NftablesReflexes":
        """Return what keeps the table in force in a resident process."""
        from backends.nftables.reflexes import NftablesReflexes  # noqa: PLC0415 - a pass has none

        return NftablesReflexes()

    def teardown(self) -> None:
        """Remove the table."""
        from backends.nftables.contents import remove  # noqa: PLC0415 - as below

        with raising(BackendFailed):
            remove(Connection())

    @property
    def _known(self) -> Ruleset:
        """The ruleset that was read; whoever read none gets it as it is now."""
        if self._ruleset is None:
            self._ruleset = Ruleset()
            self._ruleset.generation()
        return self._ruleset

    @property
    def _contents(self) -> "Contents":
        """The table; a pass that finds all as it was verified does without."""
        if self._table is None:
            from backends.nftables.contents import Contents  # noqa: PLC0415 - takes milliseconds

            self._table = Contents(self._known)
        return self._table
