"""The command that tries rules on a log: ``test-rule``. It writes nothing, nowhere."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import click
from attrs import evolve

from reconciler.cli.console import OK, plain
from reconciler.cli.ending import emit
from reconciler.cli.options import output_format, verbose, verbosity
from reconciler.config.setup import Session
from reconciler.detection import pattern, rules
from reconciler.detection.detect import Rule
from reconciler.detection.policy import Policy
from reconciler.errors import ConfigError, StoreError
from reconciler.host import listeners
from reconciler.interfaces import Noting
from reconciler.model import Offence
from reconciler.passes.trial import Known, Miss, Outcome, Some, State, Trial, Verdict, verdicts
from reconciler.planning.protection import protected
from reconciler.planning.whitelist import Exemption
from reconciler.report import text
from reconciler.toml import duration

_SHOWN: Final = 20
_TRIED: Final = "command line"
"""The name of a rule that ``--pattern`` makes; no rule of a configuration can have it."""


@click.command("test-rule")
@click.argument("log", metavar="[FILE|-]", required=False)
@click.option("--pattern", "tried", metavar="REGEX", help="Try this pattern instead of the rules.")
@click.option(
    "--rule", "names", multiple=True, metavar="NAME",
    help="Try this rule, on or off, instead of those that are on. Repeatable.",
)  # fmt: skip
@output_format
@verbosity
@click.pass_obj
def test_rule(
    session: Session, log: str | None, tried: str | None, names: tuple[str, ...], form: str
) -> int:
    """Try the rules on a log, and tell what matches, what almost does, and what would follow.

    It reads a saved log in any shape, or standard input, and changes nothing anywhere.
    """
    if log is None and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("name a log, or pipe one in: journalctl -k | treason test-rule")
    trial = _trial(session, tried, names)
    name = f"file:{log or '-'}"
    source = session.sources((name,))[name]()
    begun = time.perf_counter()
    for record in source.read(None, [""]):
        trial.take(record)
    seconds = time.perf_counter() - begun
    notes = [*source.notes()] if isinstance(source, Noting) else []
    notes += [doubt for rule in trial.rules for doubt in rules.doubts(rule)]
    known = _known(session, trial, notes)
    found = verdicts(trial, session.config.policy, known, session.now)
    notes += _notes(trial, session.config.policy)
    emit(
        form,
        lambda: _json(trial, found, seconds, notes),
        _text(trial, found, seconds, notes, session),
    )
    return OK


def _trial(session: Session, tried: str | None, names: Sequence[str]) -> Trial:
    """Choose the rules, and check what was given by hand."""
    policy = session.config.policy
    ports = listeners.ports() if policy.listeners_only else None
    most = None if verbose() else _SHOWN
    userspace = session.config.trust.userspace
    if tried is None and not names:
        on = {rule.name for rule in session.rules}
        idle = [rule for rule in rules.known() if rule.name not in on]
        return Trial(session.rules, idle, userspace, ports, most)
    picked = [rules.chosen(name, session.config.rule, policy) for name in dict.fromkeys(names)]
    if tried is not None:
        try:
            read = pattern.read(tried)
        except ValueError as error:
            raise ConfigError(f"--pattern: {error}") from None
        picked.append(Rule(_TRIED, read, read.needle))
    return Trial(picked, (), userspace, ports, most, eager=True)


def _known(session: Session, trial: Trial, notes: list[str]) -> Known:
    """Read what is banned and exempt; whoever may not read the database is told so."""
    subjects = {session.config.policy.subject(each.address) for each in trial.offences}
    try:
        with session.store(write=False) as store:
            until = store.bans.ends(subjects, session.now)
            ended = store.history.endings(subjects, session.now)
            exempt = session.protection(store)
    except StoreError as error:
        notes.append(f"not told: who is banned already. {error.what}")
        until, ended, exempt = {}, {}, protected(session.config.protect, ())
    listed = [evolve(entry, comment=f"whitelisted{_because(entry)}") for entry in session.whitelist]
    return Known(until, ended, {entry.network: entry for entry in (*exempt, *listed)})


def _because(entry: Exemption) -> str:
    return f": {entry.comment}" if entry.comment else ""


def _notes(trial: Trial, policy: Policy) -> Iterator[str]:
    for rule in trial.rules:
        if rule.sources:
            yield f"rule {rule.name!r} is only for records of {', '.join(rule.sources)}"
    counting = any((rule.policy or policy).threshold > 1 for rule in trial.rules)
    untimed = sum(offence.time is None for offence in trial.offences)
    if counting and untimed:
        some = f"{untimed} of {len(trial.offences)} matches"
        yield f"{some} tell no time with a year and a zone, and count as if they happened now"
    for name, count in trial.idle_matches.items():
        yield f"rule {name!r} is off, and would match {count}: see --rule {name}"


def _text(
    trial: Trial, found: list[Verdict], seconds: float, notes: list[str], session: Session
) -> Iterator[str]:
    for outcome in trial.outcomes.values():
        yield from _rule_text(outcome)
    if found:
        own = (f"{r.name}: {_policy(r.policy)}" for r in trial.rules if r.policy is not None)
        yield f"what would follow ({'; '.join((_policy(session.config.policy), *own))})"
        shown = found if verbose() else found[:_SHOWN]
        width = max(len(str(verdict.address)) for verdict in shown)
        yield from (f"  {verdict.address!s:<{width}}  {_follows(verdict)}" for verdict in shown)
        yield from _more(len(found) - len(shown))
    yield from (f"note: {plain(note)}" for note in notes)
    sums = [sum(each) for each in zip(*map(_counts, trial.outcomes.values()), strict=True)]
    matched, refused, almost = sums or [0, 0, 0]
    yield (
        f"{trial.records} records in {seconds:.2f} s ({_rate(trial, seconds)} a second):"
        f" {matched} matched, {refused} refused, {almost} almost matched"
    )


def _rule_text(outcome: Outcome) -> Iterator[str]:
    matched, refused, almost = _counts(outcome)
    if not (matched or refused or almost):
        needle = outcome.rule.needle
        yield f"{outcome.rule.name}: nothing" + (f', no record holds "{needle}"' if needle else "")
        return
    yield f"{outcome.rule.name}: {matched} matched, {refused} refused, {almost} almost matched"
    for offence in outcome.matches.first:
        yield f"  + {_peer(offence)}  {plain(offence.evidence)}"
    yield from _more(matched - len(outcome.matches.first), "matched")
    yield from _misses(outcome.refused, "x", "refused")
    yield from _misses(outcome.almost, "~", "almost")


def _misses(misses: Some[Miss], sign: str, what: str) -> Iterator[str]:
    for miss in misses.first:
        yield f"  {sign} {plain(miss.text)}"
        yield f"      {what}: {plain(miss.why)}"
    yield from _more(misses.count - len(misses.first), what)


def _more(number: int, what: str = "") -> Iterator[str]:
    if number > 0:
        yield f"  and {number} more{what and f', {what}'}; -v shows all"


def _peer(offence: Offence) -> str:
    peer = str(offence.address)
    if offence.peer_port is not None:
        peer += f" port {offence.peer_port}"
    if offence.local_port is not None:
        peer += f" to {offence.local_port}"
    return peer if offence.count == 1 else f"{peer}, {offence.count} times"


def _follows(verdict: Verdict) -> str:
    many = "connection" if verdict.connections == 1 else "connections"
    counted = f"{verdict.connections} {many}"
    wide = f", {verdict.why}" if verdict.why else ""
    match verdict.state:
        case State.BAN:
            return f"{counted}: {_end(verdict)}{wide}"
        case State.BANNED:
            return f"{counted}: is banned already{wide}"
        case State.BELOW:
            return f"{counted}: no ban, which takes {verdict.why}"
        case _:
            return f"{counted}: {verdict.state.value}, {verdict.why}"


def _end(verdict: Verdict) -> str:
    if verdict.until is None:
        return "a ban for good"
    return f"a ban until {text.iso(verdict.until)}"


def _policy(policy: Policy) -> str:
    many = "connection" if policy.threshold == 1 else "connections"
    end = "for good" if policy.ban_for is None else f"for {duration.render(policy.ban_for)}"
    return f"{policy.threshold} {many} within {duration.render(policy.window)}: a ban {end}"


def _counts(outcome: Outcome) -> tuple[int, int, int]:
    return outcome.matches.count, outcome.refused.count, outcome.almost.count


def _rate(trial: Trial, seconds: float) -> int:
    return round(trial.records / seconds) if seconds else 0


def _json(
    trial: Trial, found: Iterable[Verdict], seconds: float, notes: list[str]
) -> dict[str, Any]:
    return {
        "records": trial.records,
        "seconds": round(seconds, 6),
        "per_second": _rate(trial, seconds),
        "rules": [_rule_json(outcome) for outcome in trial.outcomes.values()],
        "addresses": [
            {
                "address": str(verdict.address),
                "rules": list(verdict.rules),
                "offences": verdict.offences,
                "connections": verdict.connections,
                "state": verdict.state.value,
                "until": text.iso(verdict.until),
                "why": verdict.why or None,
            }
            for verdict in found
        ],
        "notes": notes,
    }


def _rule_json(outcome: Outcome) -> dict[str, Any]:
    matched, refused, almost = _counts(outcome)
    return {
        "rule": outcome.rule.name,
        "needle": outcome.rule.needle,
        "report_only": outcome.rule.report_only,
        "matched": matched,
        "refused": refused,
        "almost": almost,
        "matches": [
            {
                "address": str(offence.address),
                "peer_port": offence.peer_port,
                "local_port": offence.local_port,
                "count": offence.count,
                "time": text.iso(offence.time),
                "text": offence.evidence,
            }
            for offence in outcome.matches.first
        ],
        "refusals": [{"text": miss.text, "why": miss.why} for miss in outcome.refused.first],
        "misses": [{"text": miss.text, "why": miss.why} for miss in outcome.almost.first],
    }
