"""Whether the configuration, the whitelist and the plugins are right."""

import shlex
from collections.abc import Iterator

from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine
from reconciler.errors import TreasonError


def check(machine: Machine) -> Iterator[Finding]:
    """Yield what may be so, and is nevertheless not right."""
    setup = machine.setup
    for broken in setup.plugins.broken:
        yield Finding(
            f"a plugin is broken: {broken}",
            "what it provides is not there",
            "install it again, or uninstall its package; treason plugins lists what is there",
        )
    if setup.config.trust.userspace:
        yield Finding(
            "[trust] userspace = true",
            "any process can have anybody banned by writing a line",
            f"sed -i '/^ *userspace *=/d' {shlex.quote(str(setup.path))}",
        )
    for kind in ("sources", "backends"):
        if not getattr(setup.config.treason, kind):
            follows = "nobody is seen" if kind == "sources" else "nobody is dropped"
            yield Finding(
                f"[treason] {kind} is empty",
                follows,
                f"name some in [treason] of {setup.path}; known: treason plugins",
            )


def refused(machine: Machine) -> list[Finding]:
    """Return every mistake, if because of one no pass can be made: the other checks need it right.

    What is wrong in a table that nothing uses stops nothing.
    """
    setup = machine.setup
    try:
        setup.whitelist, setup.rules, setup.sources(), setup.backends(), setup.feeds
    except TreasonError as error:
        problems = setup.problems() or [error.what]
    else:
        return []
    lines = [line for line in problems if not line.startswith(" ")]  # the others are advice
    return [
        Finding(
            line,
            "no command and no daemon goes by a configuration that is wrong",
            f"correct it, then: {machine.command('config', 'check')}",
        )
        for line in lines
    ]
