"""Every error that treason raises on purpose.

    TreasonError
    ├── InvalidNetwork        a text that is not a network
    ├── InvalidList           a text that is not a list of networks
    ├── InvalidDuration       a text that is not a duration
    ├── ConfigError           the configuration, or a value of the command line, is refused
    ├── PluginError           a plugin is missing, broken, or collides with another
    ├── StoreError            the database cannot be opened, read or written
    ├── LockError             another pass runs, or the lock cannot be created
    ├── DaemonError           the daemon does not answer, or another one runs already
    ├── SourceUnreadable      a source cannot be read
    ├── FeedUnreadable        what a feed says cannot be read, or is not believed
    └── BackendError
        ├── BackendUnreadable what the firewall holds cannot be read
        └── BackendFailed     the firewall refused a change; it is as it was

The command line prints them without a traceback and exits with 1.
"""

from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")


class TreasonError(Exception):
    """What happened, to which thing; ``hint`` says what to do next."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  {self.hint}" if self.hint else self.what


class InvalidNetwork(TreasonError, ValueError):
    """A text that is not an IPv4 or IPv6 address or network in canonical form."""


class InvalidList(TreasonError, ValueError):
    """What is not a list of networks, whatever its lines say; what is told does not name it."""


class InvalidDuration(TreasonError, ValueError):
    """A text that is not a duration."""


class ConfigError(TreasonError):
    """The configuration, or a value of the command line, is refused."""


class PluginError(TreasonError):
    """A plugin is missing, broken, or collides with another."""


class StoreError(TreasonError):
    """The database cannot be opened, read or written."""


class LockError(TreasonError):
    """Another pass runs, or the lock cannot be created."""


class DaemonError(TreasonError):
    """The daemon does not answer, or could not do what was asked; or another one runs already."""


class SourceUnreadable(TreasonError):
    """A source cannot be read."""


class FeedUnreadable(TreasonError):
    """What a feed says cannot be read, or is not believed; what was taken of it stays."""


class BackendError(TreasonError):
    """A backend cannot do its work."""


class BackendUnreadable(BackendError):
    """What the firewall holds cannot be read."""


class BackendFailed(BackendError):
    """The firewall refused a change; it is as it was before."""


ENDS: Final = (SystemExit, KeyboardInterrupt, GeneratorExit)
"""What ends the program, whoever raises it: never a plugin's failure."""


def guarded(work: Callable[[], T], failed: Callable[[BaseException], T], who: str) -> T:
    """Return what ``work`` gives or, whatever a plugin raises in it, what ``failed`` makes of that.

    Raise what ends the program, with a note on ``who`` did.
    """
    try:
        return work()
    except ENDS as error:
        error.add_note(who)
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise whatever it likes
        if isinstance(error, BaseExceptionGroup) and (ends := error.subgroup(ENDS)) is not None:
            raise _first(ends) from None  # of several tasks, one was to end the program
        return failed(error)


def _first(group: BaseException) -> BaseException:
    return _first(group.exceptions[0]) if isinstance(group, BaseExceptionGroup) else group


def words(error: BaseException) -> str:
    """Return the text of an exception without its kind: in one line, unless it is treason's own."""
    try:
        if isinstance(error, TreasonError):
            return "".join(str(error))  # which fails where a plugin made no text of it
        texts = error.args if type(error) in {ValueError, TypeError} else ()
        first = texts[0] if len(texts) > 1 else None  # attrs' validators pass more along
        return " ".join((first if isinstance(first, str) else str(error)).split())
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - even its text is the plugin's own code
        return f"{type(error).__name__}, whose text cannot be read"


def said(error: BaseException) -> str:
    """Return the kind and the text of an exception that nobody meant for people, in one line."""
    return ": ".join(filter(None, (type(error).__name__, words(error))))


def describe(error: BaseException, name: str) -> str:
    """Return what is told when the plugin ``name`` raised this."""
    if isinstance(error, TreasonError):
        return words(error)
    return f"{name}: the plugin failed: {said(error)}\n  -v shows where"


def trace(error: BaseException) -> str:
    """Return the traceback of a bug; what is raised on purpose has none."""
    if isinstance(error, TreasonError):
        return ""
    import traceback  # noqa: PLC0415 - few passes need it

    return "".join(traceback.format_exception(error))
