"""The command about whole lists of bans: import."""

import errno
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import click

from reconciler import blocklist, embedding, lines
from reconciler.cli.console import say, warn
from reconciler.cli.ending import enforce_now
from reconciler.cli.options import examples, verbose, verbosity
from reconciler.config.setup import Setup
from reconciler.errors import ConfigError, InvalidList
from reconciler.passes import access, traces
from reconciler.passes.banning import Exempt
from reconciler.passes.importing import Sifted, sifted
from reconciler.report.plain import plain
from reconciler.report.times import ahead, iso
from reconciler.store.imports import BanList, Imported
from reconciler.toml import duration

_PIECE: Final = 1 << 16
_STDIN: Final = "-"
_FEW: Final = 10
"""Networks and lines that are named without -v."""

_LONGEST: Final = 64
"""Characters of a list's name."""


@click.command(
    "import",
    epilog=examples(
        "import hostile.txt --for 30d --reason 'reported by a friend'",
        "import drop.txt --replace drop",
        "import hostile.txt --skip-invalid -v",
        "unban --rule import:hostile",
    ),
)
@click.argument("file", default=_STDIN, metavar="[FILE|-]")
@click.option(
    "--replace", metavar="NAME",
    help="Let the bans of import:NAME be those of this list: unban the others of that name.",
)  # fmt: skip
@click.option(
    "--for", "length", default="permanent", show_default=True, metavar="DURATION",
    help="How long, where a line has no timeout: 90s, 10m, 1h, 30d, 2w or permanent.",
)  # fmt: skip
@click.option("--reason", default="", metavar="TEXT", help="Why, where a line does not say it.")
@click.option(
    "--skip-invalid", "skip", is_flag=True,
    help="Leave out what is refused, name it, and ban the others.",
)  # fmt: skip
@click.option(
    "--force", is_flag=True,
    help="Ban also what is too wide, or exempt; let an empty list unban all of --replace.",
)  # fmt: skip
@verbosity
@click.pass_obj
def import_(
    setup: Setup,
    file: str,
    replace: str | None,
    length: str,
    reason: str,
    skip: bool,
    force: bool,
) -> int:
    """Ban the networks of a list, in any common form; the daemon enforces them now.

    The bans belong to import:NAME, by the name of the file without its ending: `unban --rule
    import:NAME` removes them. Another ban of the same network that lasts as long stays as it is. If
    an entry is refused, nothing is changed.
    """
    seconds, origin = duration.parse(length), _origin(file, replace)
    name = "standard input" if file == _STDIN else file
    found = _read(file, name)
    with access.opened(setup, write=False) as store:
        traces.check_whitelist(setup, store)
        now = access.told(store).now
        clients, teredo = store.clients.active(now), found.all.meeting(embedding.TEREDO)
        exempt = Exempt(setup, access.protection(setup, clients, teredo), now)
    wanted = sifted(found, exempt, reason, force=force)
    if wanted.refused and not skip:
        raise _refusal(name, wanted)
    if not force:
        _check(name, found, wanted, replace)
    with access.opened(setup, write=True) as store:
        now = access.told(store).now
        until = None if seconds is None else now + seconds
        ends = {network: now + left for network, left in found.timeouts.items()}
        bans = BanList(origin, wanted.groups, until, ends)
        imported = store.imports.take(bans, now, replace=replace is not None)
    most = len(wanted.first) if verbose() else _FEW
    skipped = [f"skipped: {each}" for each in wanted.first]
    for each in lines.shortened(skipped, most, "skipped: {} more", count=wanted.refused):
        warn(each)
    for each in lines.shortened(wanted.remarks, most):
        warn(each)
    end = "permanently" if until is None else f"until {iso(until)} ({ahead(until, now)})"
    end += " or as the list says" if found.timeouts else ""
    say(f"{plain(origin)}: {_told(imported, end)}")
    return enforce_now(setup)


def _origin(file: str, name: str | None) -> str:
    """Return the origin of the bans. Raise `ConfigError` for a name that nobody could read."""
    stem = "" if file == _STDIN else Path(file).stem
    chosen = stem if name is None else name
    if 0 < len(chosen) <= _LONGEST and chosen.isprintable() and chosen == chosen.strip():
        return f"import:{chosen}"
    if name is None:
        return "import"
    raise ConfigError(
        f"--replace {name!r} is not a name", f"write at most {_LONGEST} characters: --replace drop"
    )


def _read(file: str, name: str) -> blocklist.Blocklist:
    """Read the list. Raise `ConfigError`."""
    try:
        return blocklist.read(_chunks(file))
    except OSError as error:
        raise ConfigError(
            f"{name}: cannot read the list: {error.strerror}", "nothing was changed"
        ) from None
    except InvalidList as error:
        raise ConfigError(f"{name}: {error.what}", f"{error.hint}; nothing was changed") from None


def _chunks(file: str) -> Iterator[bytes]:
    """Yield the bytes of a file, or of standard input. Raise OSError."""
    if file != _STDIN:
        with Path(file).open("rb") as stream:
            yield from iter(partial(stream.read, _PIECE), b"")
    elif sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    else:
        yield from iter(partial(sys.stdin.buffer.read, _PIECE), b"")


def _refusal(name: str, wanted: Sifted) -> ConfigError:
    """Return the error that names the first of what is refused."""
    number = f"{wanted.refused:,} {'entry is' if wanted.refused == 1 else 'entries are'} refused"
    some = lines.shortened(wanted.first, count=wanted.refused)
    hint = "--skip-invalid bans the others; treason import --help tells of --force"
    return ConfigError(f"{name}: {number}; nothing was changed", "\n  ".join([*some, hint]))


def _check(name: str, found: blocklist.Blocklist, wanted: Sifted, replace: str | None) -> None:
    """Raise `ConfigError` for a list that bans nobody, or is not to be believed as a whole."""
    doubt = found.doubt or ("" if wanted.number else "names no networks that can be banned")
    if doubt and replace is not None:
        raise ConfigError(
            f"{name}: {doubt}; so it does not replace {plain(replace)}",
            "nothing was changed; if this is the right list: --force",
        )
    if not wanted.number:
        raise ConfigError(f"{name}: {doubt}", "nothing was changed")


def _told(done: Imported, end: str) -> str:
    """Return what became of the list."""
    besides = {
        "banned already": done.known,
        "left to other bans that last as long": done.others,
        "unbanned": done.lifted,
    }
    more = [f"{number:,} {what}" for what, number in besides.items() if number]
    new = lines.counted(done.new, "network") if done.new or not more else "no other"
    return ", ".join([f"{new} banned {end}", *more])
