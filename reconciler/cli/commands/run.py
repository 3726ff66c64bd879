"""The command that stays: ``run``."""

import os
import signal
from collections.abc import Iterable
from typing import NoReturn

import click
from attrs import evolve

from reconciler import execute, log
from reconciler.cli.console import OK, say
from reconciler.cli.options import backend_names, examples, source_names, verbosity
from reconciler.config.plugins import Plugins
from reconciler.config.setup import Setup
from reconciler.daemon.given import FRUGAL, Given, lean
from reconciler.host import capabilities
from reconciler.interfaces import BackendPlugin, SourcePlugin, Spec


@click.command(epilog=examples("run", "run --source file:/var/log/kern.log"))
@source_names
@backend_names
@click.option("--no-create", is_flag=True, help="Fail where there is no database yet.")
@click.option("--resolve", is_flag=True, hidden=True, help="Print what would be run.")
@verbosity
@click.pass_obj
def run(
    setup: Setup,
    source_names: tuple[str, ...],
    backend_names: tuple[str, ...],
    no_create: bool,
    resolve: bool,
) -> int:
    """Stay, and reconcile at once whatever happens: an offender, a foreign change, an end.

    It runs in the foreground until SIGTERM or Ctrl-C; what is enforced stays. SIGHUP reloads the
    configuration.
    """
    given = Given(
        named=setup.named,
        sources=source_names,
        backends=backend_names,
        create=not no_create,
        level=log.lowest(),
    )
    if not resolve:
        _become_the_daemon(setup, given)
    say(_resolved(setup, given).written())
    return OK


def _become_the_daemon(setup: Setup, given: Given) -> NoReturn:
    """Begin the first pass, which refuses by itself what is wrong, and resolve meanwhile."""
    hangup = {signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, hangup)  # until the daemon can reload
    with capabilities.withheld(capabilities.ATTACHING):
        first = execute.begun(given.command(scan=False))
    try:
        given = _resolved(setup, given)
    except BaseException:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, hangup)
        first.kill()
        first.end()
        raise
    capabilities.lower(_capabilities(setup.plugins, ()) - {*given.needs})
    command = lean(given, first.handed_over())  # all that only this start needs is gone then
    os.execve(command[0], command, {**os.environ, **FRUGAL})  # noqa: S606 - no shell


def _resolved(setup: Setup, given: Given) -> Given:
    """Return it with the plugins that are needed; refuse what is wrong. Raise `ConfigError`."""
    config = setup.config
    setup.sources(given.sources)
    setup.backends(given.backends)
    setup.rules, setup.whitelist, setup.feeds  # noqa: B018 - nothing is begun if one of them is wrong
    main = config.treason
    chosen = (*(given.sources or main.sources), *(given.backends or main.backends))
    needs = tuple(sorted(_capabilities(setup.plugins, chosen)))
    chosen += (*config.source, *config.backend)  # whose tables are checked, too
    chosen += tuple(name for name, each in setup.plugins.sources.items() if each.witness)
    return evolve(
        given,
        resolved=_plugins(setup, chosen),
        needs=needs,
        max_new=tuple((name, each.limits.max_new) for name, each in setup.feeds.items()),
        attaching=tuple(setup.attaching(given.sources)),
    )


def _capabilities(plugins: Plugins, chosen: Iterable[str]) -> set[str]:
    """Return what the plugins of the ``chosen`` sources and backends declare; of none: of all."""
    names = {Spec.parse(each).name for each in chosen}
    known: list[SourcePlugin | BackendPlugin] = [*plugins.sources.values()]
    known += plugins.backends.values()
    return {word for each in known if each.name in names or not names for word in each.capabilities}


def _plugins(setup: Setup, chosen: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the plugins that bring the ``chosen`` sources and backends, with their modules."""
    found = setup.plugins
    names = {Spec.parse(each).name for each in chosen}
    wanted = {plugin for (_, name), plugin in found.providers.items() if name in names}
    return tuple((each.name, each.value) for each in found.resolved if each.name in wanted)
