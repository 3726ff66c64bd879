"""What is taken of a feed: no more than its limits allow, and nothing is unbanned by accident."""

from collections.abc import Iterable
from unittest.mock import Mock

import pytest
from attrs import evolve
from feedfiles import nets, singles
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import FeedUnreadable, Network, Networks, runs
from reconciler.feeding import HELD, OBSERVED, QUARANTINED, FeedGroup
from reconciler.feeds.format import Contents
from reconciler.feeds.limits import Judged, Limits, Standing, judge
from reconciler.feeds.sieve import PRIVATE

NOW = 1_700_000_000
STANDING = Standing("spamhaus", epoch="")
WIDE = Limits(max_share=1)


def taken(
    *said: FeedGroup, known: Iterable[FeedGroup] = (), limits: Limits = WIDE, now: int = NOW
) -> Judged:
    """Judge what is said at one time, of the feed's usual epoch."""
    return judge(Contents("", said), [*known], limits, now, STANDING)


def state(judged: Judged) -> dict[str, Networks]:
    """Return the networks by their states."""
    found: dict[str, Networks] = {}
    for group in judged.groups:
        found[group.state] = found.get(group.state, Networks()) | group.networks
    return found


def test_what_is_said_is_taken_as_it_is() -> None:
    """With its member, reason and end, at this time; another time nothing changes."""
    said = FeedGroup(nets("192.0.2.0/24", "2001:db8::1"), "m", "because", NOW + 60)
    first = taken(said)
    assert first.groups == (evolve(said, since=NOW),)
    assert first.added == said.networks
    again = taken(said, known=first.groups, now=NOW + 30)
    assert again.groups == first.groups
    assert not again.added
    assert not again.lifted


def test_what_has_ended_is_neither_taken_nor_missing() -> None:
    """A ban ends at its time, though all of them end at once."""
    said = FeedGroup(singles(100), until=NOW + 60)
    known = taken(said).groups
    later = taken(said, known=known, now=NOW + 60)
    assert later.groups == ()
    assert not later.lifted
    assert taken(known=known, now=NOW + 60).groups == ()


def test_private_space_is_cut_out() -> None:
    """All of an entry inside it, and a part of one around it; the rest is taken."""
    judged = taken(FeedGroup(nets("10.1.0.0/16", "172.0.0.0/8", "198.51.100.7", "fe80::1")))
    assert judged.cut == nets("10.1.0.0/16", "172.16.0.0/12", "fe80::1")
    [group] = judged.groups
    assert nets("198.51.100.7", "172.32.0.0/11") <= group.networks
    assert sum(1 << 32 - each.length for each in group.networks) == 1 + (1 << 24) - (1 << 20)


def test_private_space_is_taken_where_the_configuration_says_so() -> None:
    """As the list has it."""
    judged = taken(FeedGroup(nets("10.0.0.0/8")), limits=Limits(private=True))
    assert judged.groups[0].networks == nets("10.0.0.0/8")
    assert not judged.cut


def test_wide_networks_are_refused_by_name() -> None:
    """Each family has its own limit; nothing of such an entry is taken."""
    judged = taken(FeedGroup(nets("0.0.0.0/0", "2000::/3", "8.0.0.0/8", "2001:db8::/32")))
    assert judged.groups[0].networks == nets("8.0.0.0/8", "2001:db8::/32")
    assert judged.refused == (
        ("wider than /8, the limit set by min_prefix", nets("0.0.0.0/0")),
        ("wider than /19, the limit set by min_prefix", nets("2000::/3")),
    )


def test_all_of_everything_can_be_cut() -> None:
    """Where every length is allowed, the whole internet is what is not private."""
    limits = Limits(min_prefix=(0, 0), max_share=1)
    judged = taken(FeedGroup(nets("0.0.0.0/0", "::/0")), limits=limits)
    assert judged.cut == PRIVATE
    [group] = judged.groups
    assert not any(PRIVATE.meeting(each) for each in group.networks)
    four = group.networks.family(4)
    private = PRIVATE.family(4)
    assert sum(1 << 32 - n.length for each in (four, private) for n in each) == 1 << 32


def test_too_many_entries_are_not_believed() -> None:
    """The text names the key."""
    with pytest.raises(FeedUnreadable, match=r"names 4 networks, more than 3.*max_entries"):
        taken(FeedGroup(singles(4)), limits=Limits(max_entries=3))


@pytest.mark.parametrize("networks", ["4.0.0.0/6", "2001::/16 3000::/8"])
def test_a_large_share_is_not_believed_until_it_is_accepted(networks: str) -> None:
    """Of public IPv4 as of 2000::/3; private space counts for nothing."""
    said = Contents("", (FeedGroup(nets(*networks.split())),))
    limits = Limits(min_prefix=(0, 0), max_share=0.01)
    with pytest.raises(FeedUnreadable, match=r"max_share\n.*treason feed accept spamhaus"):
        judge(said, (), limits, NOW, STANDING)
    assert judge(said, (), limits, NOW, STANDING, accepted=True).groups


def test_private_space_and_overlaps_are_no_share_of_the_internet() -> None:
    """Where private space is taken, it counts for nothing; what is named twice counts once."""
    said = FeedGroup(nets("240.0.0.0/4", "10.0.0.0/8", "8.0.0.0/8", "8.0.0.0/9"))
    assert taken(said, limits=Limits(private=True, max_share=0.0046)).groups


def test_a_list_that_is_halved_is_not_believed() -> None:
    """From ten networks on; what stays is more than the share that may go."""
    known = taken(FeedGroup(singles(100))).groups
    half = FeedGroup(singles(50))
    assert len(taken(half, known=known).lifted) == 50
    with pytest.raises(FeedUnreadable, match=r"51 of 100 networks are missing.*0\.5.*max_removals"):
        taken(FeedGroup(singles(49)), known=known)
    accepted = judge(Contents(), known, WIDE, NOW, STANDING, accepted=True)
    assert accepted.lifted == singles(100)
    few = taken(FeedGroup(singles(9))).groups
    assert taken(known=few).lifted == singles(9)


def test_what_is_ended_explicitly_is_not_missing() -> None:
    """But only by the member that had banned it."""
    known = taken(FeedGroup(singles(100), "m")).groups
    for member, believed in (("m", True), ("other", False)):
        contents = Contents("", (), (FeedGroup(singles(100), member),))
        if believed:
            assert judge(contents, known, WIDE, NOW, STANDING).lifted == singles(100)
        else:
            with pytest.raises(FeedUnreadable):
                judge(contents, known, WIDE, NOW, STANDING)


def test_what_the_limits_forbid_by_now_is_not_missing() -> None:
    """Who changes the configuration does not need to accept the feed again."""
    said = FeedGroup(nets(*(f"10.{number}.0.0/16" for number in range(40)), "8.8.8.8"))
    known = taken(said, limits=Limits(private=True)).groups
    assert len(taken(said, known=known).lifted) == 40


def test_another_epoch_is_not_believed_until_it_is_accepted() -> None:
    """Nor is none, where there was one; at the beginning any is."""
    said = (FeedGroup(singles(3)),)
    for before, after in (("a", "b"), ("a", ""), ("", "a")):
        standing = Standing("fleet", before)
        with pytest.raises(FeedUnreadable, match="treason feed accept fleet"):
            judge(Contents(after, said), (), WIDE, NOW, standing)
        assert judge(Contents(after, said), (), WIDE, NOW, standing, accepted=True).groups
        assert judge(Contents(after, said), (), WIDE, NOW, Standing("fleet")).groups


def test_a_member_that_brings_too_much_is_quarantined() -> None:
    """Its old bans stay, its new ones are listed only, others' are taken; until it is accepted."""
    limits = Limits(max_new=10)
    old, other = FeedGroup(singles(10), "m"), FeedGroup(singles(10, 0x02000000), "other")
    first = taken(old, limits=limits)
    assert not first.quarantined
    more = FeedGroup(singles(12), "m")
    second = taken(more, other, known=first.groups, limits=limits, now=NOW + 60)
    assert second.quarantined == {"m"}
    assert second.added == other.networks
    assert state(second)[QUARANTINED] == singles(2, 0x01000000 + 10)
    much_later = NOW + 100_000
    calm = taken(
        more,
        FeedGroup(nets("203.0.113.1"), "m"),
        known=second.groups,
        limits=limits,
        now=much_later,
    )
    assert calm.quarantined == {"m"}
    assert len(state(calm)[QUARANTINED]) == 3
    standing = evolve(STANDING, quarantined=calm.quarantined)
    done = judge(Contents("", (more,)), calm.groups, limits, much_later, standing, accepted=True)
    assert done.quarantined == frozenset()
    assert [*state(done)] == [HELD]


def test_the_quarantine_does_not_end_when_its_networks_do() -> None:
    """A member that takes back what was too much is still not believed."""
    standing = evolve(STANDING, quarantined=frozenset({"m"}))
    judged = judge(Contents("", (FeedGroup(singles(1), "m"),)), (), WIDE, NOW, standing)
    assert [*state(judged)] == [QUARANTINED]
    assert not judged.added


def test_what_is_new_counts_for_an_hour_or_until_it_is_accepted() -> None:
    """Then as many may come again."""
    limits = Limits(max_new=10)
    known = taken(FeedGroup(singles(10), "m"), limits=limits).groups
    contents = Contents("", (FeedGroup(singles(20), "m"),))
    for now, accepted, quarantined in (
        (NOW + 3599, 0, {"m"}),
        (NOW + 3600, 0, set[str]()),
        (NOW + 1, NOW, set[str]()),
    ):
        judged = judge(contents, known, limits, now, evolve(STANDING, accepted=accepted))
        assert judged.quarantined == quarantined


def test_who_joins_takes_all_that_is_known_already() -> None:
    """How fast it came nobody can tell by then; what comes behind it is counted."""
    limits, standing = Limits(max_new=10), evolve(STANDING, epoch=None)
    said = FeedGroup(singles(1000), "m")
    first = judge(Contents("", (said,)), (), limits, NOW, standing)
    assert (first.added, first.quarantined) == (said.networks, frozenset())
    for number, quarantined in ((1010, set[str]()), (1011, {"m"})):
        more = Contents("", (FeedGroup(singles(number), "m"),))
        later = judge(more, first.groups, limits, NOW + 9, evolve(STANDING, taken=NOW))
        assert later.quarantined == quarantined


@pytest.mark.parametrize("minutes", [0, 10, 30, 59])
def test_twice_the_quota_lets_nobody_honest_be_quarantined(minutes: int) -> None:
    """Where a member brings all that its fleet allows, and who takes it was away for so long."""
    quota, limits = 10, Limits(max_new=20)
    known, standing = tuple[FeedGroup, ...](), STANDING
    for now in range(NOW, NOW + 6 * 3600, 600):
        if not 300 < now - NOW - 3600 < minutes * 60:
            hours = 1 + (now - NOW) // (61 * 60)
            contents = Contents("", (FeedGroup(singles(quota * hours), "m"),))
            judged = judge(contents, known, limits, now, standing)
            assert judged.quarantined == frozenset()
            known, standing = judged.groups, evolve(standing, taken=now)


def test_who_was_away_for_hours_takes_what_came_in_them() -> None:
    """As much as the member may bring in each of them, and no more; then it is as before."""
    limits = Limits(max_new=10)
    known = taken(FeedGroup(singles(5), "m"), limits=limits).groups
    standing, now = evolve(STANDING, taken=NOW), NOW + 3 * 3600
    for number, quarantined in ((36, {"m"}), (35, set[str]())):
        contents = Contents("", (FeedGroup(singles(number), "m"),))
        away = judge(contents, known, limits, now, standing)
        assert away.quarantined == quarantined
    for number, quarantined in ((45, set[str]()), (46, {"m"})):
        contents = Contents("", (FeedGroup(singles(number), "m"),))
        later = judge(contents, away.groups, limits, now + 60, evolve(STANDING, taken=now))
        assert later.quarantined == quarantined


@pytest.mark.parametrize(("kind", "number"), [("12.0.0.0/8", 60), ("2400::/20", 8000)])
def test_one_of_several_members_keeps_nobody_from_being_believed(kind: str, number: int) -> None:
    """Who names very wide networks is quarantined alone; a list without members is doubted."""
    wide = Network.parse(kind)
    step, length = 1 << wide.bits - wide.length, wide.length
    many = Networks.of(
        Network.of(wide.version, wide.address + each * step, length) for each in range(number)
    )
    good = FeedGroup(nets("203.0.113.9"), "good")
    known = taken(FeedGroup(nets("203.0.113.7"), "thief"), good).groups
    judged = taken(
        FeedGroup(many | nets("203.0.113.7"), "thief"),
        evolve(good, networks=nets("203.0.113.9", "203.0.113.10")),
        known=known,
        limits=Limits(),
    )
    assert judged.quarantined == {"thief"}
    assert judged.added == nets("203.0.113.10")
    assert state(judged)[HELD] == nets("203.0.113.7", "203.0.113.9", "203.0.113.10")
    with pytest.raises(FeedUnreadable, match="max_share"):
        taken(FeedGroup(many), limits=Limits())


def test_observed_is_what_the_mode_says() -> None:
    """Also of what was taken in the other mode; nothing is taken anew."""
    said = FeedGroup(singles(3))
    contents = Contents("", (said,))
    first = judge(contents, (), WIDE, NOW, evolve(STANDING, observe=True))
    assert [*state(first)] == [OBSERVED]
    second = taken(said, known=first.groups, now=NOW + 9)
    assert second.groups == (evolve(said, since=NOW, state=HELD),)


def test_a_change_keeps_since_when_a_network_is_banned() -> None:
    """Whatever the new reason and end are, and in whichever group it was."""
    many, one = singles(3000), nets("203.0.113.9")
    known = [FeedGroup(many, "m", "a", since=5), FeedGroup(one, "m", "b", since=7)]
    said = FeedGroup(many | one | nets("203.0.113.8"), "m", "c", NOW + 1)
    found = {group.since: group.networks for group in taken(said, known=known).groups}
    assert found == {5: many, 7: one, NOW: nets("203.0.113.8")}


def _network(version: int, address: int, length: int) -> Network:
    bits = 32 if version == 4 else 128
    return Network.of(version, address >> (bits - length) << (bits - length), length)


NETWORKS = st.one_of(
    st.builds(_network, st.just(4), st.integers(0, (1 << 32) - 1), st.integers(0, 32)),
    st.builds(_network, st.just(6), st.integers(0, (1 << 128) - 1), st.integers(0, 128)),
    st.builds(_network, st.just(4), st.integers(0x0A000000, 0x0A00000F), st.integers(6, 32)),
    st.builds(_network, st.just(4), st.integers(0x08000000, 0x0800000F), st.integers(28, 32)),
)
GROUPS = st.lists(
    st.builds(
        FeedGroup,
        st.frozensets(NETWORKS, max_size=15).map(Networks.of),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["", "why"]),
        st.sampled_from([None, NOW, NOW + 50, NOW + 500]),
    ),
    max_size=4,
).map(tuple)
LIMITS = st.builds(
    Limits,
    max_entries=st.integers(1, 60),
    max_removals=st.sampled_from([0, 0.1, 0.5, 1]),
    min_prefix=st.sampled_from([(0, 0), (8, 19), (24, 64)]),
    max_share=st.sampled_from([0.0001, 0.05, 1]),
    max_new=st.sampled_from([0, 1, 5]),
    private=st.booleans(),
)


def _held(groups: Iterable[FeedGroup], member: str | None = None, after: int = 0) -> Networks:
    """Return what is enforced of a member, or of all, that was taken after a time."""
    return Networks.union(
        group.networks
        for group in groups
        if group.state == HELD and group.since > after and member in {None, group.member}
    )


@settings(max_examples=60, deadline=None)  # on a busy machine it takes any time
@given(st.lists(st.tuples(GROUPS, GROUPS, st.integers(0, 100)), min_size=1, max_size=3), LIMITS)
def test_never_more_than_the_limits_allow(
    said: list[tuple[tuple[FeedGroup, ...], tuple[FeedGroup, ...], int]], limits: Limits
) -> None:
    """Whatever a feed says, one reading after another; and to judge it twice changes nothing."""
    now, known, standing = NOW, tuple[FeedGroup, ...](), STANDING
    for groups, ended, pause in said:
        now += pause
        contents = Contents("", groups, ended)
        try:
            judged = judge(contents, known, limits, now, standing)
        except FeedUnreadable:
            continue
        every, held = Networks.union(group.networks for group in groups), _held(judged.groups)
        assert all(group.until is None or group.until > now for group in judged.groups)
        for each in held:
            assert each.length >= limits.min_prefix[each.version == 6]
            assert limits.private or not PRIVATE.meeting(each)
            assert every.meeting(each)
        public = held.outermost().family(4) if not limits.private else ()
        assert sum(1 << 32 - each.length for each in public) <= limits.max_share * (1 << 32)
        before = [group for group in known if group.until is None or group.until > now]
        missing = 0
        for member in ("", "a", "b"):
            recent = _held(judged.groups, member, now - 3600)
            assert not limits.max_new or len(recent) <= limits.max_new
            lifted = Networks.union(group.networks for group in ended if group.member == member)
            missing += len(_held(before, member) - _held(judged.groups, member) - lifted)
        total = len(_held(before))
        assert total < 10 or missing <= limits.max_removals * sum(
            len(group.networks) for group in before if group.state == HELD
        )
        standing = evolve(standing, quarantined=judged.quarantined)
        again = judge(contents, judged.groups, limits, now, standing)
        assert again == evolve(judged, added=Networks(), lifted=Networks())
        known = judged.groups


@pytest.mark.parametrize("width", [10, 1024])
def test_the_time_does_not_grow_with_the_square_of_the_groups(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger arranges many networks as he likes; each is looked up a few times at most."""
    search = Mock(wraps=runs._search)  # noqa: SLF001 - what takes the time
    monkeypatch.setattr(runs, "_search", search)

    def arranged(number: int) -> list[FeedGroup]:
        return [
            FeedGroup(singles(width, 0x01000000 + start * width), reason=f"{number} {start}")
            for start in range(20_000 // width)
        ]

    first = taken(*arranged(1))
    second = taken(*arranged(2), known=first.groups)
    assert not second.added
    assert not second.lifted
    assert search.call_count < 200
