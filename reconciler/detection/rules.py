"""``[[rule]]``: which rules are on, of those in the program and those in the configuration."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, field, fields, frozen
from attrs.validators import min_len, optional

from reconciler.detection import pattern
from reconciler.detection.detect import CONFIRMATIONS, FIREWALL, NONE, RULES, SOCKET, Rule, judged
from reconciler.detection.pattern import UserPattern
from reconciler.detection.policy import Policy
from reconciler.errors import ConfigError
from reconciler.interfaces import Spec
from reconciler.toml import schema
from reconciler.toml.schema import Problem, setting

_POLICY: Final = ("threshold", "window", "ban_for", "escalate", "max_ban")
"""The keys of ``[policy]`` that a rule may set for itself."""

_SHORT: Final = 3
"""Characters of a needle that leaves out enough."""

_PREFIXED: Final = "netfilter-log"
"""The rule that needs a prefix to ban anybody."""

_RESERVED: Final = ("manual", "badips")
"""Origins of bans that no rule caused."""


def _name(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text):
        raise ValueError(f"{text!r} is not a valid name: use letters, digits, '-', '_' and '.'")
    if text in _RESERVED:
        raise ValueError(f"{text!r} is reserved for bans that no rule caused: choose another name")
    return text


def _prefix(text: object) -> str:
    from reconciler.detection import ready  # noqa: PLC0415 - most configurations have none

    return ready.read_prefix(text)


def _confirm(text: object) -> str:
    if text in CONFIRMATIONS:
        return str(text)
    ways = ", ".join(map(repr, CONFIRMATIONS))
    raise ValueError(f"{text!r} is no way to confirm a message: write one of {ways}")


def _text(given: UserPattern | None) -> object:
    return None if given is None else given.pattern


@frozen
class RuleTable:
    """One ``[[rule]]``.

    Without ``pattern`` it changes the built-in or ready rule of that name, or switches it on or
    off; what is None stays as that rule has it. One that is neither is a rule whose offences its
    ``sources`` judge by themselves. ``prefix`` is what netfilter's messages begin with, ``policy``
    holds the keys of `Policy` that it sets, ``confirm`` is that of `Rule`.
    """

    name: str = setting("", _name)
    pattern: UserPattern | None = setting(None, pattern.read, _text)
    prefix: str | None = setting(None, _prefix)
    sources: tuple[str, ...] | None = field(default=None, validator=optional(min_len(1)))
    enabled: bool = True
    report_only: bool | None = None
    confirm: str | None = setting(None, _confirm)
    policy: Mapping[str, Any] = field(factory=dict)


_OWN: Final = tuple(each.name for each in fields(RuleTable) if each.name != "policy")
KEYS: Final = (*_OWN, *_POLICY)
"""What a table may hold."""


def read(rows: object) -> tuple[RuleTable, ...]:
    """Read the tables; raise `schema.Refused` with what is wrong in any of them."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TypeError("must be tables, each written as [[rule]]")
    tables, problems = [], _misnamed(rows)
    for number, row in enumerate(rows, 1):
        try:
            tables.append(_table(row, (_place(number),)))
        except schema.Refused as error:
            problems += error.problems
    if problems:
        raise schema.Refused(problems)
    return tuple(tables)


def write(tables: Iterable[RuleTable]) -> list[dict[str, Any]]:
    """Return the tables as `read` takes them."""
    rows = []
    for table in tables:
        policy = schema.plain(evolve(Policy(), **table.policy))
        row = schema.plain(table) | {key: policy[key] for key in table.policy}
        rows.append({key: row[key] for key in KEYS if row.get(key) is not None})
    return rows


def active(tables: Sequence[RuleTable], policy: Policy) -> tuple[Rule, ...]:
    """Return the rules that are on: the built-in ones, then the others in the order of the tables.

    The first that matches a record decides. A rule that sets a key of ``policy`` for itself has a
    policy of its own, in which the others are as in ``policy``.
    """
    named = {table.name: table for table in tables}
    rules = [*RULES, *(_rule(table) for table in tables if table.name not in _names(RULES))]
    return tuple(
        _changed(rule, named[rule.name], policy) if rule.name in named else rule
        for rule in rules
        if rule.name not in named or named[rule.name].enabled
    )


def known() -> tuple[Rule, ...]:
    """Return the built-in and the ready rules."""
    from reconciler.detection.ready import READY  # noqa: PLC0415 - most configurations name none

    return (*RULES, *READY)


def unknown_sources(tables: Iterable[RuleTable], kinds: Collection[str]) -> list[Problem]:
    """Return which tables name a source that there is not: such a rule would never match."""
    return [
        Problem((_place(number),), "sources", f"sources: {schema.unknown('source', name, kinds)}")
        for number, table in enumerate(tables, 1)
        for name in table.sources or ()
        if Spec.parse(name).name not in kinds
    ]


def chosen(name: str, tables: Sequence[RuleTable], policy: Policy) -> Rule:
    """Return the rule of that name, be it on or off; raise `ConfigError` if there is none."""
    listed = [evolve(table, enabled=True) for table in tables]
    rules = {rule.name: rule for rule in (*known(), *active(listed, policy))}
    if name not in rules:
        raise ConfigError(schema.unknown("rule", name, rules), f"known: {', '.join(rules)}")
    return rules[name]


def unprefixed(tables: Iterable[RuleTable]) -> list[Problem]:
    """Return which tables lack the prefix without which their rule bans nobody."""
    return [
        Problem(
            (_place(number),),
            "prefix",
            f"prefix: is missing, so {table.name} only reports: any rule of the firewall that logs"
            " a packet would ban its sender; name the one that is meant, as in prefix = 'DROP: '",
        )
        for number, table in enumerate(tables, 1)
        if table.enabled and _lacks_prefix(table)
    ]


def doubts(rule: Rule) -> list[str]:
    """Return what is allowed in a rule of the administrator's own, and seldom meant."""
    if rule.judged and rule.name not in _names(RULES):
        by = ", ".join(rule.sources)
        return [f"rule {rule.name!r} has no pattern: only what {by} judges by itself counts for it"]
    if not isinstance(rule.pattern, UserPattern):
        return []
    said = []
    if len(rule.needle) < _SHORT:
        said.append(
            f"rule {rule.name!r}: no text of {_SHORT} characters stands in every match, so every"
            " record is matched: large logs take longer"
        )
    if rule.pattern.pattern.startswith((".*", ".+")):
        said.append(
            f"rule {rule.name!r}: anything may stand ahead of it, so the same words inside another"
            " message match, too"
        )
    return said


def _place(number: int) -> str:
    """Name a table in what is said of it."""
    return f"rule {number}"


def _table(row: Mapping[str, Any], tables: tuple[str, ...]) -> RuleTable:
    problems: list[Problem] = [
        Problem(tables, key, schema.unknown("key", key, KEYS)) for key in row if key not in KEYS
    ]
    own = {key: value for key, value in row.items() if key in _OWN}
    policy = {key: value for key, value in row.items() if key in _POLICY}
    if "name" not in row:
        problems.append(Problem(tables, "name", "name: is missing"))
    try:
        made = schema.fill(RuleTable, own, tables)
    except schema.Refused as error:
        problems += error.problems
    else:
        if reason := _unconfirmable(made):
            problems.append(Problem(tables, "confirm", f"confirm: {reason}"))
    try:
        filled = schema.fill(Policy, policy, tables)
    except schema.Refused as error:
        problems += error.problems
    if problems:
        raise schema.Refused(problems)
    return evolve(made, policy={key: getattr(filled, key) for key in policy})


def _unconfirmable(table: RuleTable) -> str:
    """Return why the messages of a rule cannot be confirmed as told; empty if they can."""
    rule = _rule(table)
    if table.confirm is not None and rule.judged:
        return f"{table.name!r} is for no messages: its sources judge by themselves"
    if table.confirm == FIREWALL and table.pattern is None and rule.confirm != FIREWALL:
        return f"the messages of {table.name!r} are not the firewall's"
    if table.confirm != SOCKET:
        return ""
    missing = [
        name for name in ("peer_port", "local_port") if f"<{name}>" not in rule.pattern.pattern
    ]
    if not missing:
        return ""
    groups = " and no group ".join(missing)
    return f"a socket is found by both ports: the pattern has no group {groups}"


def silenced(
    tables: Sequence[RuleTable], policy: Policy, ways: Collection[str] = (NONE,)
) -> list[Rule]:
    """Return the rules that would ban but for `confirm`, which their tables do not mention.

    An older configuration has them: it knew of no confirmation. ``ways`` are those by which nothing
    is confirmed here.
    """
    unsaid = {table.name for table in tables if table.confirm is None}
    return [
        rule
        for rule in active(tables, policy)
        if rule.name in unsaid and rule.confirm in ways and not (rule.judged or rule.report_only)
    ]


def _misnamed(rows: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """Return which names are there twice, are taken, or are nobody's."""
    problems: list[Problem] = []
    first: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        name, tables = row.get("name"), (_place(number),)
        if not isinstance(name, str):
            continue
        if first.setdefault(name, number) != number:
            reason = f"name: {name!r} is the name of rule {first[name]}, too"
            problems.append(Problem(tables, "name", reason))
        elif "prefix" in row and name != _PREFIXED:
            reason = f"prefix: is only for the rule {_PREFIXED!r}, not for {name!r}"
            problems.append(Problem(tables, "prefix", reason))
        elif "pattern" in row and name in _names(known()):
            reason = (
                f"pattern: {name!r} is a rule of treason itself: choose another name, or leave"
                " the pattern out to change that one"
            )
            problems.append(Problem(tables, "pattern", reason))
        elif "pattern" not in row and name not in _names(known()):
            reason = schema.unknown("rule", name, _names(known()))
            if not reason.endswith("?"):
                if "sources" in row:
                    continue
                reason += ": one of your own needs a pattern, or sources that judge by themselves"
            problems.append(Problem(tables, "name", f"name: {reason}"))
    return problems


def _names(rules: Iterable[Rule]) -> list[str]:
    return [rule.name for rule in rules]


def _lacks_prefix(table: RuleTable) -> bool:
    return table.name == _PREFIXED and table.prefix is None


def _rule(table: RuleTable) -> Rule:
    if table.pattern is not None:
        return Rule(table.name, table.pattern, table.pattern.needle)
    if table.prefix is not None:
        from reconciler.detection import ready  # noqa: PLC0415 - as above

        return ready.prefixed(table.prefix)
    named = (rule for rule in known() if rule.name == table.name)
    return next(named, judged(table.name, None, table.sources or ()))


def _changed(rule: Rule, table: RuleTable, policy: Policy) -> Rule:
    keeps = table.report_only is None or _lacks_prefix(table)
    return evolve(
        rule,
        sources=rule.sources if table.sources is None else table.sources,
        policy=evolve(rule.policy or policy, **table.policy) if table.policy else rule.policy,
        report_only=rule.report_only if keeps else bool(table.report_only),
        confirm=table.confirm or rule.confirm,
    )
