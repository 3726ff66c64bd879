"""The command that tries rules on a log or on sockets: ``test-rule``. It writes nothing."""

import sys
from contextlib import closing, suppress

import click

from reconciler.cli.console import OK, emit, say
from reconciler.cli.options import examples, output_format, verbose, verbosity
from reconciler.config.setup import Setup
from reconciler.passes import trial_run
from reconciler.passes.trial import Trial
from reconciler.passes.verdicts import TrialResult
from reconciler.report import output
from reconciler.report import trial as report


@click.command(
    "test-rule",
    epilog=examples(
        "test-rule /var/log/kern.log",
        "test-rule --rule ufw-block kern.log",
        "test-rule --sockets",
        "test-rule --sockets --follow",
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
@click.option(
    "--follow", is_flag=True,
    help="Go on with --sockets until Ctrl-C, and print each suspect, look and verdict as it"
    " happens. As root, the kernel itself tells of suspects where it can (way bpf); else all"
    " sockets are looked through now and then. With -o json, each line is an object.",
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
    follow: bool,
    form: str,
) -> int:
    """Try the rules on a log: what matches, what almost matches, and who would be banned.

    It reads a saved log in any shape, or standard input, and changes nothing anywhere.
    """
    if sockets and (log is not None or tried is not None):
        raise click.UsageError("--sockets takes neither a log nor --pattern")
    if follow and not sockets:
        raise click.UsageError("--follow goes with --sockets: treason test-rule --sockets --follow")
    most = None if verbose() else report.SHOWN
    if follow:
        return _follow(setup, trial_run.judged(setup, names, 0), form)
    if sockets:
        return _tell(trial_run.run(setup, trial_run.judged(setup, names, most), "sockets"), form)
    if log is None and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("name a log, or pipe one in: journalctl -k | treason test-rule")
    trial = trial_run.choose(setup, tried, names, most)
    return _tell(trial_run.run(setup, trial, f"file:{log or '-'}"), form)


def _tell(result: TrialResult, form: str) -> int:
    emit(form, lambda: report.json(result), report.text(result, verbose=verbose()))
    return OK


def _follow(setup: Setup, trial: Trial, form: str) -> int:
    """Print what happens until Ctrl-C, or until nobody reads it any more."""
    from reconciler.passes import follow  # noqa: PLC0415 - few people follow
    from reconciler.report import follow as lines  # noqa: PLC0415 - likewise

    telling = lines.Lines(verbose=verbose())
    with (
        suppress(KeyboardInterrupt),
        closing(follow.follow(setup, trial, "sockets", _readers)) as events,
    ):
        for event in events:
            for line in (lines.json(event),) if form == "json" else telling.of(event):
                say(line)
            if output.is_lost():
                break
    return OK


def _readers() -> list[int]:
    """Return the descriptor that tells when nobody reads the results any more, if there is one."""
    results = output.stream()
    with suppress(OSError):  # io.UnsupportedOperation is one: a stream without a descriptor
        return [] if results is None else [results.fileno()]
    return []
