"""How feeds stand, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from reconciler.feeding import HELD, QUARANTINED
from reconciler.feeds.remarks import NOTES
from reconciler.lines import counted, shortened
from reconciler.report.columns import BAD, DOUBTFUL, Row, aligned, table
from reconciler.report.plain import plain
from reconciler.report.times import ahead, iso, past
from reconciler.toml import duration

if TYPE_CHECKING:  # importing them takes longer than printing
    from reconciler.feeding import FeedGroup
    from reconciler.passes.feeds import FeedStanding

_TITLES: Final = (
    *("feed", "type", "mode", "members", "held", "observed", "quarantined", "cut", "refused"),
    *("taken", "refreshed", "next", "note", "trouble"),
)
_SHOWN: Final = 10
"""Members, groups and networks that are told of one feed."""


def listed(feeds: Iterable[FeedStanding], now: int) -> Iterator[str]:
    """List feeds, a row each."""
    return table(_TITLES, ([*_row(each, now)] for each in feeds))


def _row(each: FeedStanding, now: int) -> Iterator[str]:
    settings = each.feed.settings if each.feed else None
    yield from (each.name, settings.type if settings else "", settings.mode if settings else "")
    numbers = (each.members, each.held, each.observed, each.quarantined)
    yield from (f"{number:,}" for number in (*numbers, each.state.cut, each.state.refused))
    yield from (_taken(each, now), iso(each.refreshed) or "", iso(each.due) or "")
    yield _note(each)
    yield _trouble(each, now).partition("\n")[0]


def section(feeds: Iterable[FeedStanding], now: int) -> Iterator[Row]:
    """Yield what `treason status` says of feeds."""
    for each in feeds:
        of = f" of {counted(each.members, 'member')}" if each.members else ""
        lines = [f"{_numbers(each.numbers)}{of}; taken: {_taken(each, now)}"]
        if each.state.quarantined:
            lines.append(f"{_quarantine(each)}; see: treason feed show {each.name}")
        lines += filter(None, (*_untold(each, now), _note(each), _trouble(each, now)))
        colour = BAD if each.trouble else DOUBTFUL if each.state.quarantined else ""
        yield f"feed {each.name}", "\n".join(lines), colour


def page(each: FeedStanding, groups: Sequence[FeedGroup], now: int) -> Iterator[str]:
    """Yield all that is known of a feed, of its networks the first ones."""
    told = (*_standing(each, now), *_process(each, now))
    return aligned([*told, *_said(groups, each, now), *_settings(each)])


def _standing(each: FeedStanding, now: int) -> Iterator[Row]:
    yield "feed", each.name
    if each.trouble:
        yield "trouble", _trouble(each, now), BAD
    if each.failure and not each.fails:
        yield "failure", _failure(each, now), BAD
    if each.state.quarantined:
        accept = f"to enforce what it names: treason feed accept {each.name}"
        yield "quarantined", f"{_quarantine(each)}\n{accept}", DOUBTFUL
    yield "networks", _numbers(each.numbers)
    kept = ((each.state.cut, "cut (private space)"), (each.state.refused, "refused"))
    if told := ", ".join(f"{number:,} {what}" for number, what in kept if number):
        yield "not taken", f"{told}; which ones: treason feed run {each.name} -v"
    yield "taken", _taken(each, now)
    if each.state.epoch:
        yield "epoch", plain(each.state.epoch)
    if each.state.accepted:
        yield "accepted", past(each.state.accepted, now)
    if each.feed:
        yield "own file", str(each.feed.store)


def _process(each: FeedStanding, now: int) -> Iterator[Row]:
    """Yield what the feed's own process has done, and said."""
    if each.refreshed is not None and each.due is not None:
        when = ahead(int(each.due), now) if each.due > now else "by now"
        yield "refreshed", f"{past(each.refreshed, now)}; the next is due {when}"
    if untold := [*_untold(each, now)]:
        yield "published", "\n".join(untold), DOUBTFUL
    elif each.untold:
        yield "published", "all that is to be told"
    if notes := [plain(note) for note in each.remarks.notes]:
        rest = f"and {{}} more: treason feed run {each.name} -v"
        yield "notes", "\n".join(shortened(notes, NOTES, count=each.remarks.number, rest=rest))


def _said(groups: Sequence[FeedGroup], each: FeedStanding, now: int) -> Iterator[Row]:
    members = by_member(groups)
    if [each.name for each in members] != [""]:
        lines = [
            f"{plain(who.name) or each.name}: {_numbers(who.numbers)},"
            f" the newest of {past(who.newest, now)}"
            for who in members
        ]
        yield from _row_of("members", lines)
    lines = [_group(group, now) for group in groups[: _SHOWN + 1]]
    yield from _row_of("groups", lines, len(groups))
    some = [str(network) for group in groups[:_SHOWN] for network in group.networks[:_SHOWN]]
    number = sum(len(group.networks) for group in groups)
    yield from _row_of("first", some[:_SHOWN], number)
    if number > _SHOWN:
        yield "all", f"treason feed show {each.name} --networks"


def _row_of(name: str, lines: Sequence[str], number: int | None = None) -> Iterator[Row]:
    if lines:
        yield name, "\n".join(shortened(lines, _SHOWN, count=number))


def _group(group: FeedGroup, now: int) -> str:
    end = "as long as named"
    if group.until is not None:
        end = f"until {iso(group.until)} ({ahead(group.until, now)})"
    state = "" if group.state == HELD else f", {group.state}"
    reason = f": {plain(group.reason)}" if group.reason else ""
    return f"{counted(len(group.networks), 'network')} {end}{state}{reason}"


def _settings(each: FeedStanding) -> Iterator[Row]:
    for key, value in each.settings.items():
        yield key, plain(duration.render(value) if key == "refresh" else _setting(value))


def _setting(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return ", ".join(f"{key} {inner}" for key, inner in value.items())
        case list() | tuple():
            return ", ".join(map(str, value)) or "none"
    return str(value)


@frozen
class Member:
    """How many networks of a member have which state, and when the newest of them was taken."""

    name: str
    numbers: Mapping[str, int]
    newest: int


def by_member(groups: Iterable[FeedGroup]) -> list[Member]:
    """Return who names them: first those of whom something is quarantined, then by their names."""
    numbers: dict[str, Counter[str]] = {}
    newest: dict[str, int] = {}
    for group in groups:
        numbers.setdefault(group.member, Counter())[group.state] += len(group.networks)
        newest[group.member] = max(newest.get(group.member, 0), group.since)
    members = (Member(name, held, newest[name]) for name, held in numbers.items())
    return sorted(members, key=lambda member: (QUARANTINED not in member.numbers, member.name))


def _trouble(each: FeedStanding, now: int) -> str:
    """Return what keeps more from being taken; since when, if that is known."""
    return _failure(each, now) if each.fails else each.trouble


def _failure(each: FeedStanding, now: int) -> str:
    since = each.remarks.unread.since if each.remarks.unread else now
    return f"it has failed since {past(since, now)}: {each.failure}"


def _note(each: FeedStanding) -> str:
    """Return the first of its notes, and how many more there are."""
    more = f" (and {each.remarks.number - 1:,} more)" if each.remarks.number > 1 else ""
    return f"{plain(each.remarks.notes[0])}{more}" if each.remarks.notes else ""


def _untold(each: FeedStanding, now: int) -> Iterator[str]:
    """Yield what it has not published yet, why, and why that cannot be told."""
    if each.untold is None:
        return
    if each.untold.since is not None:
        number = counted(each.untold.number, "change")
        yield f"{number} not published yet, the first of {past(each.untold.since, now)}"
    if failure := each.remarks.untold:
        why = failure.told_of(each.name)
        yield f"publishing has failed since {past(failure.since, now)}: {why}"
    if each.untold.error:
        yield each.untold.error


def _numbers(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {state}" for state, number in sorted(numbers.items())) or "none"


def _quarantine(each: FeedStanding) -> str:
    """Return who is quarantined, and how much of it is not enforced because of that."""
    names = sorted(map(plain, filter(None, each.state.quarantined)))
    who = ", ".join(shortened(names)) or "it"
    number = each.numbers.get(QUARANTINED, 0)
    what = (
        f"{counted(number, 'network')} not enforced" if number else "what it names is listed only"
    )
    return f"{who} named more than max_new allows: {what}"


def _taken(each: FeedStanding, now: int) -> str:
    return "never" if each.state.taken is None else past(each.state.taken, now)
