"""The plan: the smallest change, and what in it has no known cause."""

from reconciler import Change, Damage, Desired, Network, Observed
from reconciler.plan import plan, unexplained

A, B, C = (Network.parse(f"192.0.2.{i}") for i in (1, 2, 3))


def test_nothing_to_do_is_no_plan() -> None:
    """Equal states without damage give None."""
    assert plan(Desired(frozenset({A})), Observed(frozenset({A}))) is None


def test_the_plan_is_the_difference_in_address_order() -> None:
    """Additions and removals are sorted, and what is right is left alone."""
    made = plan(Desired(frozenset({C, A})), Observed(frozenset({B, A}), frozenset({C})))
    assert made is not None
    assert made.banned == Change([C], [B])
    assert made.passed == Change([], [C])


def test_damage_alone_is_a_plan() -> None:
    """A damaged structure is drift, even if every element is there."""
    damage = Damage("chain", "is missing")
    made = plan(Desired(), Observed(damage=(damage,)))
    assert made is not None
    assert made.repairs == (damage,)


def test_a_backend_without_passing_needs_no_passes() -> None:
    """What a platform cannot hold is never drift."""
    assert plan(Desired(passed=frozenset({A})), Observed(passed=None)) is None


def test_removals_are_explained_by_lifting_whitelist_and_recutting() -> None:
    """Only what nothing accounts for is unexplained."""
    wide, half, other = map(Network.parse, ("10.0.0.0/24", "10.0.0.0/25", "10.9.0.0/16"))
    made = plan(
        Desired(frozenset({half}), frozenset({B})), Observed(frozenset({wide, A, B, C, other}))
    )
    assert made is not None
    assert unexplained(made, [A]) == [other, C]
