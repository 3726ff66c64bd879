"""What the commands print: text for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from reconciler.loop import Outcome, Reading, State
from reconciler.model import Ban, Plan
from reconciler.network import Network

FORMAT_VERSION: Final = 1
"""Grows when a key of the JSON output changes its meaning or goes away."""

_SHOWN: Final = 20


def plain(text: str) -> str:
    """Make control characters visible: evidence comes from strangers."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def plain_lines(text: str) -> str:
    """Do so, but leave line breaks."""
    return "\n".join(map(plain, text.split("\n")))


def iso(time: int | None) -> str | None:
    """Give epoch seconds as ISO 8601 in UTC."""
    return (
        None if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    )


def dump(value: dict[str, Any]) -> str:
    """Give the JSON text of a result."""
    return json.dumps({"format_version": FORMAT_VERSION} | value, indent=2)


def readings_text(readings: Iterable[Reading], *, verbose: bool) -> Iterator[str]:
    """Tell what the sources brought."""
    for reading in readings:
        if reading.error:
            continue
        refused = f", {reading.refused} refused" if reading.refused else ""
        yield f"{reading.source}: {_count(reading.offences, 'offence')}{refused}, " + _count(
            len(reading.bans), "new ban"
        )
        if verbose:
            yield from (f"  refused, not from the kernel: {plain(x)}" for x in reading.examples)
            yield from (f"  ban {ban.network}: {plain(ban.reason)}" for ban in reading.bans)


def readings_json(readings: Iterable[Reading]) -> list[dict[str, Any]]:
    """Give what the sources brought."""
    return [
        {
            "source": reading.source,
            "offences": reading.offences,
            "refused": reading.refused,
            "bans": [str(ban.network) for ban in reading.bans],
            "error": reading.error or None,
        }
        for reading in readings
    ]


def outcomes_text(outcomes: Iterable[Outcome], *, every: bool) -> Iterator[str]:
    """Tell how the backends stand, with the plan; ``every`` leaves no line of it out."""
    for outcome in outcomes:
        if outcome.plan is None:
            if outcome.state is not State.FAILED:
                yield f"{outcome.backend}: {outcome.state.value}"
            continue
        yield f"{outcome.backend}: {outcome.state.value}: {_summary(outcome, outcome.plan)}"
        lines = list(_changes(outcome.plan))
        yield from lines if every else lines[:_SHOWN]
        if len(lines) > _SHOWN and not every:
            yield f"  and {len(lines) - _SHOWN} more; --diff shows all"
        yield from outcome.script.splitlines()


def outcomes_json(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Give how the backends stand, with the plan."""
    return [
        {
            "backend": outcome.backend,
            "state": outcome.state.value,
            "plan": None if outcome.plan is None else _plan_json(outcome.plan),
            "error": outcome.error or None,
        }
        for outcome in outcomes
    ]


def bans_text(bans: Sequence[Ban]) -> Iterator[str]:
    """List bans: a table where somebody looks, plain columns in a pipe."""
    rows = [
        (
            str(ban.network),
            iso(ban.since) or "",
            iso(ban.until) or "permanent",
            ban.origin,
            plain(ban.reason),
        )
        for ban in bans
    ]
    titles = ("network", "since", "until", "origin", "reason")
    if not sys.stdout.isatty():
        yield from ("\t".join(row) for row in rows)
        return
    from rich.console import Console  # noqa: PLC0415 - only where somebody looks
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    with (console := Console()).capture() as capture:
        console.print(table)
    yield capture.get().rstrip("\n")


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


def _changes(plan: Plan) -> Iterator[str]:
    yield from (f"  ! {repair}" for repair in plan.repairs)
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
