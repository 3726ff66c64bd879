"""The plan: the smallest change, and what in it has no known cause."""

from reconciler import Change, Damage, Desired, Network, Networks, Observed
from reconciler.planning.plan import Causes, only_adds, plan, unexplained

OUTSIDE = Network.parse("192.0.2.9")
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


def test_a_plan_that_only_adds_is_told_from_every_other() -> None:
    """All that it adds lies in the networks, and nothing else is done."""
    around = Networks.of([Network.parse("192.0.2.0/30")])
    flaw = (Damage("chain", "is missing"),)
    for desired, held, damage, expected in (
        ({A, B}, {A}, (), True),
        ({A, OUTSIDE}, {A}, (), False),
        ({A}, {A, B}, (), False),
        ({A, B}, {A}, flaw, False),
    ):
        made = plan(Desired(frozenset(desired)), Observed(frozenset(held), damage=damage))
        assert made is not None
        assert only_adds(made, around) is expected
    passing = plan(Desired({A}, {C}), Observed({A}))
    assert passing is not None
    assert not only_adds(passing, around)


def test_a_backend_without_passing_needs_no_passes() -> None:
    """What a platform cannot hold is never drift."""
    assert plan(Desired(passed=frozenset({A})), Observed(passed=None)) is None


WIDE, HALF, OTHER = map(Network.parse, ("10.0.0.0/24", "10.0.0.0/25", "10.9.0.0/16"))


def lost(desired: Desired, held: set[Network], causes: Causes) -> list[Network]:
    """Return what goes without a known cause."""
    made = plan(desired, Observed(held))
    assert made is not None
    return [*unexplained(made, causes)]


def test_removals_are_explained_by_lifting_and_whitelist() -> None:
    """Only what nothing accounts for is unexplained."""
    causes = Causes(frozenset({A}), frozenset({B, C, OTHER}))
    assert lost(Desired(passed=frozenset({B})), {A, B, C, OTHER}, causes) == [OTHER, C]


def test_what_is_cut_otherwise_is_explained_only_if_it_is_dropped_as_a_whole() -> None:
    """A half does not stand for the whole."""
    assert lost(Desired(frozenset({WIDE})), {HALF}, Causes()) == []
    assert lost(Desired(frozenset({HALF})), {WIDE}, Causes()) == [WIDE]


def test_a_lifted_network_explains_its_parts_but_no_ban_of_their_own() -> None:
    """Whoever was banned by itself is not lifted with the network around it."""
    assert lost(Desired(), {HALF}, Causes(frozenset({WIDE}))) == []
    assert lost(Desired(), {HALF}, Causes(frozenset({WIDE}), frozenset({HALF}))) == [HALF]
    assert lost(Desired(), {HALF}, Causes(exempt=frozenset({WIDE}))) == []
