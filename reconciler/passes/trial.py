"""Try rules on a log: what matches, and what almost does and why not."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Generic, TypeVar

from attrs import define, evolve, field, frozen

from reconciler.detection import pattern
from reconciler.detection.detect import Rule, detect, offence
from reconciler.errors import words
from reconciler.model import NearMiss, Offence, Record

T = TypeVar("T")

_HALF: Final = 4
"""Characters of half a needle that say something about a text."""

_GLIMPSE: Final = 40
"""Characters of a line or a pattern that are shown where they part."""


@define
class Sample(Generic[T]):
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
class RuleResult:
    """What became of one rule; ``almost`` have its needle, and no rule matches them."""

    rule: Rule
    matches: Sample[Offence]
    almost: Sample[Miss]
    refused: Sample[Miss]


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
    results: dict[str, RuleResult] = field(init=False)
    offences: list[Offence] = field(factory=list, init=False)
    idle_matches: Counter[str] = field(factory=Counter, init=False)
    unproven: int = field(default=0, init=False)
    _seen: set[int] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self.results = {
            rule.name: RuleResult(rule, Sample(self.most), Sample(self.most), Sample(self.most))
            for rule in self.rules
        }

    def take(self, record: Record) -> None:
        """Try the rules in order, as `detect` does."""
        self.records += 1
        text = record.text
        if record.judgement is not None:
            if found := detect(record, self.rules):
                self._matched(self.results[found.rule], record, found)
            return
        near = [rule for rule in self.rules if rule.needle in text]
        for rule in near:
            if match := rule.pattern.fullmatch(text):
                try:
                    self._matched(self.results[rule.name], record, offence(record, rule, match))
                except ValueError as error:
                    self._refuse(self.results[rule.name], text, words(error).partition("\n")[0])
                return
        for rule in [rule for rule in self.rules if self._resembles(rule, text)]:
            self._almost(self.results[rule.name], text)
        for rule in self.idle:
            if rule.needle in text and rule.pattern.fullmatch(text):
                self.idle_matches[rule.name] += 1
                break

    def miss(self, near: NearMiss) -> None:
        """Take what a source says of what came near an offence."""
        if near.rule in self.results:
            self.results[near.rule].almost.add(lambda: Miss(near.text, near.why))

    def _matched(self, result: RuleResult, record: Record, found: Offence) -> None:
        if not (found.trusted or self.userspace):
            self._refuse(result, record.text, _unvouched(record))
        elif self.ports is None or found.local_port is None or found.local_port in self.ports:
            result.matches.add(lambda: found)
            self.unproven += record.facility is None and record.judgement is None
            if self._is_new(found):
                self.offences.append(evolve(found, evidence=""))  # it would be most of the memory
        else:
            why = (
                f"nothing listens on port {found.local_port} here, so this machine called the peer"
            )
            self._refuse(result, record.text, why)

    def _is_new(self, found: Offence) -> bool:
        """Whether it is no record that the log has twice."""
        if found.stamp is None:
            return True
        sign = hash((found.stamp, found.count, found.boot, found.time))
        known = sign in self._seen
        self._seen.add(sign)
        return not known

    def _resembles(self, rule: Rule, text: str) -> bool:
        """Whether the text is worth a word, although the rule does not match it."""
        if not rule.needle:
            return rule.pattern.search(text) is not None
        half = len(rule.needle) // 2
        if self.eager and half >= _HALF:
            return rule.needle[:half] in text or rule.needle[half:] in text
        return rule.needle in text

    @staticmethod
    def _refuse(result: RuleResult, text: str, why: str) -> None:
        result.refused.add(lambda: Miss(text, why))

    @staticmethod
    def _almost(result: RuleResult, text: str) -> None:
        result.almost.add(lambda: Miss(text, explained(result.rule, text)))


def explained(rule: Rule, text: str) -> str:
    """Return why the rule does not match a text that has its needle."""
    if len(text) > pattern.LONGEST_RECORD:
        return f"has {len(text):,} characters; no record of the kernel is so long"
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
    """Return up to where the text fits, as far as the pattern is a row of parts."""
    theirs = isinstance(rule.pattern, pattern.UserPattern)
    compile_ = pattern.compiled if theirs else re.compile
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
    """Return how many parts from the first on match the text's beginning, and where that ends."""
    low, high, end = 0, len(parts), 0
    while low < high - 1:
        middle = (low + high) // 2
        match = compile_("".join(parts[:middle])).match(text)
        low, high, end = (middle, high, match.end()) if match else (low, middle, end)
    return low, end


def _unvouched(record: Record) -> str:
    if record.facility:
        return f"written by a process, not by the kernel: its facility is {record.facility}, not 0"
    return "not verifiably written by the kernel"


def _glimpse(text: str) -> str:
    return f'"{text}"' if len(text) <= _GLIMPSE else f'"{text[: _GLIMPSE - 3]}..."'
