"""What commands print for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from reconciler.feeding import HELD
from reconciler.lines import counted
from reconciler.passes.enforce import Outcome, State
from reconciler.report.columns import table
from reconciler.report.diff import unified
from reconciler.report.plain import plain
from reconciler.report.times import ahead, iso

if TYPE_CHECKING:  # importing them takes longer than printing
    from reconciler.model import Ban, Plan
    from reconciler.passes.closing import ClosingResult
    from reconciler.passes.reading import Reading
    from reconciler.planning.whitelist import Exemption
    from reconciler.store.bans import InvalidRow, NotEnforced
    from reconciler.store.history import Event
    from reconciler.store.listing import ListedBan
    from reconciler.store.pauses import Pause
    from reconciler.store.unconfirmed import Doubted
    from reconciler.store.withheld import WithheldBan

_SHOWN: Final = 20
_BAN: Final = ("network", "since", "until", "origin", "reason")


def readings(readings: Iterable[Reading], now: int, *, verbose: bool) -> Iterator[str]:
    """Yield what the sources brought."""
    for reading in readings:
        if reading.error:
            continue
        asides = (
            (reading.reported, "report-only"),
            (reading.refused, "not from the kernel"),
            (reading.known, "already counted"),
            (reading.outbound, "to a port nothing listens on"),
            (reading.undated, "counted as now"),
            (reading.unconfirmed, "unconfirmed"),
            (reading.waiting, "waiting to be confirmed"),
        )
        yield ", ".join(
            (
                f"{reading.source}: {counted(reading.offences, 'offence')}",
                *(f"{number:,} {what}" for number, what in asides if number),
                counted(reading.new, "new ban"),
                *(
                    [f"{counted(len(reading.withheld), 'ban')} withheld (mode observe)"]
                    if reading.withheld
                    else []
                ),
                *(
                    [f"{counted(longer, 'ban')} extended"]
                    if (longer := len(reading.bans) - reading.new)
                    else []
                ),
            )
        )
        yield from (f"  note: {plain(note)}" for note in reading.notes)
        if verbose:
            yield from (f"  report-only: {plain(text)}" for text in reading.sightings)
            yield from (f"  not from the kernel: {plain(x)}" for x in reading.examples)
            yield from (f"  {doubt(each)}" for each in reading.doubted)
            for what, bans in (("banned", reading.bans), ("would be banned:", reading.withheld)):
                for ban in bans:
                    end = "permanently" if ban.until is None else f"until {ahead(ban.until, now)}"
                    yield f"  {what} {ban.network} {end}: {plain(ban.reason)}"


def doubt(message: Doubted) -> str:
    """Return a message that nothing confirms, and why."""
    state = "waiting" if message.waits_in else "unconfirmed"
    return f"{state}: {plain(message.offence.evidence)}: {plain(message.why)}"


def ended(networks: Sequence[str], *, verbose: bool) -> Iterator[str]:
    """Yield which bans have ended since the last pass."""
    if networks:
        yield f"{counted(len(networks), 'ban')} ended"
    if verbose:
        yield from (f"  ended {plain(network)}" for network in networks)


def silence(silent: Mapping[str, str]) -> Iterator[str]:
    """Yield which sources see nothing of the kernel, and why."""
    return (f"{name}: {plain(reason)}" for name, reason in silent.items())


def outcomes(outcomes: Iterable[Outcome], *, diff: bool) -> Iterator[str]:
    """Yield how the backends stand, with the plan: its first lines, or all as a unified diff."""
    for outcome in outcomes:
        if outcome.plan is None:
            if outcome.state is not State.FAILED:
                yield f"{outcome.backend}: {outcome.state.value}"
            yield from _notes(outcome)
            continue
        state = "changed in part" if outcome.partly else outcome.state.value
        summary = _summary(outcome, outcome.plan) or "taken over from another database"
        yield f"{outcome.backend}: {state}: {summary}"
        if diff:
            yield from unified(outcome.plan, outcome.backend)
        else:
            yield from islice(_changes(outcome.plan), _SHOWN)
            if (more := _size(outcome.plan) - _SHOWN) > 0:
                yield f"  and {more:,} more; --diff shows all"
        yield from _notes(outcome)
        yield from map(plain, outcome.script.splitlines())


def closed(result: ClosingResult | None, *, verbose: bool) -> Iterator[str]:
    """Yield which connections were closed."""
    if result is None:
        return
    if result.closed:
        number = sum(each.connections for each in result.closed)
        memory = sum(each.memory for each in result.closed)
        yield (
            f"closed {counted(number, 'connection')} of {counted(len(result.closed), 'network')},"
            f" which held {memory / 1024:,.0f} KiB of kernel memory"
        )
    if verbose:
        yield from (f"  closed {each.network}: {each}" for each in result.closed)


def bans(bans: Iterable[ListedBan], now: int, *, counted: bool = False) -> Iterator[str]:
    """List bans; with ``counted`` also how many of their offences are stored."""
    rows = ((_listed(each, now), each.offences) for each in bans)
    if not counted:
        return table(_BAN, (row for row, _ in rows))
    numbered = (
        (*row[:-1], "" if number is None else f"{number:,}", row[-1]) for row, number in rows
    )
    return table((*_BAN[:-1], "offences", _BAN[-1]), numbered)


def _listed(each: ListedBan, now: int) -> tuple[str, ...]:
    """Return a row; of what a feed names also who says so, and what is not enforced."""
    network, since, until, origin, reason = _row(str(each.ban.network), each.ban, now)
    if each.state:
        member = f" ({each.member})" if each.member else ""
        origin += member if each.state == HELD else f"{member}, {each.state}"
        until = until if each.ban.until is not None else "as long as named"
    return network, since, until, origin, reason


def besides(feeds: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Yield how many networks each feed names, by what is done with them."""
    for feed, numbers in feeds.items():
        told = ", ".join(f"{number:,} {state}" for state, number in sorted(numbers.items()))
        yield f"feed {feed} besides: {told}; see: treason list --origin feed:{feed}"


def invalid(rows: Iterable[InvalidRow], now: int) -> Iterator[str]:
    """List the stored rows that are not a network."""
    return table(("text", *_BAN[1:]), (_row(row.text, row, now) for row in rows))


def withheld(found: Iterable[WithheldBan], now: int) -> Iterator[str]:
    """List bans that were not made, because the policy only observes."""
    rows = (
        (*head, f"{each.offences:,}", iso(each.last) or "", reason)
        for each in found
        for *head, reason in [_row(str(each.ban.network), each.ban, now)]
    )
    return table((*_BAN[:-1], "offences", "last", _BAN[-1]), rows)


def _row(name: str, row: Ban | InvalidRow, now: int) -> tuple[str, ...]:
    return (
        name,
        iso(row.since) or "",
        _end(row.until, now),
        row.origin,
        row.reason,
    )


def refused(rows: NotEnforced) -> str:
    """Return how many stored bans are not enforced, and why; empty if all are."""
    parts = (
        (len(rows.invalid), "not a valid network (treason list --invalid)"),
        (len(rows.too_wide), "stored by another program and wider than min_prefix"),
    )
    return ", ".join(f"{number:,} {what}" for number, what in parts if number)


def events(events: Iterable[Event]) -> Iterator[str]:
    """List the history."""
    rows = ((iso(e.time) or "", e.action, e.network, e.reason) for e in events)
    return table(("time", "action", "network", "reason"), rows)


def exemptions(entries: Iterable[Exemption]) -> Iterator[str]:
    """List what is exempt, and why."""
    return table(("network", "comment"), ((str(e.network), e.comment) for e in entries))


def whitelisted(entries: Iterable[Exemption], now: int) -> Iterator[str]:
    """List the whitelist, with what has ended."""
    rows = ((str(e.network), e.comment, _end(e.until, now)) for e in entries)
    return table(("network", "comment", "until"), rows)


def _end(until: int | None, now: int) -> str:
    if until is None:
        return "permanent"
    return f"{iso(until)} ({ahead(until, now) if now < until else 'ended'})"


def _notes(outcome: Outcome) -> Iterator[str]:
    return (f"  note: {plain(note)}" for note in outcome.notes)


def _summary(outcome: Outcome, plan: Plan) -> str:
    done = outcome.state is State.CHANGED or outcome.partly
    parts = (
        (len(plan.repairs), "to repair", "repaired"),
        (len(plan.banned.add), "to add", "added"),
        (len(plan.banned.remove), "to remove", "removed"),
        (len(plan.passed.add), "to whitelist", "whitelisted"),
        (len(plan.passed.remove), "to remove from the whitelist", "removed from the whitelist"),
    )
    return ", ".join(
        f"{number:,} {past if done else what}" for number, what, past in parts if number
    )


def _size(plan: Plan) -> int:
    changes = (*(plan.banned.add, plan.banned.remove), *(plan.passed.add, plan.passed.remove))
    return len(plan.repairs) + sum(map(len, changes))


def _changes(plan: Plan) -> Iterator[str]:
    yield from (f"  ! {plain(str(repair))}" for repair in plan.repairs)
    for sign, networks, what in (
        ("+", plan.banned.add, ""),
        ("-", plan.banned.remove, ""),
        ("+", plan.passed.add, " (whitelisted)"),
        ("-", plan.passed.remove, " (whitelisted)"),
    ):
        yield from (f"  {sign} {network}{what}" for network in networks)


def paused_until(pause: Pause, now: int) -> str:
    """Return how long nothing is enforced."""
    if pause.until is None:
        return "paused until treason resume"
    return f"paused until {iso(pause.until)} ({ahead(pause.until, now)})"


def paused(pause: Pause | None, now: int) -> str:
    """Return that nothing is enforced, and how long; empty if it is."""
    if pause is None:
        return ""
    end = "; treason resume ends that" if pause.until is not None else ""
    return f"{paused_until(pause, now)}: nothing is enforced{end}"
