"""Ends of bans, rounded up so that many end together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.postgresql import ends
from feeds.postgresql.ends import Groups, Says

NOW = 1_800_000_000
ends_after = st.integers(NOW + 1, NOW + 10**10)


@given(ends_after, st.integers(0, 6))
def test_never_early(until: int, fine: int) -> None:
    """A ban ends late by less than its part of the time that is left, and never early."""
    rounded = ends.rounded(until, NOW, fine)
    assert rounded is not None
    assert until <= rounded < until + max((until - NOW) / 2**fine, 1)


@given(ends_after, st.integers(0, 6), st.integers(0, 60))
def test_stays(until: int, fine: int, later: int) -> None:
    """It is the same when it is read again, unless much less is left by then."""
    if (until - NOW).bit_length() == (until - NOW - later).bit_length():
        assert ends.rounded(until, NOW, fine) == ends.rounded(until, NOW + later, fine)


def test_no_end() -> None:
    """What has no end gets none."""
    assert ends.rounded(None, NOW, 6) is None


@pytest.mark.parametrize(("members", "fine"), [(0, 6), (63, 6), (64, 5), (511, 3), (10**6, 2)])
def test_fine(members: int, fine: int) -> None:
    """The more members, the coarser."""
    assert ends.fine(members) == fine


def says(count: int, reasons: int = 1) -> Says:
    """Return what a member says that bans so often, at an end of its own."""
    return {(f"r{n % reasons}", NOW + 86_400 + n): [(bytes([n % 256]), b"")] for n in range(count)}


def test_fitted() -> None:
    """Who has most gets coarser ends; who has few keeps what it has; nothing is lost."""
    found = {"few": says(5), "many": says(5_000)}
    fitted = ends.fitted(found, NOW, 100)
    assert fitted["few"] == found["few"]
    assert len(fitted["many"]) <= 95
    parts = [part for each in fitted["many"].values() for part in each]
    assert sorted(parts) == sorted(part for each in found["many"].values() for part in each)


def test_fitted_without_reasons() -> None:
    """A reason for each ban is one of none in the end."""
    fitted = ends.fitted({"thief": says(5_000, 5_000), "other": says(50)}, NOW, 100)
    assert {reason for reason, _ in fitted["thief"]} == {""}
    assert len(fitted["other"]) == 50
    assert sum(map(len, fitted["thief"].values())) == 5_000


def test_groups() -> None:
    """Each is counted once, and those that have ended no more."""
    groups = Groups()
    assert groups.add({"a": [("x", NOW + 5), ("x", None)], "b": [("x", NOW + 5)]}) == 3
    assert groups.add({"a": [("x", NOW + 5)], "b": [("y", NOW + 9)]}) == 1
    assert groups.left(NOW + 5) == 2
    assert not groups.are_all
    assert groups.begin({"a": [("x", None)]}) == 1
    assert groups.are_all
