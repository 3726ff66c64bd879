"""Why a network is dropped, or is not, on one page: the first line is the answer."""

from collections.abc import Iterator
from typing import Final

from reconciler.lines import counted, first_few
from reconciler.model import Ban, Offence, Seen
from reconciler.network import Network
from reconciler.passes.why import MOST, Exempting, OpenSocket, Standing, Verdict, Why
from reconciler.planning.whitelist import Exemption
from reconciler.report.columns import aligned, paragraph
from reconciler.report.plain import plain, plain_lines
from reconciler.report.times import ahead, iso
from reconciler.store.bans import UNGUARDED
from reconciler.store.pauses import Pause

STATES: Final = (
    "", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait",
    "close", "close-wait", "last-ack", "listen", "closing",
)  # fmt: skip
"""By the kernel's numbers, ``net/tcp_states.h``."""

_MANY: Final = 1000
"""Dropped parts above which it is not worked out what they leave out."""

_SEEN: Final = {
    Seen.SHOWN: "shows the attack",
    Seen.SPARED: "shows the attack, and is spared",
    Seen.OPEN: "not judged",
    Seen.NOTHING: "no offence",
}


def page(why: Why) -> Iterator[str]:
    """Yield the answer, and then all that explains it."""
    yield from paragraph(headline(why))
    yield ""
    yield from aligned([*_rows(why)])


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
        if banned or why.inside or _covers(each, why):
            yield f": {_exempt(each)}" + (f", though {_cause(why)}" if banned else "")
    for ban in why.around:
        if not why.counts(ban):
            yield f": the ban of {ban.network} is wider than min_prefix, and not enforced"
    yield from _not_banned(why)


def _not_banned(why: Why) -> Iterator[str]:
    """Yield why nothing that is enforced bans it."""
    for observed in why.withheld:
        while_ = "rules only observe" if why.observes else "rules only observed then"
        yield f": {_by(observed.ban)} it would be banned, but {while_}"
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
    told = f"banned {_by(ban)}, {_end(ban)}"
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


def _by(ban: Ban) -> str:
    match ban.origin:
        case "manual":
            return "by hand"
        case origin if origin == UNGUARDED:
            return "by another program, through badips"
    return f"by the rule {ban.origin}"


def _end(ban: Ban) -> str:
    return "permanently" if ban.until is None else f"until {iso(ban.until)}"


def _rows(why: Why) -> Iterator[tuple[str, str]]:
    """Yield the page below the answer, by its sections."""
    if why.paused:
        yield "paused", f"since {iso(why.paused.since)}: nothing is enforced"
    yield from _banned(why)
    for each in why.exempting:
        yield "whitelist" if each.listed else "protected", _entry(each.entry, why.now)
    if why.pending:
        yield "daemon", f"in force, not stored yet: {first_few(why.pending)}"
    yield from (("daemon", plain_lines(text)) for text in (why.rests, why.unasked) if text)
    yield from (("damage", plain_lines(damage)) for damage in why.damage)
    for one in why.standings:
        yield plain(one.backend), "\n".join(_standing(one, unknown=bool(why.damage)))
    yield from _heard(why)
    for found in why.sockets:
        yield "socket", _socket(found)
    if why.blind:
        yield "sockets", plain(why.blind)


def _banned(why: Why) -> Iterator[tuple[str, str]]:
    own = [ban for ban in why.around if ban.network == why.network]
    wider = [ban for ban in why.around if ban.network != why.network]
    for name, bans in (("ban", own), ("around", wider), ("inside", why.inside[:MOST])):
        yield from ((name, _ban(ban, why)) for ban in bans)
    if len(why.inside) > MOST:
        yield "inside", f"more than {MOST} bans"
    if not (why.around or why.inside):
        yield "ban", "none"
    for each in why.withheld:
        ban = each.ban
        yield (
            "observed",
            (
                f"{ban.network} would be banned {_by(ban)}, since {iso(ban.since)}"
                f"\n{counted(each.offences, 'offence')}, the last at {iso(each.last)}"
            ),
        )
    for event in why.endings:
        what = "ended" if event.action == "expiry" else "unbanned"
        reason = f": {plain(event.reason)}" if event.reason else ""
        yield "earlier", f"{iso(event.time)} {event.network} {what}{reason}"


def _entry(entry: Exemption, now: int) -> str:
    comment = f" ({plain(entry.comment)})" if entry.comment else ""
    end = "" if entry.until is None else f", until {iso(entry.until)} ({ahead(entry.until, now)})"
    return f"{entry.network}{comment}{end}"


def _ban(ban: Ban, why: Why) -> str:
    if ban.until is None:
        end = "permanently"
    elif why.has_ended(ban):
        end = f"ended at {iso(ban.until)}, not removed yet"
    else:
        end = f"until {iso(ban.until)} ({ahead(ban.until, why.now)})"
    told = [f"{ban.network} {plain(_by(ban))}, since {iso(ban.since)}, {end}"]
    told += [] if why.counts(ban) else ["not enforced: wider than min_prefix"]
    return "\n".join([*told, *([plain(ban.reason)] if ban.reason else [])])


def _standing(one: Standing, *, unknown: bool) -> Iterator[str]:
    """Yield what a backend holds, which rule decides, and what the next pass does.

    That is ``unknown`` where not all bans can be read.
    """
    if one.held is None:
        yield plain_lines(one.error)
        return
    verb = "would drop" if one.held.reached is False else "drops"
    verb = verb if one.enforces else "lists"
    if not one.decisions:
        yield "holds nothing of it"
    for each in one.decisions[:MOST]:
        does = {True: verb, False: "passes", None: "may decide about"}[each.drops]
        yield f"{does} {first_few(each.networks)}: {plain(each.rule)}"
        if each.packets is not None:
            yield f"its rule has counted {counted(each.packets, 'packet')}"
    if len(one.decisions) > MOST:
        yield f"and {len(one.decisions) - MOST:,} more rules"
    if one.held.unreached:
        yield f"but {plain(one.held.unreached)}"
    elif one.enforces and not (one.held.damage or one.held.problems):
        yield "its rules are in place and in order"
    yield from (f"damage: {plain(str(each))}" for each in one.held.damage[:MOST])
    yield from (plain(str(each)) for each in one.held.problems)
    if not unknown:
        yield f"next pass: {_next(one)}"


def _next(one: Standing) -> str:
    whole = one.held is not None and one.held.reached is not False  # else it is made anew
    told = [
        f"{verb} {first_few(networks)}"
        for verb, networks in (("adds", one.add if whole else ()), ("removes", one.remove))
        if networks
    ]
    if one.held and one.held.damage:
        told.append("mends the damage")
    return ", ".join(told) or "changes nothing of it"


def _heard(why: Why) -> Iterator[tuple[str, str]]:
    """Yield the offences and the messages that nothing confirmed."""
    for each in why.offences:
        yield "offence", _offence(each, why.network)
    if not why.offences:
        yield "offences", "none"
    for message in why.doubted:
        state = "waiting" if message.waits_in else "unconfirmed"
        told = _offence(message.offence, why.network)
        yield state, f"{told}\n{plain(message.why)}"


def _offence(each: Offence, asked: Network) -> str:
    whose = "" if each.address == asked else f"{each.address} "
    when = iso(each.time) or "at a time that is not told"
    times = f", {each.count} times" if each.count > 1 else ""
    return f"{whose}{when} {plain(each.rule)}{times}\n{plain(each.evidence)}"


def _socket(each: OpenSocket) -> str:
    one, answer = each.socket, each.answer
    ends = f"{_address(one.peer)}:{one.peer_port} to port {one.local_port}, {STATES[one.state]}"
    data = [
        f"{counted(number, 'byte')} {what}"
        for number, what in ((one.in_flight, "in flight"), (one.unread, "unread"))
        if number > 0
    ]
    judged = [_SEEN[answer.seen], *([plain(answer.why)] if answer.why else [])] if answer else []
    return "\n".join([", ".join([ends, *data]), ": ".join(judged)]).strip()


def _address(address: Network) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def _first(text: str) -> str:
    return text.partition("\n")[0]
