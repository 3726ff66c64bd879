"""A bar: a figure that is to be reached, and its limit."""

from attrs import frozen

from bench.results import Key, Results
from bench.stats import Spread


@frozen
class Bar:
    """A figure and its limit.

    The figure is a ratio where ``reference`` names the subject to divide by, else the measure
    itself, divided by ``unit``. ``least`` says that it must be at least, not at most, the limit.
    """

    work: str
    limit: float
    key: Key
    reference: Key | None = None
    measure: str = "wall"
    least: bool = False
    unit: float = 1
    suffix: str = ""

    def figure(self, results: Results) -> Spread | None:
        """Return what was measured; None if it was not."""
        if self.reference:
            return results.ratio(self.key, self.reference, self.measure)
        found = results.spread(self.key, self.measure)
        if found is None:
            return None
        low, middle, high = (f / self.unit for f in (found.low, found.median, found.high))
        return Spread(low, middle, high, found.count)

    def met(self, figure: Spread) -> bool:
        """Return whether the median is within the limit."""
        return figure.median >= self.limit if self.least else figure.median <= self.limit

    def told(self) -> str:
        """Return the limit as text."""
        return f"at {'least' if self.least else 'most'} {self.limit:g}{self.suffix}"

    def broken(self, results: Results) -> str | None:
        """Return in one line why the bar is not met; None if it is."""
        figure = self.figure(results)
        if figure is None:
            return f"{self.work}: not measured (limit: {self.told()})"
        if self.met(figure):
            return None
        return f"{self.work}: {figure.median:.3g}{self.suffix} (limit: {self.told()})"
