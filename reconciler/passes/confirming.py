"""Which messages of live sources are believed: those that something besides them confirms.

The kernel's log has no network namespace, so any local user can make it name anybody.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property

from attrs import define, evolve, field

from reconciler.config.tables import ALWAYS, AUTO
from reconciler.detection.detect import FIREWALL, IN_COMPANY, NEVER, NONE, SOCKET, ZERO_WINDOW, Rule
from reconciler.detection.policy import Policy
from reconciler.errors import SourceUnreadable
from reconciler.host import clock
from reconciler.host.clock import Look
from reconciler.host.deadline import Run
from reconciler.host.forgery import HERE, Forgery
from reconciler.interfaces import Source
from reconciler.model import Connection, Offence, Seen
from reconciler.passes.earlier import Earlier, Evidence
from reconciler.passes.reading import Tally
from reconciler.passes.witnessing import Witnessing
from reconciler.store.store import Store
from reconciler.store.unconfirmed import Doubted
from reconciler.toml import duration


@define(eq=False, slots=False)
class Confirming:
    """Holds messages against what else is known, in one pass.

    ``live`` names the sources whose messages are asked, ``mode`` is that of ``[trust] confirm``.
    ``make_witness`` makes the source that looks at sockets; ``judging`` says that it is configured,
    too, and bans by itself. ``write`` is as for the scan. What the last call of `sift` did not
    return is ``left``.
    """

    store: Store
    policy: Policy
    rules: Sequence[Rule]
    now: int
    live: Collection[str] = ()
    mode: str = AUTO
    make_witness: Callable[[], Source] | None = None
    judging: bool = False
    write: bool = True
    forgery: Forgery = HERE
    look: Callable[[], Look] = clock.look
    left: list[Offence] = field(factory=list, init=False)

    def waits(self, source: str) -> bool:
        """Whether messages wait that a source looks after."""
        return source in self.live and any(self._looks_after(source, m) for m in self._stored())

    def sift(
        self, source: str, offences: list[Offence], tally: Tally, run: Run, *, first: bool
    ) -> list[Offence]:
        """Return what counts of the offences that a source brought, and of those that waited.

        What waits, and what nobody confirms, is stored. What waited is looked at with the ``first``
        that a source brings. ``run`` runs the witness. Raise `SourceUnreadable`.
        """
        self.left = []
        if source not in self.live:
            known = self._earlier.told_first(offences)
            tally.known += sum(each.count for each in known)
            return _without(offences, known)
        every = self._stored()
        waiting = [each for each in every if first and self._looks_after(source, each)]
        asked = [each for each in offences if self._way(each) != NEVER]
        if not (waiting or asked):
            return offences
        messages = [*waiting, *(Doubted(each, source, self.now, "") for each in asked)]
        try:
            self._ask([*every, *messages], run)
        except SourceUnreadable as error:
            raise SourceUnreadable(
                f"{source}: its messages cannot be confirmed: {error.what}",
                f'{error.hint}; [trust] confirm = "never" believes them as they are',
            ) from None
        return [*self._believed(messages, every, tally), *_without(offences, asked)]

    def _looks_after(self, source: str, waiting: Doubted) -> bool:
        """Whether a source brought what waits, or any could, since that one is not read now."""
        return waiting.source == source or waiting.source not in self.live

    def _stored(self) -> list[Doubted]:
        """Return what waits, as far as it can be read."""
        return self.store.attempt_to_read(self.store.unconfirmed.waiting) or []

    def _believed(
        self, messages: Sequence[Doubted], every: Sequence[Doubted], tally: Tally
    ) -> list[Offence]:
        """Judge messages, and store what became of them; return what counts."""
        told = [each.offence for each in messages if self._way(each.offence) == SOCKET]
        evidence = self._earlier.evidence(told)
        here = self._here
        held = {_which(each) for each in every if each.waits(here.boot, here.uptime)}
        sorted_ = _Sorted(held, self.left)
        for message in messages:
            found = self._judged(message, evidence)
            if isinstance(found, Doubted):
                tally.doubt(found)
                sorted_.doubt(message, found)
            else:
                tally.known += message.offence.count if found is None else 0
                sorted_.believe(message, found)
        if self.write:
            with self.store.transaction():
                self.store.unconfirmed.change(sorted_.added, sorted_.changed, sorted_.confirmed)
                self._witnessing.keep(waits=sorted_.waits(len(every)))
        return sorted_.believed

    def _way(self, offence: Offence) -> str:
        """Return how an offence is to be confirmed.

        What no kernel wrote was let in by the configuration, and what bans nobody needs nothing.
        """
        rule = self._by_name.get(offence.rule)
        if rule is None or rule.report_only or offence.judged or not offence.trusted:
            return NEVER
        return rule.confirm if self._is_on else NEVER

    def _judged(self, message: Doubted, evidence: Evidence) -> Offence | Doubted | None:
        """Return the offence that counts, None if it was counted already, or what is doubted."""
        way, offence = self._way(message.offence), message.offence
        if doubt := self._doubt(message, way):
            return _settled(message, doubt)
        if way != SOCKET or offence.connection is None or self._witnessing.blindness:
            return offence
        earlier = {
            rule
            for rule, time in evidence.get(offence.connection, ())
            if abs(time - offence.when(self.now)) <= self._earlier.window(offence)
        }
        answer = self._witnessing.answer(offence.connection)
        shows = answer.seen is Seen.SHOWN
        if self._is_counted(earlier, shows=shows):
            return None
        if rule := self._against(answer.seen, offence.rule, earlier):
            return evolve(offence, rule=rule, shown=True)
        if answer.seen is Seen.OPEN:
            return self._waiting(message, answer.why)
        return _settled(message, answer.why)

    def _is_counted(self, earlier: Collection[str], *, shows: bool) -> bool:
        """Whether what was counted of a connection earlier, by these rules, stands for a message.

        One that sockets do not show now adds nothing to an earlier one, and is no evidence for the
        next: forged ones would else make a ban last for ever.
        """
        if ZERO_WINDOW in earlier and self._counts_as:
            return True
        return not shows and any(rule != ZERO_WINDOW for rule in earlier)

    def _against(self, seen: Seen, rule: str, earlier: Collection[str]) -> str:
        """Return the rule that a message counts against; empty where it does not count.

        Who is spared is counted by the source that judges sockets, where that is configured.
        """
        if seen is Seen.SHOWN or earlier:
            return self._counts_as or rule
        counts = seen is Seen.SPARED and not self.judging and IN_COMPANY in self._by_name
        return IN_COMPANY if counts else ""

    def _waiting(self, message: Doubted, why: str) -> Doubted:
        """Let a message wait, or go on, until its rule's window is over."""
        here, window = self._here, self._earlier.window(message.offence)
        if message.number is None:
            return evolve(message, why=why, waits_in=here.boot, waits_until=here.uptime + window)
        if message.waits(here.boot, here.uptime):
            return evolve(message, why=why)
        return _settled(
            message, f"its connection did not show the attack within {duration.render(window)}"
        )

    def _doubt(self, message: Doubted, way: str) -> str:
        """Return why a message cannot be confirmed, whatever sockets show; empty if it can."""
        here, offence = self._here.boot, message.offence
        reasons = (
            (offence.rule not in self._by_name, "there is no such rule any more"),
            (way == NEVER, ""),
            (way == NONE, "nothing can confirm a message of this rule"),
            (
                offence.boot not in {None, here},
                "it is of an earlier boot, of which nothing can be confirmed",
            ),
            (way == FIREWALL, self._of_firewall),
            (
                message.number is not None and message.waits_in != here,
                "the machine was restarted before it was confirmed",
            ),
            (way == SOCKET and offence.connection is None, "it does not tell both ports"),
        )
        return next((why for holds, why in reasons if holds), "")

    def _ask(self, messages: Iterable[Doubted], run: Run) -> None:
        """Ask the witness about the connections of messages."""
        socket = [each for each in messages if self._way(each.offence) == SOCKET]
        told = {each.offence.connection for each in socket if not self._doubt(each, SOCKET)}
        connections = {each for each in told if each is not None}
        here = self._here.boot
        self._witnessing.ask(connections, run, recall=any(m.waits_in == here for m in socket))

    @cached_property
    def _earlier(self) -> Earlier:
        return Earlier(self.store, self.policy, self._by_name, self.now, self.live)

    @cached_property
    def _witnessing(self) -> Witnessing:
        return Witnessing(self.store, self.make_witness, always=self.mode == ALWAYS)

    @cached_property
    def _by_name(self) -> Mapping[str, Rule]:
        return {rule.name: rule for rule in self.rules}

    @cached_property
    def _here(self) -> Look:
        found = self.look()
        return evolve(found, boot=found.boot.replace("-", ""))

    @cached_property
    def _is_on(self) -> bool:
        """Whether anything is asked at all."""
        return self.mode == ALWAYS or (self.mode == AUTO and not self.forgery.is_impossible())

    @cached_property
    def _of_firewall(self) -> str:
        return self.forgery.doubt_of_firewall()

    @cached_property
    def _counts_as(self) -> str:
        """The rule under whose policy all counts that sockets show; empty: each message's own."""
        rule = self._by_name.get(ZERO_WINDOW)
        return ZERO_WINDOW if self.judging and rule and not rule.report_only else ""


@define(eq=False)
class _Sorted:
    """What became of messages: believed or not, stored before or not.

    ``held`` are those that wait already and go on, by rule and connection: one is enough to wait.
    ``left`` are those that do not count, and were not stored before.
    """

    held: set[tuple[str, Connection | None]]
    left: list[Offence]
    believed: list[Offence] = field(factory=list)
    added: list[Doubted] = field(factory=list)
    changed: list[Doubted] = field(factory=list)
    confirmed: list[Doubted] = field(factory=list)

    def believe(self, message: Doubted, found: Offence | None) -> None:
        """Take one that is believed; None was counted before."""
        if message.number is not None:
            self.confirmed.append(message)
        elif found is None:
            self.left.append(message.offence)
        if found is not None:
            self.believed.append(found)

    def doubt(self, message: Doubted, found: Doubted) -> None:
        """Take one that is not believed, or not yet."""
        if message.number is not None:
            self.changed += [found] if found != message else []
            if found.waits_in is None:
                self.held.discard(_which(message))  # so that a later one may wait anew
            return
        self.left.append(message.offence)
        if found.waits_in is None or _which(found) not in self.held:
            self.added.append(found)
            self.held.add(_which(found))

    def waits(self, before: int) -> bool:
        """Whether any waits now, of those that waited before as well."""
        settled = sum(each.waits_in is None for each in self.changed)
        left = before - settled - len(self.confirmed)
        return left > 0 or any(each.waits_in for each in self.added)


def _which(message: Doubted) -> tuple[str, Connection | None]:
    return message.offence.rule, message.offence.connection


def _settled(message: Doubted, why: str) -> Doubted:
    return evolve(message, why=why, waits_in=None, waits_until=None)


def _without(offences: Iterable[Offence], some: Iterable[Offence]) -> list[Offence]:
    """Leave out some, which are among them."""
    left = {id(each) for each in some}
    return [each for each in offences if id(each) not in left]
