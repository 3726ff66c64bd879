"""Traces of a database, and of a whitelist: what is gone, or was emptied, is not taken for nothing.

Firewalls that still drop somebody tell of a database, and so does a file beside the lock. What the
whitelist held that commands write is remembered in the database; a file beside the lock tells that
there was one.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Final

from reconciler import files
from reconciler.config.setup import Setup
from reconciler.errors import ConfigError, StoreError, TreasonError, guarded
from reconciler.host import lock
from reconciler.interfaces import Backend, DigestedBackend
from reconciler.lines import counted, first_few
from reconciler.model import Observed
from reconciler.planning import ownership, whitelist
from reconciler.planning.whitelist import Exemption
from reconciler.store.opening import is_blank
from reconciler.store.store import Store, open_store
from reconciler.toml.file import TomlFile

Backends = Mapping[str, Callable[[], Backend]]

_HINT: Final = (
    "mount it, or restore it from a backup; to begin with an empty one: treason init --new-database"
)


def check(setup: Setup, backends: Backends | None = None, *, create: bool = True) -> None:
    """Raise `StoreError` if the database is missing or blank, though there was one.

    ``backends`` are asked, else the configured ones. Without ``create`` none may be made either.
    """
    path = setup.config.treason.database
    if not is_blank(path):
        return
    state = "is empty" if path.exists() else "is missing"
    if found := _trace(setup, backends):
        raise StoreError(f"{path}: the database {state}, but there was one: {found}", _HINT)
    if not create:
        raise StoreError(
            f"{path}: the database {state}, and is not to be created here",
            "mount it, or restore it from a backup; to create one: treason init",
        )


def begin(setup: Setup) -> None:
    """Create a database where one was before: it takes over what that one enforced.

    Raise `StoreError` where there is one.
    """
    path = setup.config.treason.database
    if not is_blank(path):
        raise StoreError(
            f"{path}: there is a database already", "move it away first, to begin with an empty one"
        )
    identity = noted_identity(setup)
    with open_store(path, write=True) as store:
        if identity:
            store.take_identity(identity)


def noted_identity(setup: Setup) -> str:
    """Return the identity of the database for which firewalls were changed; empty if none tells."""
    path = setup.config.treason.database.resolve()
    notes = (held.owner for _, held in _held(setup, None))
    return next((each for note in notes if (each := ownership.identity_of(note, path))), "")


def remember(setup: Setup, store: Store) -> None:
    """Leave a trace of the database and of the whitelist, for the time when they are gone.

    What cannot be written makes a later look less sure, and is no reason to stop.
    """
    main, file = setup.config.treason, setup.whitelist_file
    files.sweep(file.path)
    seen = {"database": main.database} | ({"whitelist": file.path} if file.data else {})
    for kind, path in seen.items():
        trace = _beside_lock(setup, kind, path)
        if not _is_left(trace):
            with suppress(OSError):
                lock.leave(trace, f"{path}\n", like=main.database.parent)
    if file.data:
        store.attempt(partial(store.whitelists.remember, file.path, file.text))


def check_whitelist(setup: Setup, store: Store) -> None:
    """Raise `ConfigError` if the file that commands write is gone, or emptied, and held something.

    Likewise the other file, which has a whitelist, too, if that named feeds.

    One that has comments alone may have been cut off, and is emptied too; one that says
    ``networks = []`` is believed.
    """
    _check_configuration(setup, store)
    file = setup.whitelist_file
    if file.data:
        return
    state = "is empty" if file.path.exists() else "is missing"
    held = _remembered(file, store)
    if held:
        raise ConfigError(
            f"{file.path}: the whitelist {state}, but held {counted(len(held), 'network')}",
            "restore it from a backup, or let it be written anew from what is remembered: treason"
            " whitelist add or remove; to go on without, write: networks = []",
        )
    if not _text(file, store) and _is_left(_beside_lock(setup, "whitelist", file.path)):
        raise ConfigError(
            f"{file.path}: the whitelist {state}, but there was one, which this database does not"
            " know",
            "restore it from a backup; to go on without, write: networks = []",
        )


def _check_configuration(setup: Setup, store: Store) -> None:
    """Raise `ConfigError` if the configuration says nothing, though it named feeds."""
    if setup.file.data or not (feeds := store.attempt_to_read(store.feeds.states)):
        return
    state = "says nothing" if setup.path.exists() else "is missing"
    raise ConfigError(
        f"{setup.path}: the configuration {state}, but named {counted(len(feeds), 'feed')}:"
        f" {first_few([*feeds])}",
        "restore it from a backup; to go on without feeds, write into it: [treason]",
    )


def look_for_whitelist(setup: Setup) -> str:
    """Return why it cannot be told whether a whitelist is gone, if so; raise as `check_whitelist`.

    The database is asked only where the file that commands write holds nothing.
    """
    if setup.whitelist_file.data:
        return ""
    try:
        check(setup)
        with open_store(setup.config.treason.database, write=False) as store:
            check_whitelist(setup, store)
    except StoreError as error:
        return f"cannot tell whether whitelist entries are missing: {error}"
    return ""


@contextmanager
def opened_whitelist(setup: Setup) -> Iterator[list[Exemption]]:
    """Yield what the file that commands write holds: if it is gone, what is remembered of it.

    Raise `ConfigError`, or `StoreError` if it is not to be told.
    """
    file = setup.whitelist_file
    if file.data:
        yield [*whitelist.entries(file).networks]
        return
    check(setup)
    with open_store(setup.config.treason.database, write=False) as store:
        if not (held := _remembered(file, store)):
            check_whitelist(setup, store)
    yield held


def wrote_whitelist(setup: Setup, text: str) -> None:
    """Remember what was just written; a database that cannot be written learns it from a pass."""
    main = setup.config.treason
    with suppress(StoreError):
        if not is_blank(main.database):
            with open_store(main.database, write=True) as store:
                store.whitelists.remember(setup.whitelist_file.path, text)


def _remembered(file: TomlFile, store: Store) -> list[Exemption]:
    import tomllib  # noqa: PLC0415 - only a file that is gone is remembered

    text = _text(file, store)
    known = TomlFile(file.path, text, tomllib.loads(text))
    return [*whitelist.entries(known).networks]


def _text(file: TomlFile, store: Store) -> str:
    """Return what the database remembers of the file; nothing where that is damaged."""
    try:
        return store.whitelists.text(file.path)
    except StoreError:
        return ""


def _trace(setup: Setup, backends: Backends | None) -> str:
    """Return what tells of an earlier database, in words; empty if nothing does."""
    path = setup.config.treason.database.resolve()
    for name, held in _held(setup, backends):
        if not ownership.tells_of(held.owner, path):
            continue
        if held.banned:
            return f"{name} still drops {counted(len(held.banned), 'network')}"
        if ownership.identity_of(held.owner, path):
            return f"{name} was last changed for it"
    trace = _beside_lock(setup, "database", path)
    return f"{trace} tells of it" if _is_left(trace) else ""


def _is_left(trace: Path) -> bool:
    """Whether it is there. Raise `StoreError` where that cannot be seen."""
    try:
        trace.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreError(
            f"{trace.parent}: cannot look for the trace of a database there: {error.strerror}",
            "run it as root (with sudo), or set [treason] lock to a path that you may see",
        ) from None
    return True


def _held(setup: Setup, backends: Backends | None) -> Iterator[tuple[str, Observed]]:
    """Yield what backends hold; one that cannot be read tells nothing, and changes nothing.

    Neither does a list tell anything that may be somebody else's; it is left alone in any case.
    """
    try:
        makers = setup.backends() if backends is None else backends
    except TreasonError:
        return
    for name, make in makers.items():
        observed = guarded(_observer(make), _nothing, name)
        if observed is not None:
            yield name, observed


def _observer(make: Callable[[], Backend]) -> Callable[[], Observed | None]:
    def observe() -> Observed | None:
        backend = make()
        return None if isinstance(backend, DigestedBackend) else backend.observe()

    return observe


def _nothing(_error: BaseException) -> None:
    """Stand for what cannot be told."""


def _beside_lock(setup: Setup, kind: str, path: Path) -> Path:
    """Name the file beside the lock that tells of another: after a digest of that one's path."""
    told = str(path.resolve()).encode(errors="surrogateescape")
    digest = blake2b(told, digest_size=8).hexdigest()
    return setup.config.treason.lock.parent / f"{digest}.{kind}"
