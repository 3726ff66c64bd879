"""What the commands print: text for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from reconciler.cli.console import plain
from reconciler.model import Ban, Plan
from reconciler.network import Network
from reconciler.passes.enforce import Outcome, State
from reconciler.passes.scan import Reading
from reconciler.planning.whitelist import Exemption
from reconciler.report.diff import unified
from reconciler.store.history import Event

FORMAT_VERSION: Final = 1
"""Grows when a key of the JSON output changes its meaning or goes away."""

_SHOWN: Final = 20
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def iso(time: float | None) -> str | None:
    """Give epoch seconds as ISO 8601 in UTC."""
    if time is None:
        return None
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"@{time:.0f}"  # a year that no calendar has


def dump(value: dict[str, Any]) -> str:
    """Give the JSON text of a result."""
    return json.dumps({"format_version": FORMAT_VERSION} | value, indent=2)


def ahead(until: int, now: int) -> str:
    """Tell when a ban ends, rounded: ``in 3 h``."""
    left = until - now
    number, unit = next((round(left / s), unit) for s, unit in _UNITS if left >= 2 * s or s == 1)
    return f"in {number} {unit}"


def readings_text(readings: Iterable[Reading], now: int, *, verbose: bool) -> Iterator[str]:
    """Tell what the sources brought."""
    for reading in readings:
        if reading.error:
            continue
        asides = (
            (reading.reported, "only reported"),
            (reading.refused, "refused"),
            (reading.known, "known already"),
            (reading.outbound, "outbound"),
        )
        yield ", ".join(
            (
                f"{reading.source}: {_count(reading.offences, 'offence')}",
                *(f"{number} {what}" for number, what in asides if number),
                _count(reading.new, "new ban"),
                *([f"{longer} made longer"] if (longer := len(reading.bans) - reading.new) else []),
            )
        )
        yield from (f"  note: {plain(note)}" for note in reading.notes)
        if verbose:
            yield from (f"  reported: {plain(text)}" for text in reading.sightings)
            yield from (f"  refused, not from the kernel: {plain(x)}" for x in reading.examples)
            for ban in reading.bans:
                end = "for good" if ban.until is None else f"ends {ahead(ban.until, now)}"
                yield f"  ban {ban.network}, {end}: {plain(ban.reason)}"


def ended_text(networks: Sequence[str], *, verbose: bool) -> Iterator[str]:
    """Tell which bans have ended since the last pass."""
    if networks:
        yield f"{_count(len(networks), 'ban')} ended"
    if verbose:
        yield from (f"  ended {plain(network)}" for network in networks)


def silence_text(silent: Mapping[str, str]) -> Iterator[str]:
    """Tell which sources see nothing of the kernel, and why."""
    return (f"{name}: {plain(reason)}" for name, reason in silent.items())


def readings_json(readings: Iterable[Reading]) -> list[dict[str, Any]]:
    """Give what the sources brought."""
    return [
        {
            "source": reading.source,
            "offences": reading.offences,
            "reported": reading.reported,
            "refused": reading.refused,
            "known": reading.known,
            "outbound": reading.outbound,
            "bans": [str(ban.network) for ban in reading.bans],
            "new": reading.new,
            "notes": list(reading.notes),
            "error": reading.error or None,
        }
        for reading in readings
    ]


def outcomes_text(outcomes: Iterable[Outcome], *, diff: bool) -> Iterator[str]:
    """Tell how the backends stand, with the plan: its first lines, or all as a unified diff."""
    for outcome in outcomes:
        if outcome.plan is None:
            if outcome.state is not State.FAILED:
                yield f"{outcome.backend}: {outcome.state.value}"
            yield from _notes(outcome)
            continue
        yield f"{outcome.backend}: {outcome.state.value}: {_summary(outcome, outcome.plan)}"
        if diff:
            yield from unified(outcome.plan, outcome.backend)
        else:
            yield from islice(_changes(outcome.plan), _SHOWN)
            if (more := _size(outcome.plan) - _SHOWN) > 0:
                yield f"  and {more} more; --diff shows all"
        yield from _notes(outcome)
        yield from map(plain, outcome.script.splitlines())


def outcomes_json(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Give how the backends stand, with the plan."""
    return [
        {
            "backend": outcome.backend,
            "state": outcome.state.value,
            "plan": None if outcome.plan is None else _plan_json(outcome.plan),
            "error": outcome.error or None,
            "notes": list(outcome.notes),
        }
        for outcome in outcomes
    ]


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """List rows: a table where somebody looks, plain columns with tabs in a pipe."""
    shown = ([plain(cell) for cell in row] for row in rows)
    if sys.stdout is None or not sys.stdout.isatty():
        yield from ("\t".join(row) for row in shown)
        return
    from rich.console import Console  # noqa: PLC0415 - only where somebody looks
    from rich.table import Column, Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    first, *others = titles
    drawn = Table(Column(first, no_wrap=True, overflow="fold"), *others, box=None, pad_edge=False)
    for row in shown:
        drawn.add_row(*map(Text, row))
    with (console := Console()).capture() as capture:
        console.print(drawn)
    yield capture.get().rstrip("\n")


def bans_text(bans: Iterable[Ban], now: int) -> Iterator[str]:
    """List bans."""
    return table(
        ("network", "since", "until", "origin", "reason"),
        (
            (
                str(ban.network),
                iso(ban.since) or "",
                "permanent" if ban.until is None else f"{iso(ban.until)} ({ahead(ban.until, now)})",
                ban.origin,
                ban.reason,
            )
            for ban in bans
        ),
    )


def bans_json(bans: Iterable[Ban]) -> list[dict[str, Any]]:
    """List bans."""
    return [
        {
            "network": str(ban.network),
            "since": iso(ban.since),
            "until": iso(ban.until),
            "origin": ban.origin,
            "reason": ban.reason,
        }
        for ban in bans
    ]


def events_text(events: Iterable[Event]) -> Iterator[str]:
    """List the history."""
    rows = ((iso(e.time) or "", e.action, e.network, e.reason) for e in events)
    return table(("time", "action", "network", "reason"), rows)


def events_json(events: Iterable[Event]) -> list[dict[str, Any]]:
    """List the history."""
    return [
        {"time": iso(e.time), "action": e.action, "network": e.network, "reason": e.reason}
        for e in events
    ]


def exemptions_text(entries: Iterable[Exemption]) -> Iterator[str]:
    """List what is exempt, and why."""
    return table(("network", "comment"), ((str(e.network), e.comment) for e in entries))


def exemptions_json(entries: Iterable[Exemption]) -> list[dict[str, Any]]:
    """List what is exempt, and why."""
    return [{"network": str(e.network), "comment": e.comment} for e in entries]


def _notes(outcome: Outcome) -> Iterator[str]:
    return (f"  note: {plain(note)}" for note in outcome.notes)


def _summary(outcome: Outcome, plan: Plan) -> str:
    done = outcome.state is State.CHANGED
    parts = (
        (len(plan.repairs), "to repair", "repaired"),
        (len(plan.banned.add), "to drop", "dropped"),
        (len(plan.banned.remove), "to lift", "lifted"),
        (len(plan.passed.add), "to pass", "passed"),
        (len(plan.passed.remove), "to pass no more", "passed no more"),
    )
    return ", ".join(f"{number} {past if done else what}" for number, what, past in parts if number)


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


def _plan_json(plan: Plan) -> dict[str, Any]:
    def texts(networks: Iterable[Network]) -> list[str]:
        return [str(network) for network in networks]

    return {
        "repairs": [{"subject": d.subject, "problem": d.problem} for d in plan.repairs],
        "banned": {"add": texts(plan.banned.add), "remove": texts(plan.banned.remove)},
        "passed": {"add": texts(plan.passed.add), "remove": texts(plan.passed.remove)},
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
