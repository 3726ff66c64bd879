"""What is told of a trial of rules: text for people, JSON for programs."""

from collections.abc import Iterator
from typing import Any, Final

from reconciler.detection.detect import Rule
from reconciler.detection.policy import Policy
from reconciler.lines import counted
from reconciler.model import Offence, Suspect
from reconciler.passes.trial import Miss, RuleResult, Sample
from reconciler.passes.verdicts import Fate, TrialResult, Verdict
from reconciler.report.plain import plain
from reconciler.report.times import iso
from reconciler.toml import duration

SHOWN: Final = 20
"""Lines of each kind that people see without ``-v``."""


def text(tried: TrialResult, *, verbose: bool) -> Iterator[str]:
    """Yield lines for people: what each rule matched, and what would follow."""
    trial, found = tried.trial, tried.verdicts
    for result in trial.results.values():
        yield from _rule_text(result)
    if found:
        own = (f"{r.name}: {_policy(r.policy)}" for r in trial.rules if r.policy is not None)
        yield f"what would follow ({'; '.join((_policy(tried.policy), *own))})"
        shown = found if verbose else found[:SHOWN]
        width = max(len(str(verdict.address)) for verdict in shown)
        yield from (f"  {verdict.address!s:<{width}}  {follows(verdict)}" for verdict in shown)
        yield from _more(len(found) - len(shown))
    yield from (f"note: {plain(note)}" for note in tried.notes)
    sums = [sum(each) for each in zip(*map(_counts, trial.results.values()), strict=True)]
    matched, refused, almost = sums or [0, 0, 0]
    yield (
        f"{counted(trial.records, 'record')} in {tried.seconds:.2f} s"
        f" ({tried.per_second:,} a second):"
        f" {matched:,} matched, {refused:,} not counted, {almost:,} almost matched"
    )


def _rule_text(result: RuleResult) -> Iterator[str]:
    matched, refused, almost = _counts(result)
    if not (matched or refused or almost):
        needle = _needle(result.rule)
        none = f'no record contains "{needle}"' if needle else "nothing matched"
        yield f"{result.rule.name}: {none}"
        return
    sums = f"{matched:,} matched, {refused:,} not counted, {almost:,} almost matched"
    yield f"{result.rule.name}: {sums}"
    for offence in result.matches.first:
        times = f", {offence.count:,} times" if offence.count > 1 else ""
        yield f"  + {peer(offence)}{times}  {plain(offence.evidence)}"
    yield from _more(matched - len(result.matches.first), "matched")
    yield from _misses(result.refused, "x", "not counted")
    yield from _misses(result.almost, "~", "almost")


def _needle(rule: Rule) -> str:
    """Return the text that stands in every match; empty where a source judges without any."""
    return "" if rule.judged else rule.needle


def _misses(misses: Sample[Miss], sign: str, what: str) -> Iterator[str]:
    for miss in misses.first:
        yield f"  {sign} {plain(miss.text)}"
        yield f"      {what}: {plain(miss.why)}"
    yield from _more(misses.count - len(misses.first), what)


def _more(number: int, what: str = "") -> Iterator[str]:
    if number > 0:
        yield f"  and {number:,} more{what and f', {what}'}; -v shows all"


def peer(one: Offence | Suspect) -> str:
    """Return whose connection it is, and to which port of ours."""
    text = str(one.address)
    if one.peer_port is not None:
        text += f" port {one.peer_port}"
    return text if one.local_port is None else f"{text} to {one.local_port}"


def follows(verdict: Verdict) -> str:
    """Return what would follow for an address, and why."""
    many = counted(verdict.connections, "connection")
    wide = f", {verdict.why}" if verdict.why else ""
    match verdict.state:
        case Fate.BAN:
            return f"{many}: {_end(verdict)}{wide}"
        case Fate.BANNED:
            return f"{many}: already banned{wide}"
        case Fate.BELOW:
            return f"{many}: no ban, it takes {verdict.why}"
        case _:
            return f"{many}: {verdict.state.value}, {verdict.why}"


def _end(verdict: Verdict) -> str:
    if verdict.until is None:
        return "a permanent ban"
    return f"a ban until {iso(verdict.until)}"


def _policy(policy: Policy) -> str:
    many = counted(policy.threshold, "connection")
    length = (
        "permanent ban" if policy.ban_for is None else f"ban of {duration.render(policy.ban_for)}"
    )
    return f"{many} within {duration.render(policy.window)}: a {length}"


def _counts(result: RuleResult) -> tuple[int, int, int]:
    return result.matches.count, result.refused.count, result.almost.count


def json(tried: TrialResult) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "records": tried.trial.records,
        "seconds": round(tried.seconds, 6),
        "per_second": tried.per_second,
        "rules": [_rule_json(result) for result in tried.trial.results.values()],
        "addresses": [
            {
                "address": str(verdict.address),
                "rules": list(verdict.rules),
                "offences": verdict.offences,
                "connections": verdict.connections,
                "state": verdict.state.value,
                "until": iso(verdict.until),
                "why": verdict.why or None,
            }
            for verdict in tried.verdicts
        ],
        "notes": tried.notes,
    }


def _rule_json(result: RuleResult) -> dict[str, Any]:
    matched, refused, almost = _counts(result)
    return {
        "rule": result.rule.name,
        "needle": _needle(result.rule),
        "report_only": result.rule.report_only,
        "matched": matched,
        "refused": refused,
        "almost": almost,
        "matches": [
            {
                "address": str(offence.address),
                "peer_port": offence.peer_port,
                "local_port": offence.local_port,
                "count": offence.count,
                "time": iso(offence.time),
                "text": offence.evidence,
            }
            for offence in result.matches.first
        ],
        "refusals": [{"text": miss.text, "why": miss.why} for miss in result.refused.first],
        "misses": [{"text": miss.text, "why": miss.why} for miss in result.almost.first],
    }
