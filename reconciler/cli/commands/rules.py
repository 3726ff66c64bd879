"""The command that tries rules on a log: ``test-rule``. It writes nothing, nowhere."""

import sys

import click

from reconciler.cli.console import OK, emit
from reconciler.cli.options import examples, output_format, verbose, verbosity
from reconciler.config.setup import Setup
from reconciler.passes import trial_run
from reconciler.report import trial as report


@click.command(
    "test-rule",
    epilog=examples("test-rule /var/log/kern.log", "test-rule --rule ufw-block kern.log"),
)
@click.argument("log", metavar="[FILE|-]", required=False)
@click.option("--pattern", "tried", metavar="REGEX", help="Try this pattern instead of the rules.")
@click.option(
    "--rule", "names", multiple=True, metavar="NAME",
    help="Try this rule, on or off, instead of those that are on. Repeatable.",
)  # fmt: skip
@output_format
@verbosity
@click.pass_obj
def test_rule(
    setup: Setup, log: str | None, tried: str | None, names: tuple[str, ...], form: str
) -> int:
    """Try the rules on a log: what matches, what almost matches, and who would be banned.

    It reads a saved log in any shape, or standard input, and changes nothing anywhere.
    """
    if log is None and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("name a log, or pipe one in: journalctl -k | treason test-rule")
    most = None if verbose() else report.SHOWN
    trial = trial_run.choose(setup, tried, names, most)
    result = trial_run.run(setup, trial, f"file:{log or '-'}")
    emit(form, lambda: report.json(result), report.text(result, verbose=verbose()))
    return OK
