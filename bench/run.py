"""One run: subjects take turns, and what they cost is gathered."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from bench.inputs import addresses, store_bans
from bench.measure import Sample
from bench.results import Key, Results, Series
from bench.station import settle
from reconciler.errors import TreasonError

_LEAST: Final = {1_000_000: 3, 100_000: 5, 0: 7}
"""How many turns each subject gets at least, by the size from which on."""
_MOST: Final = 15
_SPARE: Final = 5.0
"""Up to so many turns, while they take no more than so many seconds."""


@frozen
class Subject:
    """Who takes a turn: ``turn`` prepares what it needs, and gives what the work itself cost."""

    name: str
    size: int
    turn: Callable[[], Sample]
    against: tuple[str, int] | None = None
    """Name and size of the subject, in the same comparison, to whom it is compared."""


@define
class Bench:
    """What the works share: a directory for their files, and the results."""

    directory: Path
    quick: bool = False
    results: Results = field(factory=Results)

    def sizes(self, *sizes: int) -> list[int]:
        """Return the sizes to measure; of a quick run, the least and the greatest up to 100,000."""
        if not self.quick:
            return list(sizes)
        small = [size for size in sizes if size <= 100_000]
        return [small[0], small[-1]]

    def database(self, size: int) -> Path:
        """Return a database with so many bans, made on first use; it is to be copied."""
        path = self.directory / f"bans-{size}.db"
        if not path.exists():
            self.tell(f"storing {size:,} bans")
            store_bans(path, addresses(size))
        return path

    def compare(
        self, work: str, subjects: Sequence[Subject], *, rounds: int = 0, seconds: float = 90.0
    ) -> None:
        """Let the subjects take turns, A B A B: so many rounds, or as many as their size asks for.

        No round begins after so many seconds, but the first. Who fails is left out, with a note.
        """
        least = rounds or _least(max(subject.size for subject in subjects))
        going = list(subjects)
        samples: dict[Subject, list[Sample]] = {subject: [] for subject in subjects}
        spare = 0 if self.quick else _SPARE
        start = time.monotonic()
        self.tell(f"{work}: {', '.join(f'{s.name} ({s.size:,})' for s in subjects)}")
        for turn in range(rounds or _MOST):
            elapsed = time.monotonic() - start
            if turn and elapsed > (seconds if turn < least else spare):
                break
            for subject in list(going):
                try:
                    samples[subject].append(subject.turn())
                except TreasonError as failure:
                    going.remove(subject)
                    self.note(f"{work}: {subject.name}, {subject.size:,}: {failure}")
        for subject in going:
            key, against = Key(work, subject.name, subject.size), subject.against
            reference = Key(work, *against) if against else None
            self.results.add(Series(key, samples[subject], reference))

    def settle(self, size: int) -> None:
        """Wait until what was dropped, of this size, disturbs nobody."""
        settle(size, 0.5 if self.quick else 3.0)

    def note(self, text: str) -> None:
        """Remember what the reader must know."""
        self.tell(text)
        self.results.notes.append(text)

    def tell(self, text: str) -> None:
        """Show how far we are."""
        print(f"{time.strftime('%T')} {text}", file=sys.stderr, flush=True)


def _least(size: int) -> int:
    return next(rounds for least, rounds in _LEAST.items() if size >= least)
