"""The command line: it finds the command, and turns every error into its exit code.

Exit codes: 0 done or in sync, 1 error, 2 drift (``reconcile --check``), 64 for the shape of the
command line alone. To tell the version or to list the commands, nothing else is imported.
"""

import atexit
import errno
import gc
import sys
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Final

gc.set_threshold(100_000)  # a command is short, and leaves hardly any garbage; nor do imports

import click  # noqa: E402 - as above

from reconciler import __version__  # noqa: E402
from reconciler.cli.console import ERROR, USAGE, complain, emit, listen  # noqa: E402
from reconciler.cli.lazy import Lazy  # noqa: E402
from reconciler.cli.options import examples, verbosity  # noqa: E402
from reconciler.errors import TreasonError, words  # noqa: E402
from reconciler.report import output  # noqa: E402

_COMMANDS: Final = {
    "backup": (
        "backup:backup",
        "Write a copy of the database to a file, while the daemon and passes go on.",
    ),
    "ban": (
        "bans:ban",
        "Store bans of addresses or networks; the daemon enforces them now, or else the next pass.",
    ),
    "config": ("config:config", "Check or show the configuration."),
    "demo": (
        "init:demo",
        "Show how it works, in a network namespace of its own; needs no root, changes nothing.",
    ),
    "doctor": (
        "doctor:doctor",
        "Look for whatever keeps treason from its work, and print what mends it.",
    ),
    "export": (
        "export:export",
        "Print the networks that are to be dropped: of bans and feeds, without what is exempt.",
    ),
    "feed": ("feed:feed", "Show what others say of whom to drop, and refresh or accept it."),
    "fleet": (
        "fleet:fleet",
        "Share bans between machines: make the database, add members, see how they are.",
    ),
    "history": (
        "bans:history",
        "List past bans, unbans, expiries and closed connections, the latest first.",
    ),
    "import": (
        "lists:import_",
        "Ban the networks of a list, in any common form; the daemon enforces them now.",
    ),
    "init": (
        "init:init",
        "Create the configuration, the database and their directories; overwrite nothing.",
    ),
    "list": ("listing:list_", "List the active bans."),
    "migrate": (
        "migrate:migrate",
        "Move from one backend to another: remove the old one once the new one is verified.",
    ),
    "pause": (
        "pause:pause",
        "Remove everything that is enforced, and keep it so, also over a reboot.",
    ),
    "plugins": (
        "config:plugins",
        "List the available sources, backends and feeds, and the broken plugins.",
    ),
    "reconcile": (
        "reconcile:reconcile",
        "Read the sources, then bring every firewall in line with the bans and the whitelist.",
    ),
    "restore": (
        "backup:restore",
        "Let a backup take the place of the database, and enforce it at once.",
    ),
    "resume": ("pause:resume", "End a pause, and enforce what is stored, at once."),
    "run": (
        "run:run",
        "Stay, and reconcile at once whatever happens: an offender, a foreign change, an end.",
    ),
    "scan": (
        "scan:scan",
        "Read the sources and store the resulting bans; change no firewall.",
    ),
    "status": (
        "status:status",
        "Show what is stored, what is exempt, and whether each backend is in sync.",
    ),
    "teardown": (
        "teardown:teardown",
        "Remove everything that treason created in the firewalls; keep the stored bans.",
    ),
    "test-rule": (
        "rules:test_rule",
        "Try the rules on a log: what matches, what almost matches, and who would be banned.",
    ),
    "unban": (
        "bans:unban",
        "Remove bans; the firewalls follow now, by the daemon, or else with the next pass.",
    ),
    "whitelist": ("whitelist:whitelist", "Show or change the networks that are never dropped."),
    "why": ("why:why", "Explain why an address or a network is dropped, or why it is not."),
}
"""Where each command is, and its first sentence: to list them, none is imported."""

_COMPLETE: Final = "complete"
"""What shells ask at each press of a key: it reads little, and imports no more."""


def main() -> None:
    """Run the command line, and end with its exit code."""
    atexit.register(gc.freeze)  # or Python searches everything once more at its end
    output.settle()
    listen(0)
    arguments = _arguments()
    fail = partial(_fail, in_json=_asks_for_json(arguments))
    try:
        code = cli.main(args=arguments, prog_name="treason", standalone_mode=False)
        output.finish()
    except click.UsageError as error:
        error.show()
        path = error.ctx.command_path if error.ctx else "treason"
        code = fail(error.format_message(), f"see: {path} --help", code=USAGE, told=True)
    except click.ClickException as error:
        code = fail(error.format_message())
    except TreasonError as error:
        code = fail(*words(error).split("\n  ", 1))
    except (click.Abort, KeyboardInterrupt):
        code = fail("interrupted")
    except (SystemExit, GeneratorExit) as error:
        who = " ".join(getattr(error, "__notes__", ())) or "a plugin"
        code = fail(f"{who} ended the program before the work was done")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        complain("cannot write the output: the device is full. The work itself was done")
        output.discard()
        code = ERROR
    finally:
        output.restore()
    sys.exit(code)


def _fail(
    what: str, hint: str = "", *, in_json: bool, code: int = ERROR, told: bool = False
) -> int:
    """Print an error for people, unless they were told, and for programs that asked for JSON."""
    if not told:
        complain(f"{what}\n  {hint}" if hint else what)
    if in_json:
        try:
            emit("json", lambda: {"error": {"what": what, "hint": hint or None}}, ())
        except OSError:  # a full disk: people were told
            output.discard()
    return code


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Return whether ``-o json`` stands anywhere, also where the rest cannot be understood."""
    pairs = pairwise(arguments)
    return not {"-ojson", "--output=json"}.isdisjoint(arguments) or any(
        option in {"-o", "--output"} and value == "json" for option, value in pairs
    )


def _arguments() -> list[str]:
    """Return the arguments as text that can be stored and printed, whatever bytes they are."""
    return [
        argument.encode(errors="surrogateescape").decode(errors="backslashreplace")
        for argument in sys.argv[1:]
    ]


@click.group(
    cls=Lazy,
    within=_COMMANDS,
    unlisted={_COMPLETE: "complete:complete"},
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("init", "reconcile --check --diff", "status"),
)
@click.option(
    "--config", "named", envvar="TREASON_CONFIG", metavar="FILE",
    help="The configuration file (default: /etc/treason/treason.toml, if it exists)."
    " [env: TREASON_CONFIG]",
)  # fmt: skip
@verbosity
@click.version_option(__version__, message="treason %(version)s")
@click.pass_context
def cli(context: click.Context, named: str | None) -> None:
    """Keep hostile peers out: bring every firewall in line with the bans and the whitelist."""
    if context.invoked_subcommand == _COMPLETE:
        context.obj = named
        return
    from reconciler.config.setup import Setup  # noqa: PLC0415 - only commands need it

    context.obj = Setup(named, output.keep_apart)
