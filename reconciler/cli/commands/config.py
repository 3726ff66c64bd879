"""The commands about the configuration and the plugins."""

import click
import tomli_w

from reconciler.cli.console import ERROR, OK, emit, say, show, warn
from reconciler.cli.lazy import Whole
from reconciler.cli.options import examples, output_format, verbose, verbosity
from reconciler.config.setup import Setup
from reconciler.errors import TreasonError
from reconciler.passes import traces
from reconciler.planning import whitelist
from reconciler.report import columns
from reconciler.toml import schema


@click.group(cls=Whole, epilog=examples("config check", "config show -o json"))
@verbosity
def config() -> None:
    """Check or show the configuration."""


@config.command(epilog=examples("config check", "--config ./treason.toml config check -v"))
@click.option("--units", "of_units", is_flag=True, help="Also check the installed systemd units.")
@verbosity
@click.pass_obj
def check(setup: Setup, of_units: bool) -> int:
    """Check the configuration, the whitelist and the plugins' settings; name every mistake.

    With -v also warn about patterns that are valid, but probably a mistake. With --units also check
    on this machine that the services can do what is configured, and that the installed units allow
    it: files, groups, commands, and treason's own installation.
    """
    problems = setup.problems()
    if of_units and not problems:
        problems = _units(setup)
    show(problems)
    if not problems and verbose() and setup.config.rule:
        from reconciler.detection import rules  # noqa: PLC0415 - most configurations have none

        show(f"note: {doubt}" for rule in setup.rules for doubt in rules.doubts(rule))
    if problems:
        return ERROR
    if doubt := traces.look_for_whitelist(setup):
        warn(doubt)
    wide = (whitelist.excess(entry.network) for entry in setup.whitelist)
    show(f"note: {told}" for told in wide if told)
    if setup.config.rule:
        from reconciler.passes import confirmable  # noqa: PLC0415 - as above

        show(f"note: {told}" for told in confirmable.of_rules(setup))
    say(f"{setup.path}: OK")
    return OK


def _units(setup: Setup) -> list[str]:
    """Return why the services cannot work, or that their units are for another configuration."""
    from reconciler.config.services import services  # noqa: PLC0415 - most checks need none
    from reconciler.host import installing, unit_files  # noqa: PLC0415 - likewise

    try:
        installing.check()
        due = installing.due(setup.path, services(setup))
    except TreasonError as error:
        return str(error).splitlines()
    what = f"{', '.join(due)}: not as this configuration needs"
    command = installing.command(resident=not unit_files.timer_only())
    return [what, f"  run: {command}"] if due else []


@config.command("show", epilog=examples("config show"))
@output_format
@verbosity
@click.pass_obj
def show_(setup: Setup, form: str) -> int:
    """Show the settings in force: the defaults, changed by the file."""
    value = schema.plain(setup.config)
    emit(form, lambda: {"config": value}, [tomli_w.dumps(value).rstrip()])
    return OK


@click.command(epilog=examples("plugins"))
@output_format
@verbosity
@click.pass_obj
def plugins(setup: Setup, form: str) -> int:
    """List the available sources, backends and feeds, and the broken plugins."""
    found = setup.plugins
    kinds = (("source", found.sources), ("backend", found.backends), ("feed", found.feeds))
    rows = [
        (kind, name, provider)
        for kind, known in kinds
        for name, provider in sorted((name, found.providers[kind, name]) for name in known)
    ]
    value = {
        "plugins": [{"kind": k, "name": n, "provider": p} for k, n, p in rows],
        "broken": list(found.broken),
    }
    emit(form, lambda: value, columns.table(("kind", "name", "provider"), rows))
    return OK
