"""The command line: it finds the command, and turns every error into its exit code.

Exit codes: 0 done or in sync, 1 error, 2 drift (``reconcile --check``), 64 for the shape of the
command line alone. To tell the version or to list the commands, nothing else is imported.
"""

import atexit
import errno
import gc
import io
import os
import sys
from importlib import import_module
from typing import Final

gc.set_threshold(100_000)  # a command is short, and leaves hardly any garbage; nor do imports

import click  # noqa: E402 - as above

from reconciler import __version__  # noqa: E402
from reconciler.cli.console import ERROR, USAGE, complain, listen  # noqa: E402
from reconciler.cli.options import verbosity  # noqa: E402
from reconciler.errors import TreasonError  # noqa: E402
from reconciler.report import output  # noqa: E402

_COMMANDS: Final = {
    "ban": ("bans:ban", "Store bans of addresses or networks; the next pass enforces them."),
    "config": ("config:config", "Check or show the configuration."),
    "demo": (
        "init:demo",
        "Show it all in a network namespace of its own; needs no root, leaves no trace.",
    ),
    "export": (
        "export:export",
        "Print what the firewalls hold, for `reconcile --check --observed`.",
    ),
    "history": ("bans:history", "Tell what was banned, unbanned and expired, the latest first."),
    "init": (
        "init:init",
        "Make the configuration, the database and their directories; what is there stays.",
    ),
    "list": ("bans:list_", "List the bans that are stored and have not ended."),
    "migrate": (
        "migrate:migrate",
        "Move from one backend to another: the old one is torn down when the new one holds all.",
    ),
    "plugins": ("config:plugins", "List the kinds of source and backend, and what is broken."),
    "reconcile": (
        "reconcile:reconcile",
        "Scan the sources, then make the firewall hold what is desired.",
    ),
    "scan": (
        "scan:scan",
        "Read the sources and store the bans that follow; touch no firewall.",
    ),
    "status": (
        "status:status",
        "Tell what is stored, what is exempt, and whether each backend holds it.",
    ),
    "teardown": (
        "teardown:teardown",
        "Remove all that treason made in the firewall; the stored bans stay.",
    ),
    "test-rule": (
        "rules:test_rule",
        "Try the rules on a log, and tell what matches, what almost does, and what would follow.",
    ),
    "unban": ("bans:unban", "Lift bans; the next pass enforces that."),
    "whitelist": ("whitelist:whitelist", "Name networks that are never dropped."),
}
"""Where each command is, and its first sentence: to list them, none is imported."""


class _Lazy(click.Group):
    """Imports the module of a command only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(f"reconciler.cli.commands.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


def main() -> None:
    """Run the command line, and end with its exit code."""
    atexit.register(gc.freeze)  # or Python searches everything once more at its end
    _settle_streams()
    listen(0)
    try:
        code = cli.main(args=_arguments(), prog_name="treason", standalone_mode=False)
        output.finish()
    except click.UsageError as error:
        error.show()
        code = USAGE
    except click.ClickException as error:
        error.show()
        code = ERROR
    except TreasonError as error:
        complain(str(error))
        code = ERROR
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        code = ERROR
    except (SystemExit, GeneratorExit) as error:
        if "PacifyFlush" in type(sys.stdout).__name__:  # click's, where nobody reads any more
            output.discard()
            raise
        who = " ".join(getattr(error, "__notes__", ())) or "a plugin"
        complain(f"ended by {who} before it was done")
        code = ERROR
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        complain("cannot write the output: the device is full; what was done stays done")
        output.discard()
        code = ERROR
    finally:
        output.restore()
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
    """Return the arguments as text that can be stored and printed, whatever bytes they are."""
    return [
        argument.encode(errors="surrogateescape").decode(errors="backslashreplace")
        for argument in sys.argv[1:]
    ]


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", "named", envvar="TREASON_CONFIG", metavar="FILE",
    help="The configuration (default: /etc/treason/treason.toml, if it exists)."
    " [env: TREASON_CONFIG]",
)  # fmt: skip
@verbosity
@click.version_option(__version__, message="treason %(version)s")
@click.pass_context
def cli(context: click.Context, named: str | None) -> None:
    """Keep hostile peers out: make the firewall hold what the bans and the whitelist desire."""
    from reconciler.config.setup import Setup  # noqa: PLC0415 - only commands need it

    context.obj = Setup(named, output.keep_apart)
