"""Why a network is dropped, or is not, in one sentence."""

from collections.abc import Iterator
from typing import Final

from reconciler.feeding import QUARANTINED
from reconciler.lines import first_few
from reconciler.model import Ban
from reconciler.passes.why import Exempting, Naming, Verdict, Why
from reconciler.report.plain import plain
from reconciler.report.times import iso
from reconciler.store.bans import UNGUARDED
from reconciler.store.listing import FEED
from reconciler.store.pauses import Pause

_MANY: Final = 1000
"""Dropped parts above which it is not worked out what they leave out."""


def headline(why: Why) -> str:
    """Return the answer in one sentence, in which nothing of a stranger does harm."""
    told = plain(_sentence(why))
    return told if told.endswith("...") else f"{told}."


def _sentence(why: Why) -> str:
    name = str(why.network)
    match why.verdict:
        case Verdict.DROPPED:
            return f"{name} is dropped by {_by_whom(why)}{next(_grounds(why))}"
        case Verdict.PARTLY:
            return f"{name} {_partly(why)}"
        case Verdict.UNKNOWN:
            failed = next(each for each in why.standings if each.error and each.enforces)
            return f"whether {name} is dropped cannot be told: {_first(failed.error)}"
    return f"{name} passes{next(_leaves(why))}"


def _by_whom(why: Why) -> str:
    return " and ".join(each.backend for each in why.standings if each.dropped)


def _grounds(why: Why) -> Iterator[str]:
    """Yield why it is dropped, the reason that counts first."""
    if why.paused:
        yield f", though enforcement is {_paused(why.paused)}: {_then(why, 'removes it')}"
    for each in why.exempting:
        if _covers(each, why) and not why.wanted:
            yield f", though {_exempt(each)}: {_then(why, 'lets it through')}"
    if why.active or why.pending:
        yield f": {_cause(why)}"
    if why.wanted and not why.damage:
        yield ": all of it is banned, in parts"
    if why.damage:
        yield ", and the database cannot be read that tells why"
    for ban in reversed(why.around):
        if why.has_ended(ban):
            yield f", though its ban ended at {iso(ban.until)}: {_then(why, 'removes it')}"
    yield f", though no stored ban holds it: {_then(why, 'removes it')}"


def _leaves(why: Why) -> Iterator[str]:
    """Yield why it passes, the reason that counts first."""
    if why.paused:
        yield f": enforcement is {_paused(why.paused)}"
    if why.wanted:
        yield f", though {_cause(why)}: {_failure(why)}"
    banned = bool(why.active or why.pending)
    for each in why.exempting:
        if banned or why.inside or why.feeds or _covers(each, why):
            yield f": {_exempt(each)}" + (f", though {_cause(why)}" if banned else "")
    for ban in why.around:
        if not why.counts(ban):
            yield f": the ban of {ban.network} is wider than min_prefix, and not enforced"
    yield from _not_banned(why)


def _not_banned(why: Why) -> Iterator[str]:
    """Yield why nothing that is enforced bans it."""
    yield from _unheld(why)
    for observed in why.withheld:
        while_ = "rules only observe" if why.observes else "rules only observed then"
        yield f": {by(observed.ban)} it would be banned, but {while_}"
    for ban in reversed(why.around):
        if why.has_ended(ban):
            yield f": its ban ended at {iso(ban.until)}"
    if why.damage:
        yield ", and whether it is banned cannot be read in the database"
    if why.doubted:
        yield ": it is not banned, and what was told of it is not confirmed"
    for last in why.endings:
        how = "the ban of {} ended" if last.action == "expiry" else "{} was unbanned"
        yield f": it is not banned any more, {how.format(last.network)} at {iso(last.time)}"
    offended = f"; its last offence was at {iso(why.offences[0].time)}" if why.offences else ""
    yield f": it is not banned{offended}"


def _unheld(why: Why) -> Iterator[str]:
    """Yield which feeds name all of it, and why nothing is dropped because of that."""
    for named in why.feeds:
        if not named.held and named.around(why.network):
            yield f": {told_by(named)} names it, but {unenforced(named)}"
    for each in why.untaken:
        if each.covers(why.network):
            yield f": the feed {each.feed} names it, but {each.why}"


def _partly(why: Why) -> str:
    if why.dropped:
        left = why.passed if len(why.dropped) <= _MANY else ()
        some = f"all but {first_few(left)}" if 0 < len(left) < len(why.dropped) else ""
        return f"is dropped in part by {_by_whom(why)}: {some or first_few(why.dropped)}"
    one = next(each for each in why.standings if each.unclear)
    if one.held and one.held.unreached:
        return f"may pass: {one.backend} drops it only on some ways, {one.held.unreached}"
    strange = next(each.rule for each in one.decisions if each.drops is None)
    return f"may pass: {one.backend} asks first a rule of somebody else, {strange}"


def _failure(why: Why) -> str:
    """Return why nothing drops what is to be dropped."""
    able = [each for each in why.standings if each.enforces]
    if not able:
        names = first_few([each.backend for each in why.standings])
        return f"{names} only lists it, and drops no packets" if names else "no backend is set"
    one = able[0]
    if one.error:
        return _first(one.error)
    if one.held and one.held.reached is False:
        told = one.held.unreached
        mends = "does not mend that" if one.held.problems else "mends that"
        return f"{one.backend}: {told}; {_then(why, mends)}"
    if one.held and one.held.damage:
        return f"{one.backend}: {one.held.damage[0]}; {_then(why, 'mends that')}"
    return f"{one.backend} does not hold it; {_then(why, 'adds it')}"


def _then(why: Why, does: str) -> str:
    """Return what the next pass does, or why none does anything."""
    return why.rests or f"the next pass {does}"


def _cause(why: Why) -> str:
    """Return what bans it: its own ban before wider ones, and the narrowest of those."""
    if not why.active:
        if why.pending:
            return "the daemon has it in force, and has not stored it yet"
        if why.damage:
            return "banned, by what cannot be read in the database"
        return "parts of it are banned"
    ban = why.active[-1]
    told = f"banned {by(ban)}, {_end(ban)}"
    return told if ban.network == why.network else f"{ban.network} around it is {told}"


def _paused(pause: Pause) -> str:
    return f"paused until {iso(pause.until) or 'treason resume'}"


def _covers(each: Exempting, why: Why) -> bool:
    """Whether an entry exempts all of the network."""
    return each.entry.network <= why.network <= each.entry.network.end


def _exempt(each: Exempting) -> str:
    told = f" ({each.entry.comment})" if each.entry.comment else ""
    if not each.listed:
        return f"it is protected{told}"
    until = f", until {iso(each.entry.until)}" if each.entry.until is not None else ""
    return f"it is whitelisted by {each.entry.network}{told}{until}"


def told_by(named: Naming) -> str:
    """Return which feed names it, and which of its members."""
    member = f" ({named.group.member})" if named.group.member else ""
    return f"the feed {named.feed}{member}"


def unenforced(named: Naming) -> str:
    """Return why nothing is dropped because of what a feed says."""
    if named.group.state == QUARANTINED:
        who = "this member" if named.group.member else "it"
        return f"{who} named more than max_new allows: treason feed show {named.feed}"
    return f"that is only observed (mode in [feed.{named.feed}])"


def by(ban: Ban) -> str:
    """Return who bans it."""
    match ban.origin:
        case "manual":
            return "by hand"
        case origin if origin == UNGUARDED:
            return "by another program, through badips"
        case origin if origin.startswith(FEED):
            return f"by the feed {origin.removeprefix(FEED)}"
    return f"by the rule {ban.origin}"


def _end(ban: Ban) -> str:
    if ban.until is not None:
        return f"until {iso(ban.until)}"
    return "as long as that names it" if ban.origin.startswith(FEED) else "permanently"


def _first(text: str) -> str:
    return text.partition("\n")[0]
