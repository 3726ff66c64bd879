"""The arithmetic: what lies in the middle, how far it spreads, and ratios pair by pair."""

from collections.abc import Sequence
from statistics import median

from attrs import frozen


@frozen
class Spread:
    """The least, the middle and the greatest of some figures, and how many they are."""

    low: float
    median: float
    high: float
    count: int


def spread(figures: Sequence[float]) -> Spread:
    """Summarise at least one figure."""
    return Spread(min(figures), median(figures), max(figures), len(figures))


def ratios(figures: Sequence[float], references: Sequence[float]) -> Spread | None:
    """Divide pair by pair, so that what disturbs both of a pair cancels out; None without pairs."""
    pairs = [
        figure / reference
        for figure, reference in zip(figures, references, strict=False)
        if reference
    ]
    return spread(pairs) if pairs else None
