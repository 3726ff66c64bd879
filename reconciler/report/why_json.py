"""Why a network is dropped, or is not, for programs (docs/reference/json.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.passes.why import MOST
from reconciler.report import json
from reconciler.report.answer import headline
from reconciler.report.feeds_json import group_of
from reconciler.report.times import iso
from reconciler.report.why import STATES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model import Ban, Offence
    from reconciler.network import Network
    from reconciler.passes.why import Naming, OpenSocket, Standing, Why


def explained(why: Why) -> dict[str, Any]:
    """Return all that explains what becomes of its packets."""
    return {
        "network": str(why.network),
        "verdict": why.verdict.value,
        "answer": headline(why),
        "dropped": _texts(why.dropped),
        "wanted": _texts(why.wanted),
        "around": [_ban(ban, why) for ban in why.around],
        "inside": [_ban(ban, why) for ban in why.inside],
        "feeds": [_naming(each) for each in why.feeds],
        "untaken": [
            {"feed": each.feed, "networks": _texts(each.networks[:MOST]), "why": each.why}
            for each in why.untaken
        ],
        "whitelist": json.whitelisted((x.entry for x in why.exempting if x.listed), why.now),
        "protection": json.exemptions(x.entry for x in why.exempting if not x.listed),
        "pending": _texts(why.pending),
        "rests": why.rests or None,
        "unasked": why.unasked or None,
        "backends": [_standing(one) for one in why.standings],
        "offences": [_offence(each) for each in why.offences],
        "withheld": json.withheld(why.withheld),
        "unconfirmed": json.doubted(why.doubted),
        "endings": json.events(why.endings),
        "sockets": [_socket(each) for each in why.sockets],
        "blind": why.blind or None,
        "damage": list(why.damage),
        "paused": json.paused(why.paused),
    }


def _texts(networks: Iterable[Network]) -> list[str]:
    return [str(network) for network in networks]


def _ban(ban: Ban, why: Why) -> dict[str, Any]:
    return json.ban(ban) | {"ended": why.has_ended(ban), "enforced": why.counts(ban)}


def _naming(each: Naming) -> dict[str, Any]:
    return {"feed": each.feed} | group_of(each.group)


def _standing(one: Standing) -> dict[str, Any]:
    held = one.held
    return {
        "backend": one.backend,
        "drops_packets": one.enforces,
        "dropped": _texts(one.dropped),
        "unclear": _texts(one.unclear),
        "decisions": [
            {
                "networks": _texts(each.networks),
                "drops": each.drops,
                "rule": each.rule,
                "packets": each.packets,
            }
            for each in one.decisions
        ],
        "reached": held.reached if held else None,
        "unreached": (held.unreached if held else "") or None,
        "damage": [{"subject": d.subject, "problem": d.problem} for d in held.damage]
        if held
        else [],
        "problems": [str(each) for each in held.problems] if held else [],
        "next": {"add": _texts(one.add), "remove": _texts(one.remove)},
        "error": one.error or None,
    }


def _offence(each: Offence) -> dict[str, Any]:
    return {
        "network": str(each.address),
        "rule": each.rule,
        "time": iso(each.time),
        "count": each.count,
        "peer_port": each.peer_port,
        "local_port": each.local_port,
        "evidence": each.evidence,
    }


def _socket(each: OpenSocket) -> dict[str, Any]:
    one, answer = each.socket, each.answer
    return {
        "peer": str(one.peer),
        "peer_port": one.peer_port,
        "local_port": one.local_port,
        "state": STATES[one.state],
        "in_flight": one.in_flight,
        "window": one.window,
        "seen": answer.seen.value if answer else None,
        "why": (answer.why if answer else "") or None,
    }
