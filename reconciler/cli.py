"""The command line: it finds the command, and turns every error into its exit code.

Exit codes: 0 done or in sync, 1 error, 2 drift (``reconcile --check``), 64 for the shape of the
command line alone (EX_USAGE of sysexits.h).
"""

import errno
import io
import os
import sys
from importlib import import_module
from typing import Final

import click

from reconciler import config
from reconciler.errors import TreasonError
from reconciler.options import ERROR, verbosity
from reconciler.session import Session, complain

USAGE: Final = 64

_COMMANDS: Final = {
    "ban": "bans:ban",
    "config": "settings:config",
    "demo": "setup:demo",
    "export": "passes:export",
    "history": "bans:history",
    "init": "setup:init",
    "list": "bans:list_",
    "migrate": "passes:migrate",
    "plugins": "settings:plugins",
    "reconcile": "passes:reconcile",
    "scan": "passes:scan",
    "status": "status:status",
    "teardown": "passes:teardown",
    "unban": "bans:unban",
    "whitelist": "exemptions:whitelist",
}


class _Lazy(click.Group):
    """Imports the module of a command only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(import_module(f"reconciler.commands.{module}"), name)
        return command


def main() -> None:
    """Run the command line, and end with its exit code."""
    _settle_streams()
    try:
        code = cli.main(args=_arguments(), prog_name="treason", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.UsageError as error:
        error.show()
        code = USAGE
    except click.ClickException as error:
        error.show()
        code = ERROR
    except TreasonError as error:
        complain(str(error))
        code = ERROR
    except click.Abort:
        complain("interrupted")
        code = ERROR
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        complain("cannot write the output: the device is full; what was done stays done")
        sys.stdout = None  # or Python tries again at its end
        code = ERROR
    sys.exit(code)


def _settle_streams() -> None:
    """Let no file take the place of a closed stream, and no character fail to be written."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _arguments() -> list[str]:
    """Give the arguments as text that can be stored and printed, whatever bytes they are."""
    return [
        argument.encode(errors="surrogateescape").decode(errors="backslashreplace")
        for argument in sys.argv[1:]
    ]


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", "named", envvar="TREASON_CONFIG", metavar="FILE",
    help=f"The configuration (default: {config.DEFAULT}, if it exists). [env: TREASON_CONFIG]",
)  # fmt: skip
@verbosity
@click.version_option(package_name="treason", message="treason %(version)s")
@click.pass_context
def cli(context: click.Context, named: str | None) -> None:
    """Keep hostile peers out: make the firewall hold what the bans and the whitelist desire."""
    context.obj = Session(named)
