"""What would become of each address that a trial of rules found."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum

from attrs import evolve, field, frozen

from reconciler.detection.detect import NONE, Rule
from reconciler.detection.policy import Past, Policy, decide, later
from reconciler.lines import counted
from reconciler.model import Offence
from reconciler.network import Network
from reconciler.passes.trial import Trial
from reconciler.planning.whitelist import Exemption
from reconciler.toml import duration


class Fate(Enum):
    """What would become of an address."""

    BAN = "ban"
    BANNED = "already banned"
    BELOW = "below the threshold"
    REPORT = "report only"
    EXEMPT = "never dropped"


@frozen
class Verdict:
    """What would become of an address, and why.

    ``connections`` are distinct ones. ``until`` is the end of the ban in epoch seconds, None for a
    permanent ban; it counts where ``state`` is one of a ban.
    """

    address: Network
    rules: tuple[str, ...]
    offences: int
    connections: int
    state: Fate
    why: str = ""
    until: int | None = None


@frozen
class Facts:
    """What is known already: active bans with their ends, past ones, what is exempt."""

    until: Mapping[Network, int | None] = field(factory=dict)
    ended: Mapping[Network, int] = field(factory=dict)
    exempt: Mapping[Network, Exemption] = field(factory=dict)


def verdicts(trial: Trial, policy: Policy, known: Facts, now: int) -> list[Verdict]:
    """Return what would follow for each address; the most offences come first.

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
    known: Facts

    def verdict(self, address: Network, offences: Sequence[Offence]) -> Verdict:
        names = tuple(dict.fromkeys(each.rule for each in offences))
        count = sum(each.count for each in offences)
        verdict = Verdict(address, names, count, _connections(offences), Fate.BAN)
        subject = self.policy.subject(address)
        if all(self.rules[name].report_only for name in names):
            return evolve(verdict, state=Fate.REPORT, why="its rule causes no ban")
        if subject not in self.bans:
            return evolve(verdict, state=Fate.BELOW, why=self._wanted(names))
        for network in (address, *address.supernets):
            if network in self.known.exempt:
                why = self.known.exempt[network].comment or "whitelisted"
                return evolve(verdict, state=Fate.EXEMPT, why=why)
        until = self.bans[subject]
        held = self.known.until
        wide = "" if subject == address else f"counted and banned as {subject}"
        if subject in held and not later(until, held[subject]):
            return evolve(verdict, state=Fate.BANNED, why=wide, until=held[subject])
        return evolve(verdict, why=wide, until=until)

    def _wanted(self, names: Iterable[str]) -> str:
        """Return how many connections the policies of these rules want."""
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


@frozen
class TrialResult:
    """A trial of rules on a whole log: what would follow, and what there is to say besides.

    ``policy`` is the one that the verdicts went by; reading took ``seconds``.
    """

    trial: Trial
    verdicts: list[Verdict]
    policy: Policy
    seconds: float
    notes: list[str]

    @property
    def per_second(self) -> int:
        """How many records were read in a second."""
        return round(self.trial.records / self.seconds) if self.seconds else 0


def remarks(trial: Trial, policy: Policy) -> Iterator[str]:
    """Yield what should be known about the verdicts."""
    named = {offence.rule for offence in trial.offences}
    for rule in trial.rules:
        if rule.sources and not rule.judged:
            yield f"rule {rule.name!r} is only for records of {', '.join(rule.sources)}"
        if rule.name in named and rule.confirm == NONE and not (rule.judged or rule.report_only):
            yield (
                f"rule {rule.name!r} only reports what kmsg, journal and dmesg bring, since nothing"
                ' confirms that: confirm = "never" lets it ban'
            )
    counting = any((rule.policy or policy).threshold > 1 for rule in trial.rules)
    untimed = sum(offence.time is None for offence in trial.offences)
    if counting and untimed:
        some = f"{untimed:,} of {counted(len(trial.offences), 'match')}"
        yield f"{some} tell no time with a year and a zone, and count as if they happened now"
    for name, count in trial.idle_matches.items():
        yield f"rule {name!r} is off, and would match {count:,}: see --rule {name}"
    if trial.unproven:
        lines = counted(trial.unproven, "match")
        yield (
            f"{lines} without the kernel's facility: such lines count only if the log is named on"
            " the command line, or with trusted = true in [source.file]"
        )
