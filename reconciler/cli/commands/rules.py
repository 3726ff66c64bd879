"""The command that tries rules on a log or on sockets: ``test-rule``. It writes nothing."""

import sys

import click

from reconciler.cli.console import OK, emit
from reconciler.cli.options import examples, output_format, verbose, verbosity
from reconciler.config.setup import Setup
from reconciler.passes import trial_run
from reconciler.passes.verdicts import TrialResult
from reconciler.report import trial as report


@click.command(
    "test-rule",
    epilog=examples(
        "test-rule /var/log/kern.log",
        "test-rule --rule ufw-block kern.log",
        "test-rule --sockets",
    ),
)
@click.argument("log", metavar="[FILE|-]", required=False)
@click.option("--pattern", "tried", metavar="REGEX", help="Try this pattern instead of the rules.")
@click.option(
    "--rule", "names", multiple=True, metavar="NAME",
    help="Try this rule, on or off, instead of those that are on. Repeatable.",
)  # fmt: skip
@click.option(
    "--sockets", is_flag=True,
    help="Look at this machine's TCP sockets instead: which comes near an offence, and why.",
)  # fmt: skip
@output_format
@verbosity
@click.pass_obj
def test_rule(
    setup: Setup,
    log: str | None,
    tried: str | None,
    names: tuple[str, ...],
    sockets: bool,
    form: str,
) -> int:
    """Try the rules on a log: what matches, what almost matches, and who would be banned.

    It reads a saved log in any shape, or standard input, and changes nothing anywhere.
    """
    if sockets and (log is not None or tried is not None):
        raise click.UsageError("--sockets takes neither a log nor --pattern")
    most = None if verbose() else report.SHOWN
    if sockets:
        return _tell(trial_run.run(setup, trial_run.judged(setup, names, most), "sockets"), form)
    if log is None and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("name a log, or pipe one in: journalctl -k | treason test-rule")
    trial = trial_run.choose(setup, tried, names, most)
    return _tell(trial_run.run(setup, trial, f"file:{log or '-'}"), form)


def _tell(result: TrialResult, form: str) -> int:
    emit(form, lambda: report.json(result), report.text(result, verbose=verbose()))
    return OK
