"""What belongs to which networks, held against a plain mapping."""

from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import Network, Networks
from reconciler.feeds import owners
from reconciler.feeds.owners import Owners

some = st.frozensets(st.integers(0, 40), max_size=25)


def networks(numbers: frozenset[int]) -> Networks:
    """Return networks of both families."""
    six = (Network.of(6, number, 128) for number in numbers)
    return Networks.of(chain(six, (Network.of(4, number, 32) for number in numbers)))


@given(parts=st.lists(st.tuples(some, st.integers(0, 3))), asked=st.lists(some))
@settings(deadline=None)
@pytest.mark.parametrize("few", [0, 1, 20, 99])
@pytest.mark.parametrize("most", [0, 2, 99])
def test_the_first_value_counts(
    parts: list[tuple[frozenset[int], int]], asked: list[frozenset[int]], few: int, most: int
) -> None:
    """Whether networks are held as sets, or one by one, or first so and then so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owners, "_FEW", few)
        patch.setattr(owners, "_SETS", most)
        patch.setattr(owners, "_LOOKED_UP", most * 10)
        made = Owners.of((networks(numbers), value) for numbers, value in parts)
        plain: dict[Network, int] = {}
        for numbers, value in parts:
            plain = dict.fromkeys(networks(numbers), value) | plain
        for numbers in asked:
            found = {n: value for each, value in made.split(networks(numbers)) for n in each}
            assert found == {each: plain.get(each) for each in networks(numbers)}
    assert made.networks() == plain.keys()
    assert {n: value for value, each in made.values().items() for n in each} == plain
