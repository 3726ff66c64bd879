"""What a feed's file holds after changes, held against a plain dictionary of single networks."""

from attrs import evolve
from feedfiles import nets, singles
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import FeedBan, FeedChange, FeedLift, FeedSnapshot, Network
from reconciler.feeding import FeedGroup
from reconciler.feeds.applying import applied
from reconciler.feeds.format import Contents

NOW = 1_700_000_000
DAY = 86_400
BEGIN, END = FeedSnapshot.BEGIN, FeedSnapshot.END
EMPTY = Contents()


def held(contents: Contents) -> dict[tuple[str, Network], tuple[str, int | None]]:
    """Return each network of each member, with its reason and end."""
    return {
        (group.member, network): (group.reason, group.until)
        for group in contents.groups
        for network in group.networks
    }


def lifted(contents: Contents) -> set[tuple[str, Network]]:
    """Return each network that a member has lifted."""
    return {(group.member, network) for group in contents.lifted for network in group.networks}


NETWORKS = st.frozensets(st.integers(1, 6).map(lambda n: Network.of(4, n << 24, 32)), max_size=4)
BANS = st.builds(
    FeedBan,
    NETWORKS,
    st.sampled_from([None, 60, 600]),
    st.sampled_from(["", "m"]),
    st.sampled_from(["", "why"]),
)
LIFTS = st.builds(FeedLift, NETWORKS, st.sampled_from(["", "m"]))
CHANGES = st.lists(
    st.one_of(
        st.lists(st.one_of(BANS, LIFTS), max_size=4),
        st.lists(BANS, max_size=3).map(lambda bans: [BEGIN, *bans, END]),
    ),
    max_size=4,
).map(lambda parts: [each for part in parts for each in part])


@settings(deadline=None)
@given(st.lists(CHANGES, max_size=4))
def test_changes_are_made_in_order(batches: list[list[FeedChange]]) -> None:
    """A later ban replaces one, a lift ends one and is kept, a snapshot leaves nothing else."""
    contents, now = EMPTY, NOW
    bans: dict[tuple[str, Network], tuple[str, int | None]] = {}
    ends: set[tuple[str, Network]] = set()
    for batch in batches:
        before = dict(bans)
        for change in batch:
            if change is BEGIN:
                bans = {}
            elif isinstance(change, FeedBan):
                until = None if change.seconds is None else now + change.seconds
                for network in change.networks:
                    bans[change.member, network] = (change.reason, until)
            elif isinstance(change, FeedLift):
                for network in change.networks:
                    bans.pop((change.member, network), None)
                    if (change.member, network) in before:
                        ends.add((change.member, network))
        ends -= bans.keys()
        contents = applied(contents, batch, now, 100)
        assert held(contents) == bans
        assert lifted(contents) == ends
        now += 61
        bans = {key: ban for key, ban in bans.items() if ban[1] is None or ban[1] > now}
        contents = applied(contents, (), now, 100)
        assert held(contents) == bans


def test_many_networks_stay_sets() -> None:
    """Large ones and small ones, one over the other."""
    large, small = singles(5000), singles(3, 0x01000000 + 100)
    contents = applied(EMPTY, [FeedBan(large, None, "m"), FeedBan(small, 9, "m", "b")], NOW, 9)
    assert {group.reason: group.networks for group in contents.groups} == {
        "": large - small,
        "b": small,
    }
    over = applied(contents, [FeedBan(large, 7, "m", "c"), FeedLift(small, "m")], NOW, 9)
    assert over.groups == (FeedGroup(large - small, "m", "c", NOW + 7),)
    assert over.lifted[0].networks == small


def test_a_lift_is_kept_for_thirty_days_and_not_without_limit() -> None:
    """So that a pass that comes later still knows; the latest ones stay."""
    contents = applied(EMPTY, [FeedBan(singles(8), None, "m")], NOW, 5)
    for hour in range(8):
        lift = FeedLift(singles(1, 0x01000000 + hour), "m")
        contents = applied(contents, [lift], NOW + 3600 * hour, 5)
    assert lifted(contents) == {("m", each) for each in singles(8)[3:]}
    later = applied(contents, (), NOW + 30 * DAY, 5)
    assert lifted(later) == lifted(contents)
    assert lifted(applied(contents, (), NOW + 31 * DAY, 5)) == set()


def test_nothing_changes_nothing() -> None:
    """What is equal need not be written."""
    contents = applied(EMPTY, [FeedBan(nets("192.0.2.1", "2001:db8::/32"))], NOW, 5)
    again = applied(contents, [BEGIN, FeedBan(nets("192.0.2.1", "2001:db8::/32")), END], NOW + 9, 5)
    assert again == contents
    assert evolve(again, epoch="x") != contents
