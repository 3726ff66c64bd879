"""Why a network is dropped, or is not, on one page: the first line is the answer."""

from collections.abc import Iterator
from typing import Final

from reconciler.lines import counted, first_few
from reconciler.model import Ban, Offence, Seen
from reconciler.network import Network
from reconciler.passes.why import MOST, OpenSocket, Standing, Why
from reconciler.planning.whitelist import Exemption
from reconciler.report.answer import by, headline, told_by, unenforced
from reconciler.report.columns import aligned, paragraph
from reconciler.report.plain import plain, plain_lines
from reconciler.report.times import ahead, iso

STATES: Final = (
    "", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait",
    "close", "close-wait", "last-ack", "listen", "closing",
)  # fmt: skip

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
    yield from _named(why)
    for each in why.withheld:
        ban = each.ban
        yield (
            "observed",
            (
                f"{ban.network} would be banned {by(ban)}, since {iso(ban.since)}"
                f"\n{counted(each.offences, 'offence')}, the last at {iso(each.last)}"
            ),
        )
    for event in why.endings:
        what = "ended" if event.action == "expiry" else "unbanned"
        reason = f": {plain(event.reason)}" if event.reason else ""
        yield "earlier", f"{iso(event.time)} {event.network} {what}{reason}"


def _named(why: Why) -> Iterator[tuple[str, str]]:
    for each in why.feeds[:MOST]:
        group = each.group
        some = first_few(group.networks[: MOST + 1], MOST)
        end = "as long as that names it"
        if group.until is not None:
            end = f"until {iso(group.until)} ({ahead(group.until, why.now)})"
        told = [f"{some} by {plain(told_by(each))}, since {iso(group.since)}, {end}"]
        told += [] if each.held else [f"not enforced: {plain(unenforced(each))}"]
        yield "feed", "\n".join([*told, *([plain(group.reason)] if group.reason else [])])
    if len(why.feeds) > MOST:
        yield "feed", f"and {len(why.feeds) - MOST:,} more groups of networks in it"
    for untaken in why.untaken:
        some = first_few(untaken.networks[: MOST + 1], MOST)
        yield "feed", f"{some} by the feed {untaken.feed}\nnot enforced: {plain(untaken.why)}"


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
    told = [f"{ban.network} {plain(by(ban))}, since {iso(ban.since)}, {end}"]
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
