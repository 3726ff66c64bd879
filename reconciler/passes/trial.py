"""Try rules on a log: what matches, what almost does and why not, and what would follow."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from attrs import define, evolve, field, frozen

from reconciler.detection import pattern
from reconciler.detection.detect import Rule, offence
from reconciler.detection.policy import Past, Policy, decide, later
from reconciler.errors import InvalidNetwork
from reconciler.model import Offence, Record
from reconciler.network import Network
from reconciler.planning.whitelist import Exemption
from reconciler.toml import duration

T = TypeVar("T")

_HALF: Final = 4
"""Characters of half a needle that say something about a text."""

_GLIMPSE: Final = 40
"""Characters of a line or a pattern that are shown where they part."""


@define
class Some(Generic[T]):
    """How many there were, and the first of them."""

    most: int | None
    count: int = 0
    first: list[T] = field(factory=list)

    def add(self, make: Callable[[], T], count: int = 1) -> None:
        """Count; keep what ``make`` gives while there is room."""
        self.count += count
        if self.most is None or len(self.first) < self.most:
            self.first.append(make())


@frozen
class Miss:
    """A text that a rule does not match, or that is refused, and why."""

    text: str
    why: str


@define
class Outcome:
    """What became of one rule; ``almost`` have its needle, and no rule matches them."""

    rule: Rule
    matches: Some[Offence]
    almost: Some[Miss]
    refused: Some[Miss]


@define
class Trial:
    """Takes records one by one. ``most`` of each kind are kept for each rule, None: all.

    ``idle`` rules are only counted, in records that none of ``rules`` matches. ``userspace``
    believes what a process wrote; only connections to ``ports`` count, unless it is None.
    ``eager`` takes also what holds no more than half of a needle for an almost.
    """

    rules: Sequence[Rule]
    idle: Sequence[Rule] = ()
    userspace: bool = False
    ports: Collection[int] | None = None
    most: int | None = None
    eager: bool = False
    records: int = field(default=0, init=False)
    outcomes: dict[str, Outcome] = field(init=False)
    offences: list[Offence] = field(factory=list, init=False)
    idle_matches: Counter[str] = field(factory=Counter, init=False)

    def __attrs_post_init__(self) -> None:
        self.outcomes = {
            rule.name: Outcome(rule, Some(self.most), Some(self.most), Some(self.most))
            for rule in self.rules
        }

    def take(self, record: Record) -> None:
        """Try the rules in order, as `detect` does."""
        self.records += 1
        text = record.text
        near = [rule for rule in self.rules if rule.needle in text]
        for rule in near:
            if match := rule.pattern.fullmatch(text):
                try:
                    self._matched(self.outcomes[rule.name], record, offence(record, rule, match))
                except ValueError as error:
                    self._refuse(self.outcomes[rule.name], text, _said(error))
                return
        for rule in [rule for rule in self.rules if self._resembles(rule, text)]:
            self._almost(self.outcomes[rule.name], text)
        for rule in self.idle:
            if rule.needle in text and rule.pattern.fullmatch(text):
                self.idle_matches[rule.name] += 1
                break

    def _matched(self, outcome: Outcome, record: Record, found: Offence) -> None:
        if not (found.trusted or self.userspace):
            self._refuse(outcome, record.text, _unvouched(record))
        elif self.ports is None or found.local_port is None or found.local_port in self.ports:
            outcome.matches.add(lambda: found)
            self.offences.append(evolve(found, evidence=""))  # it would be most of the memory
        else:
            why = (
                f"nothing listens on port {found.local_port} here, so this machine called the peer"
            )
            self._refuse(outcome, record.text, why)

    def _resembles(self, rule: Rule, text: str) -> bool:
        """Whether the text is worth a word, although the rule does not match it."""
        if not rule.needle:
            return rule.pattern.search(text) is not None
        half = len(rule.needle) // 2
        if self.eager and half >= _HALF:
            return rule.needle[:half] in text or rule.needle[half:] in text
        return rule.needle in text

    @staticmethod
    def _refuse(outcome: Outcome, text: str, why: str) -> None:
        outcome.refused.add(lambda: Miss(text, why))

    @staticmethod
    def _almost(outcome: Outcome, text: str) -> None:
        outcome.almost.add(lambda: Miss(text, explained(outcome.rule, text)))


class State(Enum):
    """What would become of an address."""

    BAN = "ban"
    BANNED = "already banned"
    BELOW = "below the threshold"
    REPORT = "report only"
    EXEMPT = "never dropped"


@frozen
class Verdict:
    """What would become of an address, and why.

    ``connections`` are distinct ones. ``until`` is the end of the ban in epoch seconds, None for
    good, where ``state`` is one of a ban.
    """

    address: Network
    rules: tuple[str, ...]
    offences: int
    connections: int
    state: State
    why: str = ""
    until: int | None = None


@frozen
class Known:
    """What is known of addresses already: active bans with their ends, past ones, exemptions."""

    until: Mapping[Network, int | None] = field(factory=dict)
    ended: Mapping[Network, int] = field(factory=dict)
    exempt: Mapping[Network, Exemption] = field(factory=dict)


def verdicts(trial: Trial, policy: Policy, known: Known, now: int) -> list[Verdict]:
    """Say what would follow for each address; the most offences come first.

    The log is judged by itself, without the offences that are stored.
    """
    rules = {rule.name: rule for rule in trial.rules}
    own = {name: rule.policy for name, rule in rules.items() if rule.policy is not None}
    counting = [each for each in trial.offences if not rules[each.rule].report_only]
    bans = decide(counting, Past((), known.ended), policy, now, own)
    judge = _Judge(rules, policy, {ban.network: ban.until for ban in bans}, known)
    of: defaultdict[Network, list[Offence]] = defaultdict(list)
    for each in trial.offences:
        of[each.address].append(each)
    found = [judge.verdict(address, offences) for address, offences in of.items()]
    return sorted(found, key=lambda verdict: (-verdict.offences, verdict.address))


@frozen
class _Judge:
    """All that the verdict about an address depends on besides its offences."""

    rules: Mapping[str, Rule]
    policy: Policy
    bans: Mapping[Network, int | None]
    known: Known

    def verdict(self, address: Network, offences: Sequence[Offence]) -> Verdict:
        names = tuple(dict.fromkeys(each.rule for each in offences))
        count = sum(each.count for each in offences)
        verdict = Verdict(address, names, count, _connections(offences), State.BAN)
        subject = self.policy.subject(address)
        if all(self.rules[name].report_only for name in names):
            return evolve(verdict, state=State.REPORT, why="its rule causes no ban")
        if subject not in self.bans:
            return evolve(verdict, state=State.BELOW, why=self._wanted(names))
        for network in (address, *address.supernets):
            if network in self.known.exempt:
                why = self.known.exempt[network].comment or "whitelisted"
                return evolve(verdict, state=State.EXEMPT, why=why)
        until = self.bans[subject]
        held = self.known.until
        wide = "" if subject == address else f"counted and banned as {subject}"
        if subject in held and not later(until, held[subject]):
            return evolve(verdict, state=State.BANNED, why=wide, until=held[subject])
        return evolve(verdict, why=wide, until=until)

    def _wanted(self, names: Iterable[str]) -> str:
        """Say how many connections the policies of these rules want."""
        banning = [self.rules[name] for name in names if not self.rules[name].report_only]
        wanted = dict.fromkeys(rule.policy or self.policy for rule in banning)
        return " or ".join(f"{w.threshold} within {duration.render(w.window)}" for w in wanted)


def _connections(offences: Iterable[Offence]) -> int:
    return len(
        {
            (each.peer_port, each.local_port) if each.peer_port is not None else number
            for number, each in enumerate(offences)
        }
    )


def explained(rule: Rule, text: str) -> str:
    """Say why the rule does not match a text that has its needle."""
    if len(text) > pattern.LONGEST_RECORD:
        return f"has {len(text)} characters; no record of the kernel is so long"
    if part := rule.pattern.search(text):
        start, end = part.span()
        ahead = f"ahead of that stands {_glimpse(text[:start])}" if start else ""
        behind = f"behind that stands {_glimpse(text[end:])}" if end < len(text) else ""
        where = " and ".join(filter(None, (ahead, behind)))
        theirs = isinstance(rule.pattern, pattern.UserPattern)
        advice = "; end it with .* to allow more" if theirs and behind and not ahead else ""
        return f"the pattern matches only a part of the line: {where}{advice}"
    return _parting(rule, text)


def _parting(rule: Rule, text: str) -> str:
    """Say up to where the text fits, as far as the pattern is a row of parts."""
    compile_ = re.compile if isinstance(rule.pattern, re.Pattern) else pattern.compiled
    parts = pattern.parts(rule.pattern.pattern)
    fits, end = _longest(parts, compile_, text)
    if len(parts) == 1:
        return "no part of the line matches the pattern"
    wanted = _glimpse("".join(parts[fits:]))
    if not fits:
        return f"does not begin with {wanted}"
    there = f"there is {_glimpse(text[end:])}" if end < len(text) else "the line ends"
    return f"fits up to character {end}; there the pattern wants {wanted}, and {there}"


def _longest(parts: Sequence[str], compile_: Callable[[str], Any], text: str) -> tuple[int, int]:
    """Give how many parts from the first on match the text's beginning, and where that ends."""
    low, high, end = 0, len(parts), 0
    while low < high - 1:
        middle = (low + high) // 2
        match = compile_("".join(parts[:middle])).match(text)
        low, high, end = (middle, high, match.end()) if match else (low, middle, end)
    return low, end


def _unvouched(record: Record) -> str:
    if record.facility:
        return f"a process wrote it, not the kernel: its facility is {record.facility}, not 0"
    return "nobody vouches that the kernel wrote it"


def _said(error: ValueError) -> str:
    return error.what if isinstance(error, InvalidNetwork) else str(error)


def _glimpse(text: str) -> str:
    return f'"{text}"' if len(text) <= _GLIMPSE else f'"{text[: _GLIMPSE - 3]}..."'
