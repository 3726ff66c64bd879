"""The fleet: bans that many machines share by a database of PostgreSQL."""

from pathlib import Path

from attrs import field, frozen
from attrs.validators import optional

from reconciler import Feed, FeedPlugin, FeedUnreadable, Fleet, Needs, TreasonError, hookimpl

_MAX_NEW = 2_000
"""Networks that a member may bring in an hour, unless the table says otherwise.

Twice the quota that the database gives it (1.sql): whoever was away for half an hour takes in the
hour behind that what two hours allow.
"""


def _absolute(_settings: object, _key: object, path: Path) -> None:
    if not path.is_absolute():
        raise ValueError(f"{str(path)!r} does not begin with /: write the whole path")


def _dsn(_settings: object, _key: object, text: str) -> None:
    from feeds.postgresql import dsn  # noqa: PLC0415 - every command imports this module

    dsn.check(dsn.parse(text))


@frozen
class PostgresqlSettings:
    """The keys of ``[feed.NAME]`` with ``type = "postgresql"``.

    ``dsn`` is how to connect, in libpq's keywords or as a URI; it never holds a password, which is
    all that ``password_file`` holds. ``ca_file`` holds the authorities that may have signed the
    server's certificate, in place of the system's.
    """

    dsn: str = field(validator=_dsn)
    password_file: Path | None = field(default=None, validator=optional(_absolute))
    ca_file: Path | None = field(default=None, validator=optional(_absolute))


def _made(settings: PostgresqlSettings) -> Feed:
    try:
        from feeds.postgresql.feed import Postgresql  # noqa: PLC0415 - every command imports this
    except ImportError as error:
        raise FeedUnreadable(*_missing(error)) from None
    return Postgresql(settings)


def _missing(error: ImportError) -> tuple[str, str]:
    """Return what is missing, and what brings it.

    Where psycopg is there without a libpq of its own, it looks for the system's.
    """
    if isinstance(error, ModuleNotFoundError):
        return (
            f"the fleet needs a library: {error}",
            "pip install 'treason[fleet]', or python3-psycopg",
        )
    return (
        "the fleet needs libpq, the library of PostgreSQL's programs, and none is found",
        "apt-get install libpq5 (of pip, 'treason[fleet]' brings one of its own)",
    )


def _needs(settings: PostgresqlSettings) -> Needs:
    reads = (str(settings.ca_file),) if settings.ca_file else ()
    secrets = (str(settings.password_file),) if settings.password_file else ()
    return Needs(reads=reads, secrets=secrets)


def _administration() -> Fleet:
    try:
        from feeds.postgresql.administration import Administration  # noqa: PLC0415 - as above
    except ImportError as error:
        raise TreasonError(*_missing(error)) from None
    return Administration()


@hookimpl
def treason_feeds() -> list[FeedPlugin]:
    """Return the feed ``postgresql``."""
    return [
        FeedPlugin(
            "postgresql",
            _made,
            PostgresqlSettings,
            needs=_needs,
            max_new=_MAX_NEW,
            fleet=_administration,
        )
    ]
