"""A fleet by chance: whatever members and the engine do, who is dropped is who should be.

The truth that is told beside it is small: what each member bans, and whom it whitelists.
"""

import random
import time
from collections.abc import Callable, Iterable
from typing import Final

import pytest
from attrs import define, evolve, field
from fleetplaces import Fleet, Member
from postgres import needed

from reconciler import Network, Networks

pytestmark = needed

ADDRESSES: Final = [f"203.0.113.{number}" for number in range(12)]
NETWORKS: Final = ["203.0.113.0/30", "203.0.113.4/30", "2001:db8::/64", "2001:db8::7"]
NAMES: Final = ("a", "b", "c", "d")

PROBES: Final = [
    *(Network.parse(f"203.0.113.{number}") for number in range(16)),
    *(Network.parse(f"2001:db8::{number}") for number in (1, 7)),
]
"""Addresses that tell who is dropped: networks may be, in parts or as a part of wider ones."""

_SHORT: Final = 4
"""Seconds of a ban that ends while the machine runs."""


@define(eq=False)
class Truth:
    """What a member bans, and until when; and whom it whitelists."""

    bans: dict[str, float | None] = field(factory=dict)
    exempt: set[str] = field(factory=set)

    def active(self) -> set[str]:
        """Return what has not ended."""
        now = time.time()
        return {each for each, until in self.bans.items() if until is None or until > now}


@define(eq=False)
class Machine:
    """A fleet, and what should be."""

    fleet: Fleet
    dice: random.Random
    truth: dict[str, Truth] = field(factory=lambda: {name: Truth() for name in NAMES})
    done: list[str] = field(factory=list)

    def step(self) -> None:
        """Do something."""
        member = self.dice.choice([*self.fleet.members.values()])
        steps: list[Callable[[Member], None]] = [
            *[self.ban] * 4,
            *[self.unban] * 3,
            *[self.turn] * 4,
            self.whitelist,
            self.anew,
            self.snapshot,
            self.restart,
        ]
        which = self.dice.choice(steps)
        self.done.append(f"{member.name} {which.__name__}")
        which(member)

    def ban(self, member: Member) -> None:
        """Ban by hand, also whom it bans already, with another end."""
        seconds = self.dice.choice([None, None, 3600, _SHORT])
        for each in self.dice.sample([*ADDRESSES, *NETWORKS], self.dice.randint(1, 3)):
            member.bans(each, seconds=seconds, force=True)
            until = seconds and time.time() + seconds
            self.truth[member.name].bans[each] = until
            self.done[-1] += f" {each} {seconds}"

    def unban(self, member: Member) -> None:
        """Take one back, if there is any."""
        if own := sorted(self.truth[member.name].active()):
            gone = self.dice.choice(own)
            self.done[-1] += f" {gone}"
            del self.truth[member.name].bans[gone]
            member.place.treason("unban", gone)  # it may have ended meanwhile

    def whitelist(self, member: Member) -> None:
        """Spare somebody, or nobody more."""
        truth, each = self.truth[member.name], self.dice.choice(ADDRESSES[:6])
        command = "remove" if each in truth.exempt else "add"
        self.done[-1] += f" {command} {each}"
        assert member.place.treason("whitelist", command, each).code == 0
        truth.exempt ^= {each}

    def turn(self, member: Member) -> None:
        """Let its feed's process make a turn."""
        assert not member.goes().failure, member.news[-1].failure

    def anew(self, member: Member) -> None:
        """Be a new process."""
        member.begin()

    def snapshot(self, member: Member) -> None:
        """Read everything anew."""
        if member.engine:
            file = member.engine.file
            file.contents = evolve(file.contents, cursor=None)

    def restart(self, _member: Member) -> None:
        """Let the engine crash, and recover."""
        self.fleet.server.kill()
        self.fleet.server.start()
        for each in self.fleet.members.values():
            each.settles()

    def _hears(self, member: Member, others: dict[str, set[str]]) -> None:
        """Wait until it knows what others ban; an end is late by as long as an answer took."""
        end = time.monotonic() + 20
        while odd := _odd(member, others):
            assert time.monotonic() < end, f"{member.name}: {odd}"
            time.sleep(0.2)
            member.settles()

    def settle(self) -> None:
        """Let all be read: who is dropped is who should be."""
        for _ in range(2):
            for each in self.fleet.members.values():
                each.settles()
        until = [each for t in self.truth.values() for each in t.bans.values() if each]
        ends = [each for each in until if each - time.time() < _SHORT + 1]
        time.sleep(max(0.0, max(ends, default=0) + 1.5 - time.time()))
        for each in self.fleet.members.values():
            others = {name: t.active() for name, t in self.truth.items() if name != each.name}
            self._hears(each, others)
            own = self.truth[each.name]
            every = own.active().union(*others.values())
            assert _met(each.dropped()) == _met(every) - own.exempt, each.name
        rows = [(name, each) for name, t in self.truth.items() for each in t.active()]
        assert self.fleet.rows() == sorted(rows)


def _odd(member: Member, others: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return what a feed's file says of others, and is not so, or the other way round."""
    told = member.told()
    return {name: odd for name in others if (odd := told.get(name, set()) ^ others[name])}


def _met(networks: Iterable[str]) -> set[str]:
    """Return which of the probes are in any of these."""
    every = Networks.of(map(Network.parse, networks))
    return {str(each) for each in PROBES if every.meeting(each)}


def _run(fleet: Fleet, settles: int, steps: int) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311 - chance, no secrets
    fleet.grow(*NAMES, max_new=10_000)
    machine = Machine(fleet, random.Random(seed))  # noqa: S311
    try:
        for _ in range(settles):
            for _ in range(steps):
                machine.step()
            machine.settle()
    except AssertionError as error:
        error.add_note(f"seed {seed}: {'; '.join(machine.done)}")
        raise


def test_a_fleet_by_chance_drops_whom_it_should(fleet: Fleet) -> None:
    """Twenty steps."""
    _run(fleet, 1, 20)


@pytest.mark.slow
def test_a_fleet_by_chance_drops_whom_it_should_for_long(fleet: Fleet) -> None:
    """Twenty times thirty steps."""
    _run(fleet, 20, 30)
