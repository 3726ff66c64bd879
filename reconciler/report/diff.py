"""A plan as a unified diff without context: from what is observed to what is desired.

Both sides are listings: damage first, then the banned and the passed networks in address order.
"""

from collections.abc import Iterator, Sequence

from reconciler.model import Plan
from reconciler.network import Network

Line = tuple[int, int, str]
"""Section, rank within it, text: a line in the order of its listing."""


def unified(plan: Plan, name: str) -> Iterator[str]:
    """Yield the lines of the diff, as ``diff -U 0`` prints them (POSIX, diff -u)."""
    added = _lines(1, "banned", plan.banned.add) | _lines(2, "passed", plan.passed.add)
    removed = _lines(1, "banned", plan.banned.remove) | _lines(2, "passed", plan.passed.remove)
    removed |= {
        (0, rank, f"damaged {ascii(str(damage))[1:-1]}") for rank, damage in enumerate(plan.repairs)
    }
    kept = _lines(1, "banned", plan.desired.banned) | _lines(2, "passed", plan.desired.passed)
    yield f"--- {name} (observed)"
    yield f"+++ {name} (desired)"
    before = after = 0  # lines of either side that stand above
    minus: list[str] = []
    plus: list[str] = []
    for line in [*sorted(kept | removed), None]:
        if line in removed:
            minus.append(f"-{line[2]}")
        elif line in added:
            plus.append(f"+{line[2]}")
        else:
            if minus or plus:
                yield f"@@ -{_range(before, minus)} +{_range(after, plus)} @@"
                yield from minus
                yield from plus
            before += len(minus) + 1
            after += len(plus) + 1
            minus, plus = [], []


def _lines(section: int, word: str, networks: Sequence[Network] | frozenset[Network]) -> set[Line]:
    return {(section, int(network), f"{word} {network}") for network in networks}


def _range(above: int, lines: Sequence[str]) -> str:
    """Return ``start,count``; an empty range starts at the line above it."""
    return f"{above + 1 if lines else above},{len(lines)}"
