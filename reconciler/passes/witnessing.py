"""The witness of a pass: the source that looks at the connections which messages tell of."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from attrs import define, field

from reconciler.errors import SourceUnreadable
from reconciler.host.deadline import Run
from reconciler.interfaces import Source, WitnessSource
from reconciler.model import Answer, Connection
from reconciler.store.store import Store

_SUSPECTS: Final = "(confirming)"
"""The name, which no source can have, under which is stored what the witness suspects."""


@define(eq=False)
class Witnessing:
    """Asks the source that ``make`` makes, about each connection once in a pass.

    Unless ``always``, one that can never see anything is not asked: `blindness` says why.
    """

    store: Store
    make: Callable[[], Source] | None = None
    always: bool = False
    blindness: str = field(default="", init=False)
    _witness: WitnessSource | None = field(default=None, init=False)
    _told: dict[Connection, Answer] = field(factory=dict, init=False)

    def ask(self, connections: Collection[Connection], run: Run, *, recall: bool) -> None:
        """Let the witness look; with ``recall`` at what it suspected in the last pass, too.

        ``run`` runs it. Raise `SourceUnreadable`.
        """
        unasked = [each for each in connections if each not in self._told]
        if not unasked:
            return
        if self._witness is None:
            self._witness = self._made(run, recall=recall)
        if not self.blindness:
            self._told |= run(partial(self._witness.confirm, unasked))

    def answer(self, connection: Connection) -> Answer:
        """Return what it has said."""
        return self._told[connection]

    def keep(self, *, waits: bool) -> None:
        """Store what it suspects, as long as some message ``waits`` for its verdict."""
        if self._witness is not None:
            self.store.suspects.keep(_SUSPECTS, self._witness.suspects() if waits else ())

    def _made(self, run: Run, *, recall: bool) -> WitnessSource:
        made = None if self.make is None else run(self.make)
        if not isinstance(made, WitnessSource):
            raise SourceUnreadable(
                "no source is there that can confirm what messages tell of connections",
                "the source sockets does: see what is wrong with it: treason plugins",
            )
        if not self.always:
            self.blindness = run(made.blindness) or ""
        if recall:
            known = self.store.attempt_to_read(partial(self.store.suspects.of, _SUSPECTS))
            run(partial(made.recall, known or []))
        return made
