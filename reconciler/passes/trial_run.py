"""A trial of rules on a whole log: which rules, what is known already, and the verdicts."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from attrs import evolve

from reconciler.config.setup import Setup
from reconciler.detection import pattern, rules
from reconciler.detection.detect import Rule
from reconciler.detection.policy import Policy
from reconciler.errors import ConfigError, StoreError
from reconciler.host import listeners
from reconciler.host.deadline import Run, limited
from reconciler.interfaces import ExplainingSource, NotingSource, Source, SuspectingSource
from reconciler.passes import access
from reconciler.passes.counting import guessed
from reconciler.passes.trial import Trial
from reconciler.passes.verdicts import Facts, TrialResult, remarks, verdicts
from reconciler.planning.protection import protected
from reconciler.planning.whitelist import Exemption

_TRIED: Final = "command line"
"""The name of a rule that ``--pattern`` makes; no rule of a configuration can have it."""

_MOST: Final = 2_000_000
"""Offences that are kept, in half a gigabyte of memory, to judge who would be banned."""


def run(setup: Setup, trial: Trial, name: str) -> TrialResult:
    """Try the rules on all that a source has, and judge what they found."""
    make = setup.sources((name,))[name]
    begun = time.perf_counter()
    reading = partial(_read, setup, name, make, trial)
    notes = limited(setup.config.treason.pass_timeout, name, reading)
    seconds = time.perf_counter() - begun
    notes += [doubt for rule in trial.rules for doubt in rules.doubts(rule)]
    now = int(time.time())
    trial.offences = guessed(trial.offences, now)
    policy, known = facts(setup, trial, now, notes)
    found = verdicts(trial, policy, known, now)
    return TrialResult(trial, found, policy, seconds, [*notes, *remarks(trial, policy)])


def recalled(setup: Setup, name: str, source: Source) -> tuple[str | None, list[str]]:
    """Return the cursor of a source, and notes; a log is read from its beginning.

    One that judges what lasts gets what the last pass suspected, as far as that can be read.
    """
    if not isinstance(source, SuspectingSource):
        return None, []
    try:
        with access.opened(setup, write=False) as store:
            source.recall(store.suspects.of(name))
            return store.cursors.get(name), []
    except StoreError as error:
        return None, [f"cannot read what earlier passes saw: {error.what}"]


def _read(setup: Setup, name: str, make: Callable[[], Source], trial: Trial, run: Run) -> list[str]:
    """Try each record that the source has; return its notes."""

    def read() -> list[str]:
        source = make()
        cursor, notes = recalled(setup, name, source)
        for record in source.read(cursor, [""]):
            trial.take(record)
            if len(trial.offences) >= _MOST:
                return [f"{_MOST:,} records matched; what follows was not read"]
        if isinstance(source, ExplainingSource):
            for near in source.near_misses():
                trial.miss(near)
        return [*notes, *source.notes()] if isinstance(source, NotingSource) else notes

    return run(read)


def judged(setup: Setup, names: Sequence[str], most: int | None) -> Trial:
    """Return a trial of the rules whose offences sources judge by themselves: see `choose`."""
    named = [rules.chosen(name, setup.config.rule, setup.config.policy) for name in names]
    picked = [rule for rule in named or setup.rules if rule.judged]
    if not picked:
        raise ConfigError(
            f"no rule that sources judge by themselves is {'among these' if named else 'on'}",
            "name one: --rule zero-window",
        )
    ports = listeners.ports() if setup.config.policy.listeners_only else None
    return Trial(picked, ports=ports, most=most)


def choose(setup: Setup, tried: str | None, names: Sequence[str], most: int | None) -> Trial:
    """Return a trial of the rules that are on, or of those that were named by hand.

    ``tried`` is a pattern, ``most`` limits what is kept of each kind. Raise `ConfigError`.
    """
    policy = setup.config.policy
    ports = listeners.ports() if policy.listeners_only else None
    userspace = setup.config.trust.userspace
    if tried is None and not names:
        on = {rule.name for rule in setup.rules}
        idle = [rule for rule in rules.known() if rule.name not in on]
        matching = [rule for rule in setup.rules if not rule.judged]
        return Trial(matching, idle, userspace, ports, most)
    picked = [rules.chosen(name, setup.config.rule, policy) for name in dict.fromkeys(names)]
    if wrong := next((rule.name for rule in picked if rule.judged), None):
        raise ConfigError(
            f"rule {wrong!r} has no pattern: no log can show what it judges",
            f"look at the sockets: treason test-rule --sockets --rule {wrong}",
        )
    if tried is not None:
        try:
            read = pattern.read(tried)
        except ValueError as error:
            raise ConfigError(f"--pattern: {error}") from None
        picked.append(Rule(_TRIED, read, read.needle))
    return Trial(picked, (), userspace, ports, most, eager=True)


def facts(setup: Setup, trial: Trial, now: int, notes: list[str]) -> tuple[Policy, Facts]:
    """Read what is banned and exempt, and the policy that this makes of the one configured.

    Whoever may not read the database is told so.
    """
    try:
        with access.opened(setup, write=False) as store:
            exempt = access.protection(setup, store.clients.active(now), access.teredo(store, now))
            policy = access.apart(setup, exempt)
            subjects = {policy.subject(each.address) for each in trial.offences}
            until = store.bans.ends(subjects, now)
            ended = store.history.endings(subjects, now)
    except StoreError as error:
        notes.append(f"cannot read who is already banned: {error.what}")
        until, ended, exempt = {}, {}, protected(setup.config.protect, ())
        policy = access.apart(setup, exempt)
    listed = [
        evolve(entry, comment=f"whitelisted{_because(entry)}")
        for entry in setup.whitelist
        if entry.holds(now)
    ]
    return policy, Facts(until, ended, {entry.network: entry for entry in (*exempt, *listed)})


def _because(entry: Exemption) -> str:
    return f": {entry.comment}" if entry.comment else ""
