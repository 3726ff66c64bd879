"""All checks, in the order in which what they find explains what comes after."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from attrs import evolve, frozen

from reconciler.config.setup import Setup
from reconciler.diagnosis import Finding
from reconciler.doctor import (
    around,
    clock,
    configuration,
    covering,
    database,
    disk,
    feeds,
    forgery,
    hearing,
    installed,
    locking,
    message,
    namespaces,
    paused,
    plugins,
    presence,
    sync,
)
from reconciler.doctor.machine import Machine, opened

CHECKS: Final[Mapping[str, Callable[[Machine], Iterator[Finding]]]] = {
    "configuration": configuration.check,
    "database": database.check,
    "disk": disk.check,
    "lock": locking.check,
    "clock": clock.check,
    "pause": paused.check,
    "namespace": namespaces.check,
    "kernel message": message.check,
    "sources": hearing.check,
    "forgery": forgery.check,
    "feeds": feeds.check,
    "backends": sync.check,
    "plugins": plugins.check,
    "daemon": presence.check,
    "units": installed.check,
    "bypass": around.check,
    "whitelist": covering.check,
}


@frozen
class Diagnosis:
    """What was looked at, and what was found."""

    checks: tuple[str, ...]
    findings: tuple[Finding, ...]


def examine(setup: Setup) -> Diagnosis:
    """Run every check; where the configuration is wrong, that one alone."""
    if refused := configuration.refused(Machine(setup)):
        named = tuple(evolve(each, check="configuration") for each in refused)
        return Diagnosis(("configuration",), named)
    with opened(setup) as machine:
        return Diagnosis(tuple(CHECKS), tuple(look(machine)))


def look(machine: Machine) -> Iterator[Finding]:
    """Yield what every check finds, with its name."""
    for name, check in CHECKS.items():
        for each in check(machine):
            remedy = each.remedy or machine.command("status", "-v")
            yield evolve(each, check=each.check or name, remedy=remedy)
