"""What was measured: a series of samples for each subject, and notes on what could not be."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, define, field, frozen

from bench.measure import Sample
from bench.stats import Spread, ratios, spread


@frozen
class Key:
    """Who (``subject``) did what (``work``) with so many bans or lines (``size``)."""

    work: str
    subject: str
    size: int


@frozen
class Series:
    """The samples of one subject, a sample for each round, and whom to compare it with."""

    key: Key
    samples: Sequence[Sample]
    reference: Key | None = None

    def figures(self, measure: str) -> list[float]:
        """Return one measure of all samples; none if it was not taken."""
        return [sample[measure] for sample in self.samples if measure in sample]


@define
class Results:
    """The whole of a run."""

    machine: dict[str, str] = field(factory=dict)
    series: dict[Key, Series] = field(factory=dict)
    notes: list[str] = field(factory=list)
    profiles: dict[str, dict[str, float]] = field(factory=dict)
    """Seconds by function, of each work that was profiled."""
    took: dict[str, float] = field(factory=dict)
    """Seconds that each work took as a whole."""

    def add(self, series: Series) -> None:
        """Take up what one subject brought."""
        self.series[series.key] = series

    def spread(self, key: Key, measure: str) -> Spread | None:
        """Summarise one measure of one subject; None if there is none."""
        figures = self.series[key].figures(measure) if key in self.series else []
        return spread(figures) if figures else None

    def ratio(self, key: Key, reference: Key, measure: str = "wall") -> Spread | None:
        """Compare two subjects that took turns; None if one of them was not measured."""
        if key not in self.series or reference not in self.series:
            return None
        return ratios(self.series[key].figures(measure), self.series[reference].figures(measure))

    def of(self, work: str) -> Iterator[Series]:
        """Yield the series of a work, in the order in which they came."""
        return (series for key, series in self.series.items() if key.work == work)

    def save(self, path: Path) -> None:
        """Write all samples as JSON."""
        document = {
            "machine": self.machine,
            "notes": self.notes,
            "profiles": self.profiles,
            "took": self.took,
            "series": [asdict(series) for series in self.series.values()],
        }
        path.write_text(json.dumps(document, indent=1) + "\n")


def load(path: Path) -> Results:
    """Read what `Results.save` wrote."""
    document: dict[str, Any] = json.loads(path.read_text())
    results = Results(
        document["machine"],
        notes=document["notes"],
        profiles=document["profiles"],
        took=document.get("took", {}),
    )
    for entry in document["series"]:
        reference = entry["reference"]
        results.add(
            Series(
                Key(**entry["key"]),
                entry["samples"],
                None if reference is None else Key(**reference),
            )
        )
    return results
