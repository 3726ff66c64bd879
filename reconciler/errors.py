"""Every error that treason raises on purpose.

    TreasonError
    ├── InvalidNetwork        a text that is no network
    ├── InvalidDuration       a text that is no duration
    ├── ConfigError           the configuration, or a value of the command line, is refused
    ├── PluginError           a plugin is missing, broken, or collides with another
    ├── StoreError            the database cannot be opened, read or written
    ├── LockError             another pass runs, or the lock cannot be made
    ├── SourceUnreadable      a source cannot be read
    └── BackendError
        ├── BackendUnreadable what the firewall holds cannot be told
        └── BackendFailed     the firewall refused a change; it is as it was

The command line prints them without a traceback and exits with 1.
"""


class TreasonError(Exception):
    """What happened, to which thing; ``hint`` says what to do next."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  {self.hint}" if self.hint else self.what


class InvalidNetwork(TreasonError, ValueError):
    """A text that is no IPv4 or IPv6 address or network in canonical form."""


class InvalidDuration(TreasonError, ValueError):
    """A text that is no duration."""


class ConfigError(TreasonError):
    """The configuration, or a value of the command line, is refused."""


class PluginError(TreasonError):
    """A plugin is missing, broken, or collides with another."""


class StoreError(TreasonError):
    """The database cannot be opened, read or written."""


class LockError(TreasonError):
    """Another pass runs, or the lock cannot be made."""


class SourceUnreadable(TreasonError):
    """A source cannot be read."""


class BackendError(TreasonError):
    """A backend cannot do its work."""


class BackendUnreadable(BackendError):
    """What the firewall holds cannot be told."""


class BackendFailed(BackendError):
    """The firewall refused a change; it is as it was before."""


def describe(error: BaseException, name: str) -> str:
    """Say what a plugin raised; only the person at the keyboard ends the pass."""
    if isinstance(error, KeyboardInterrupt):
        raise error
    if isinstance(error, TreasonError):
        return str(error)
    first = error.args[0] if error.args else ""  # attrs' validators pass more along
    text = first if isinstance(first, str) and len(error.args) > 1 else error
    said = " ".join(f"{type(error).__name__}: {text}".split())
    return f"{name}: the plugin failed: {said}\n  -v shows where"


def trace(error: BaseException) -> str:
    """Give the traceback of a bug; what is raised on purpose has none."""
    if isinstance(error, TreasonError):
        return ""
    import traceback  # noqa: PLC0415 - few passes need it

    return "".join(traceback.format_exception(error))
