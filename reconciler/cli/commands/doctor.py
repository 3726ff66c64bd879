"""The command that tells what is wrong: ``doctor``."""

import click

from reconciler.cli.console import ERROR, OK, emit
from reconciler.cli.options import examples, output_format, verbosity
from reconciler.config.setup import Setup
from reconciler.doctor.examine import examine
from reconciler.report import findings, json


@click.command(epilog=examples("doctor", "doctor -o json"))
@output_format
@verbosity
@click.pass_obj
def doctor(setup: Setup, form: str) -> int:
    """Look for whatever keeps treason from its work, and print what mends it. Change nothing.

    Exit codes: 0 nothing was found; 1 something was found, or an error.
    """
    found = examine(setup)
    emit(
        form,
        lambda: {"checks": [*found.checks], "findings": json.findings(found.findings)},
        findings.lines(found.findings, found.checks),
    )
    return ERROR if found.findings else OK
