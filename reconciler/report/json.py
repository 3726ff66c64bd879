"""What commands print for programs: the values of the JSON output (docs/reference/json.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from textwrap import indent
from typing import TYPE_CHECKING, Any, Final

from reconciler.report.times import iso

if TYPE_CHECKING:  # importing them takes longer than printing
    from reconciler.diagnosis import Finding
    from reconciler.model import Ban, Plan
    from reconciler.network import Network
    from reconciler.passes.closing import ClosingResult
    from reconciler.passes.enforce import Outcome
    from reconciler.passes.reading import Reading
    from reconciler.passes.run import PassResult
    from reconciler.passes.taking import FeedReading
    from reconciler.planning.whitelist import Exemption
    from reconciler.store.bans import InvalidRow
    from reconciler.store.history import Event
    from reconciler.store.listing import ListedBan
    from reconciler.store.pauses import Pause
    from reconciler.store.unconfirmed import Doubted
    from reconciler.store.withheld import WithheldBan

FORMAT_VERSION: Final = 1
"""Grows when a key of the JSON output changes its meaning or goes away."""


def dump(value: dict[str, Any]) -> str:
    """Return the JSON text of a result."""
    return json.dumps({"format_version": FORMAT_VERSION} | value, indent=2, default=_moment)


def _moment(value: object) -> str | None:
    """Return what JSON has no form for: the moments of a configuration."""
    if isinstance(value, datetime):
        return iso(value.timestamp())
    raise TypeError(f"{value!r} has no form in JSON")


def reconciled(result: PassResult, *, check: bool) -> dict[str, Any]:
    """Return what a pass over sources and backends found and did."""
    good = "in sync" if check else "converged"
    return {
        "check": check,
        "paused": paused(result.paused),
        "result": "error" if result.failed else "drift" if result.drifted else good,
        "sources": readings(result.readings),
        "feeds": _feeds(result.feeds),
        "silenced": result.silenced,
        "ended": result.ended,
        "clock": result.doubt or None,
        "backends": outcomes(result.outcomes),
        "closing": _closing(result.closing),
        "damage": result.damage,
        "unwritten": result.unwritten or None,
        "unasked": result.unasked or None,
    }


def _feeds(found: Sequence[FeedReading]) -> list[dict[str, Any]]:
    if not found:
        return []
    from reconciler.report import feeds_json  # noqa: PLC0415 - many configurations have none

    return feeds_json.readings(found)


def paused(pause: Pause | None) -> dict[str, Any] | None:
    """Return since when nothing is enforced, and until when; None if it is."""
    return {"since": iso(pause.since), "until": iso(pause.until)} if pause else None


def _closing(found: ClosingResult | None) -> dict[str, Any]:
    closed = [
        {"network": str(each.network), "connections": each.connections, "memory": each.memory}
        for each in (found.closed if found else ())
    ]
    return {"closed": closed, "notes": list(found.notes if found else ())}


def scanned(result: PassResult) -> dict[str, Any]:
    """Return what a pass over sources alone found and stored."""
    return {
        "sources": readings(result.readings),
        "silenced": result.silenced,
        "ended": result.ended,
        "clock": result.doubt or None,
        "damage": result.damage,
        "unwritten": result.unwritten or None,
    }


def readings(readings: Iterable[Reading]) -> list[dict[str, Any]]:
    """Return what the sources brought."""
    return [
        {
            "source": reading.source,
            "offences": reading.offences,
            "reported": reading.reported,
            "refused": reading.refused,
            "known": reading.known,
            "outbound": reading.outbound,
            "undated": reading.undated,
            "unconfirmed": reading.unconfirmed,
            "waiting": reading.waiting,
            "doubted": doubted(reading.doubted),
            "bans": [str(ban.network) for ban in reading.bans],
            "new": reading.new,
            "withheld": [str(ban.network) for ban in reading.withheld],
            "notes": list(reading.notes),
            "error": reading.error or None,
        }
        for reading in readings
    ]


def doubted(messages: Iterable[Doubted]) -> list[dict[str, Any]]:
    """List messages that are not believed, or not yet."""
    return [
        {
            "source": each.source,
            "rule": each.offence.rule,
            "network": str(each.offence.address),
            "peer_port": each.offence.peer_port,
            "local_port": each.offence.local_port,
            "time": iso(each.time),
            "waiting": each.waits_in is not None,
            "evidence": each.offence.evidence,
            "why": each.why,
        }
        for each in messages
    ]


def outcomes(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return how the backends stand, with the plan."""
    return [
        {
            "backend": outcome.backend,
            "state": outcome.state.value,
            "plan": None if outcome.plan is None else _plan(outcome.plan),
            "error": outcome.failure or None,
            "notes": list(outcome.notes),
        }
        for outcome in outcomes
    ]


def listed(name: str, rows: Iterable[object]) -> Iterator[str]:
    """Yield the lines of a result that is one list, as `dump` writes it, while its rows come."""
    coming = iter(rows)
    held = next(coming, None)  # what cannot be read at all leaves nothing printed
    yield f'{{\n  "format_version": {FORMAT_VERSION},'
    yield f'  "{name}": [' + ("]" if held is None else "")
    while held is not None:
        following = next(coming, None)
        yield indent(json.dumps(held, indent=2), "    ") + ("" if following is None else ",")
        held = following
        if held is None:
            yield "  ]"
    yield "}"


def bans(bans: Iterable[ListedBan]) -> Iterator[dict[str, Any]]:
    """Yield bans, and how many of their offences are stored where that was counted."""
    for each in bans:
        more = {} if each.offences is None else {"offences": each.offences}
        yield ban(each.ban) | {"member": each.member or None, "state": each.state or None} | more


def withheld(found: Iterable[WithheldBan]) -> list[dict[str, Any]]:
    """List bans that were not made, because the policy only observes."""
    return [ban(each.ban) | {"offences": each.offences, "last": iso(each.last)} for each in found]


def ban(ban: Ban) -> dict[str, Any]:
    """Return a ban, with its times."""
    return {
        "network": str(ban.network),
        "since": iso(ban.since),
        "until": iso(ban.until),
        "origin": ban.origin,
        "reason": ban.reason,
    }


def invalid(rows: Iterable[InvalidRow]) -> list[dict[str, Any]]:
    """List the stored rows that are not a network."""
    return [
        {
            "text": row.text,
            "since": iso(row.since),
            "until": iso(row.until),
            "origin": row.origin,
            "reason": row.reason,
        }
        for row in rows
    ]


def events(events: Iterable[Event]) -> list[dict[str, Any]]:
    """List the history."""
    return [
        {"time": iso(e.time), "action": e.action, "network": e.network, "reason": e.reason}
        for e in events
    ]


def exemptions(entries: Iterable[Exemption]) -> list[dict[str, Any]]:
    """List what is exempt, and why."""
    return [{"network": str(e.network), "comment": e.comment} for e in entries]


def whitelisted(entries: Iterable[Exemption], now: int) -> list[dict[str, Any]]:
    """List the whitelist, with what has ended."""
    return [
        {
            "network": str(e.network),
            "comment": e.comment,
            "until": iso(e.until),
            "ended": not e.holds(now),
        }
        for e in entries
    ]


def findings(found: Iterable[Finding]) -> list[dict[str, Any]]:
    """List what is wrong, and what mends it."""
    return [
        {"check": each.check, "what": each.what, "why": each.why, "remedy": each.remedy}
        for each in found
    ]


def _plan(plan: Plan) -> dict[str, Any]:
    def texts(networks: Iterable[Network]) -> list[str]:
        return [str(network) for network in networks]

    return {
        "repairs": [{"subject": d.subject, "problem": d.problem} for d in plan.repairs],
        "banned": {"add": texts(plan.banned.add), "remove": texts(plan.banned.remove)},
        "passed": {"add": texts(plan.passed.add), "remove": texts(plan.passed.remove)},
    }
