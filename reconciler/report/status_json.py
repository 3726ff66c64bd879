"""How things stand, for programs (docs/reference/json.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.report import feeds_json, json
from reconciler.report.times import iso

if TYPE_CHECKING:  # importing them takes longer than printing
    from reconciler.host.control import DaemonStatus
    from reconciler.passes.status import BackendCount, Status
    from reconciler.store.counts import OriginCount, SourceCount


def status(found: Status) -> dict[str, Any]:
    """Return how things stand."""
    return {
        "paused": json.paused(found.paused),
        "database": str(found.database),
        "bans": {
            "permanent": found.counts.permanent,
            "temporary": found.counts.temporary,
            "invalid": len(found.refused.invalid),
            "too_wide": len(found.refused.too_wide),
        },
        "origins": [_origin(each) for each in found.counts.origins],
        "dropped": [_dropped(each) for each in found.dropped],
        "mode": found.mode,
        "withheld": {
            "number": found.counts.withheld,
            "latest": json.withheld(found.withheld),
        },
        "offences": found.counts.offences,
        "last_offence": iso(found.counts.last_offence),
        "unconfirmed": {
            "number": found.counts.unconfirmed,
            "latest": json.doubted(found.doubted),
        },
        "confirming": list(found.confirming),
        "whitelisted": found.whitelisted,
        "protected": found.protected,
        "desired": found.desired,
        "sources": list(found.counts.sources),
        "read": [_read(each) for each in found.counts.of_sources],
        "feeds": [feeds_json.value(each) for each in found.feeds],
        "warnings": list(found.warnings),
        "silent": dict(found.silent),
        "kernel_message": found.kernel_message.value,
        "clock": found.clock or None,
        "daemon": _daemon(found.daemon),
        "unasked": found.unasked or None,
        "backends": [
            {"backend": each.backend, "state": each.state.value, "error": each.failure or None}
            for each in found.outcomes
        ],
        "damage": list(found.damage),
    }


def _origin(each: OriginCount) -> dict[str, Any]:
    return {
        "origin": each.origin,
        "permanent": each.permanent,
        "temporary": each.temporary,
    }


def _read(each: SourceCount) -> dict[str, Any]:
    return {
        "source": each.source,
        "moved": iso(each.moved),
        "offences": each.offences,
        "last_offence": iso(each.last),
    }


def _dropped(each: BackendCount) -> dict[str, Any]:
    told = each.dropped
    return {
        "backend": each.backend,
        "packets": told.packets if told else None,
        "bytes": told.bytes if told else None,
        "since": iso(told.since) if told else None,
        "error": each.error or None,
    }


def _daemon(how: DaemonStatus | None) -> dict[str, Any] | None:
    if how is None:
        return None
    return {
        "pid": how.pid,
        "since": iso(how.since),
        "awake": list(how.awake),
        "timed": list(how.timed),
        "ways": dict(how.ways),
        "pending": how.pending,
        "repaired": iso(how.repaired),
        "repair": how.repair or None,
        "troubles": list(how.troubles),
        "paused": how.paused,
        "rests": how.rests or None,
        "held": list(how.held),
        "still": iso(how.still),
    }
