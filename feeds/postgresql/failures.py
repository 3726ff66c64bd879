"""What goes wrong with the fleet's database, in two lines: what happened, and what to do."""

import re
from typing import Final

from reconciler import FeedUnreadable

BUSY: Final = "55P03"
QUOTA: Final = "53400"
READ_ONLY: Final = "25006"
"""SQLSTATEs: the clock is held by another, the quota is full, and this is a standby."""

_SHOWN: Final = 300

_MEMBER: Final = "is this member in the fleet? Its administrator runs: treason fleet add-member"
_INIT: Final = "the fleet's administrator runs: treason fleet init"
_NO_FLEET: Final = frozenset({"3F000", "42883", "42P01"})
"""SQLSTATEs of a schema, a function and a table that are not there."""

_HINTS: Final = {
    "42501": _MEMBER,
    BUSY: "another session holds the fleet's clock; it is tried again",
    QUOTA: "the fleet's administrator may raise it: treason fleet add-member --max-new",
    "53300": "raise max_connections of the server: each member has one connection",
    READ_ONLY: "this server only follows another one: name that in dsn",
}

_REASONS: Final = (
    (r"password authentication failed|no password supplied|SCRAM|SASL",
     "is password_file what `treason fleet add-member` wrote? A changed one needs a restart"),
    (r"certificate verify failed|root certificate|unknown ca",
     "ca_file names who signed the server's certificate; or has that expired?"),
    (r"server certificate for|does not match host name",
     "name the host in dsn as the server's certificate does"),
    (r"does not support SSL", "set ssl = on in the server's postgresql.conf"),
    (r"role .* does not exist|not permitted to log in", _MEMBER),
    (r"database .* does not exist", f"is dbname right? If so, {_INIT}"),
    (r"permission denied for database", _MEMBER),
    (r"pg_hba\.conf", "let it in by the server's pg_hba.conf: hostssl ... scram-sha-256"),
    (r"too many (clients|connections)|connection slots",
     "raise max_connections of the server: each member has one connection"),
    (r"could not translate host name", "is the host in dsn right, and does DNS answer?"),
    (r"starting up|shutting down|in recovery|not (yet )?accepting", "it is tried again"),
)  # fmt: skip

_PASSES: Final = re.compile(
    "refused|No such file|starting up|shutting down|in recovery|not (yet )?accepting|terminating"
    "|closed|reset by peer"
    "|[Bb]roken pipe|[Nn]o route|unreachable|timed? ?out|EOF"
)
"""What is told where the server is not there, and may be again at any time."""

_DOWN: Final = "is the server there, and does it let this machine in? It is tried again"


class Lost(Exception):
    """The connection is gone, or there is none; the text says why."""


class Silent(Lost):
    """Nobody answers in time, so that it is of no use to ask again at once."""


class Refused(Exception):
    """The server did not do what was asked: its SQLSTATE, and its words."""

    def __init__(self, state: str, text: str) -> None:
        super().__init__(text)
        self.state = state
        self.text = text


def is_down(error: Lost | Refused) -> bool:
    """Whether it may pass by itself at any time, so that it is worth to ask again soon."""
    return isinstance(error, Silent) or bool(_PASSES.search(str(error)))


def unreadable(where: str, error: Lost | Refused) -> FeedUnreadable:
    """Return what is raised of it, where ``where`` names the database."""
    text = line(str(error)) or "no reason is given"
    if isinstance(error, Refused) and error.state in _NO_FLEET:
        return FeedUnreadable(f"{where}: there is no fleet in it", _INIT)
    if isinstance(error, Refused) and error.state in _HINTS:
        return FeedUnreadable(f"{where}: {text}", _HINTS[error.state])
    for pattern, hint in _REASONS:
        if re.search(pattern, text):
            return FeedUnreadable(f"{where}: {text}", hint)
    return FeedUnreadable(f"{where}: {text}", _DOWN if isinstance(error, Lost) else "")


def line(text: str) -> str:
    """Return a stranger's text in one line that moves no terminal's cursor."""
    text = " ".join(text.split())[:_SHOWN]
    return "".join(each if each.isprintable() else "?" for each in text)
