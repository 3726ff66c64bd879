"""What a source brought in one go, for the writer to store as a pass would."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from attrs import frozen

from reconciler.interfaces import Source
from reconciler.model import Record
from reconciler.networks import NOTHING, Networks

MOST: Final = 20_000
"""Records of a source that are held until they are stored; where there are more, all that follows
the stored cursor is read again, by the writer."""


@frozen(eq=False)
class Batch:
    """The records between two cursors of a source, those alone that are offences.

    ``dropped`` are in force already for them. A batch without ``records`` stands for all that comes
    behind the stored cursor: the writer reads it, from what ``make`` makes, and closes that unless
    somebody ``keeps`` it.
    """

    source: str
    start: str | None
    end: str | None
    records: tuple[Record, ...] | None
    dropped: Networks = NOTHING
    make: Callable[[], Source] | None = None
    keeps: bool = False

    def made(self) -> Source:
        """Return the source that the scan of a pass is to read."""
        return self.make() if self.make else Replay(self.records or (), self.end)

    def joined(self, later: "Batch") -> "Batch | None":
        """Return it with the one that follows it; None where one does not follow the other."""
        if self.records is None or later.records is None or self.end != later.start:
            return None
        return Batch(
            self.source,
            self.start,
            later.end,
            self.records + later.records,
            self.dropped | later.dropped,
        )


@frozen(eq=False)
class Replay:
    """A source that gives once more what was read, and the cursor behind it."""

    records: Sequence[Record]
    end: str | None

    def read(self, _cursor: str | None, _needles: Sequence[str]) -> Iterator[Record]:
        """Yield the records."""
        return iter(self.records)

    def cursor(self) -> str | None:
        """Return the position behind them."""
        return self.end


def merged(batches: Iterable[Batch]) -> list[Batch]:
    """Return the batches in their order, those of a source that follow each other as one."""
    found: dict[str, list[Batch]] = {}
    for batch in batches:
        held = found.setdefault(batch.source, [])
        one = held[-1].joined(batch) if held else None
        held[-1:] = [one] if one else [*held[-1:], batch]
    return [batch for held in found.values() for batch in held]
