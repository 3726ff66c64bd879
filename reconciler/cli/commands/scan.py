"""The command that only reads sources: ``scan``."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

import click

from reconciler.cli.console import emit
from reconciler.cli.ending import (
    code_of,
    complain_of,
    complain_of_damage,
    doubt_of,
    scan_lines,
    warn_of_rules,
)
from reconciler.cli.options import (
    examples,
    lock_timeout,
    output_format,
    source_names,
    verbose,
    verbosity,
)
from reconciler.config.setup import Setup
from reconciler.host import kernel_message
from reconciler.interfaces import Source
from reconciler.passes import access
from reconciler.passes.reading import Reading
from reconciler.passes.run import Options, Pass
from reconciler.passes.silence import silent
from reconciler.report import json, text


@click.command(
    epilog=examples(
        "scan -v", "scan --source file:/var/log/kern.log", "scan --again /var/log/kern.log"
    )
)
@source_names
@click.option(
    "--again", metavar="FILE",
    help="Read this log instead, from its beginning, and let all that it tells count again.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Skip the limit on new bans (max_new_bans).")
@lock_timeout
@output_format
@verbosity
@click.pass_obj
def scan(
    setup: Setup,
    source_names: tuple[str, ...],
    again: str | None,
    force: bool,
    lock_timeout: float,
    form: str,
) -> int:
    """Read the sources and store the resulting bans; change no firewall.

    With -v also name the sources that see nothing of the kernel, and whether it prints its message.

    --again is for when too much was unbanned: whoever offended in the log is banned again, as the
    rules say, also whom somebody unbanned by hand; only whose ban had ended by itself is not. No
    offence is stored twice.
    """
    if again is not None and source_names:
        raise click.UsageError("--again goes without --source: it names the log itself")

    def chosen(current: Setup) -> Mapping[str, Callable[[], Source]]:
        named = source_names if again is None else (current.source_of(again),)
        return current.sources(named)

    with (
        access.locked(setup, lock_timeout, chosen) as (current, sources),
        access.opened(current, write=True) as store,
    ):
        options = Options(force=force, again=again is not None)
        clock = access.told(store)
        made = Pass(current, store, clock.now, sources=sources, options=options, clock=clock)
        result = made.run()
    doubt_of(result)
    warn_of_rules(result)
    unheard = [*_unheard(current, sources, result.readings)] if verbose() and form == "text" else []
    emit(form, lambda: json.scanned(result), chain(scan_lines(result), unheard))
    complain_of(result.readings, [], result.unwritten)
    complain_of_damage(result.damage)
    return code_of(result)


def _unheard(
    setup: Setup, sources: Mapping[str, Callable[[], Source]], readings: Iterable[Reading]
) -> Iterator[str]:
    """Yield why there may be nothing to read; those that cannot be read are told of as it is."""
    read = {reading.source: sources[reading.source] for reading in readings if not reading.error}
    found = silent(read, setup.config.treason.pass_timeout)
    yield from (f"silent: {line}" for line in text.silence(found))
    if advice := kernel_message.advice(kernel_message.look(kernel_message.HERE)):
        yield f"kernel message: {advice}"
