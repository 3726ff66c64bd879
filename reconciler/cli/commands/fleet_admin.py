"""The commands of a fleet's administrator, and what a member may see of it."""

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from reconciler.cli.console import ERROR, OK, emit, note, say
from reconciler.cli.options import examples, output_format, verbosity
from reconciler.config.feeds import known
from reconciler.config.setup import Setup
from reconciler.errors import ConfigError, TreasonError
from reconciler.feeding import Fleet
from reconciler.files import remedy, replace
from reconciler.lines import counted
from reconciler.report import fleet as text

_PRIVATE = 0o077
"""What nobody but the owner of a password's file may have."""

_RESTART = "restart its feed, if it runs"

dsn_option = click.option(
    "--dsn", metavar="DSN",
    help="How the administrator connects, as libpq reads it, without a password: dbname=fleet.",
)  # fmt: skip
print_sql = click.option(
    "--print-sql", is_flag=True, help="Do nothing; print what psql would have to run."
)


@click.command(
    epilog=examples("fleet init --dsn dbname=fleet", "fleet init --print-sql > fleet.sql")
)
@dsn_option
@click.option(
    "--new-epoch", is_flag=True,
    help="After a backup was restored: each member accepts it, and tells its bans anew.",
)  # fmt: skip
@print_sql
@verbosity
@click.pass_obj
def init(setup: Setup, dsn: str | None, new_epoch: bool, print_sql: bool) -> int:
    """Make a database a fleet: roles, schema and rights; newer versions migrate older ones.

    It may run again at any time. The database is there already, and is the fleet's alone.
    """
    fleet = _fleet(setup)
    if print_sql:
        say(fleet.init_script(new_epoch=new_epoch).rstrip("\n"))
        return OK
    return _say(fleet.init(_given(dsn), new_epoch=new_epoch))


@click.command(
    "add-member",
    epilog=examples(
        "fleet add-member web1 --dsn dbname=fleet",
        "fleet add-member web1 --dsn dbname=fleet --max-new 5000",
        "fleet add-member web1 --dsn dbname=fleet --new-password --password-file web1.password",
    ),
)
@click.argument("name")
@dsn_option
@click.option(
    "--max-new", type=click.IntRange(0, 1_000_000), metavar="N",
    help="How many new networks it may ban in an hour (1000, or as it was).",
)  # fmt: skip
@click.option("--new-password", is_flag=True, help="Give a member another password.")
@click.option(
    "--password-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write the password there (mode 0600) instead of printing it.",
)  # fmt: skip
@print_sql
@verbosity
@click.pass_obj
def add_member(
    setup: Setup,
    name: str,
    dsn: str | None,
    max_new: int | None,
    new_password: bool,
    password_file: Path | None,
    print_sql: bool,
) -> int:
    """Add a machine and print its password, or change its quota or its password.

    The password is printed once, alone on standard output. The server never sees it.
    """
    fleet = _fleet(setup)
    made: list[str] = []

    def keep(password: str) -> None:
        made.append(password)
        if password_file:
            _write(password_file, password)

    if print_sql:
        script = fleet.add_script(name, max_new=max_new, keep=keep)
        say(script.rstrip("\n"))
        if not password_file:
            note(f"its password: {made[0]}")
        return OK
    done = fleet.add_member(
        _given(dsn), name, max_new=max_new, new_password=new_password, keep=keep
    )
    for line in done:
        note(line)
    for password in made:
        if password_file:
            note(f"its password is in {password_file}, for password_file there; then {_RESTART}")
        else:
            note(f"its password, for password_file on that machine; then {_RESTART}:")
            say(password)
    return OK


@click.command("remove-member", epilog=examples("fleet remove-member web1 --dsn dbname=fleet"))
@click.argument("name")
@dsn_option
@click.option("--yes", is_flag=True, help="Do not ask before, as on a terminal it does.")
@print_sql
@verbosity
@click.pass_obj
def remove_member(setup: Setup, name: str, dsn: str | None, yes: bool, print_sql: bool) -> int:
    """Let a machine in no more, and remove all that it bans.

    Its sessions end, the others stop to drop what only it banned, and its role is gone. On a
    terminal it asks first.
    """
    fleet = _fleet(setup)
    if print_sql:
        say(fleet.remove_script(name).rstrip("\n"))
        return OK
    if sys.stdin is not None and sys.stdin.isatty() and not yes:
        bans = sum(each.bans for each in fleet.status(_given(dsn)).members if each.name == name)
        asked = f"Remove member {name}, and {counted(bans, 'ban')} of it everywhere?"
        if not click.confirm(asked, err=True):
            say("nothing was changed")
            return ERROR
    return _say(fleet.remove_member(_given(dsn), name))


@click.command(epilog=examples("fleet status --dsn dbname=fleet", "fleet status --feed fleet"))
@dsn_option
@click.option(
    "--feed",
    "feed",
    metavar="NAME",
    help="Ask as the member that [feed.NAME] makes of this machine.",
)
@output_format
@verbosity
@click.pass_obj
def status(setup: Setup, dsn: str | None, feed: str | None, form: str) -> int:
    """Show the fleet's clock and its members: when each was seen, and how far it has read.

    A member sees the clock, and itself. Ends with 1 if there is anything to look after.
    """
    if dsn is not None and feed is not None:
        raise click.UsageError("--dsn goes without --feed")
    if feed is None:
        found = _fleet(setup).status(_given(dsn, " or --feed NAME"))
    else:
        configured = known(feed, setup.feeds, setup.path)
        made = configured.plugin and configured.plugin.fleet
        if not made:
            raise ConfigError(f"feed {feed} is no fleet", "name another one: treason feed list")
        found = made().own_status(configured.own)
    emit(form, lambda: text.value(found), text.lines(found))
    return ERROR if found.notes else OK


def _fleet(setup: Setup) -> Fleet:
    """Return the only kind of feed that has an engine to administer."""
    found = [each.fleet for each in setup.plugins.feeds.values() if each.fleet]
    if len(found) != 1:
        names = ", ".join(each.name for each in setup.plugins.feeds.values() if each.fleet)
        raise ConfigError(
            f"{len(found)} kinds of feed have a fleet" + f": {names}" * bool(names),
            "treason plugins lists what is installed",
        )
    return found[0]()


def _given(dsn: str | None, otherwise: str = "") -> str:
    if dsn is None:
        raise click.UsageError(f"--dsn{otherwise} is needed, as in --dsn dbname=fleet")
    return dsn


def _say(done: Iterable[str]) -> int:
    for line in done:
        say(line)
    return OK


def _write(path: Path, password: str) -> None:
    """Write a password for its owner alone. Raise `TreasonError`."""
    try:
        if path.exists() and path.stat().st_mode & _PRIVATE:
            raise TreasonError(f"others may read {path}", f"chmod 600 {path}")
        replace(path, f"{password}\n", mode=0o600)
    except OSError as error:
        raise TreasonError(
            f"cannot write {path}: {error.strerror}", remedy(error, "name another --password-file")
        ) from None
