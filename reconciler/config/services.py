"""What the installed services need for a configuration, and whether they can have it."""

from reconciler.config.setup import Setup
from reconciler.config.tables import Config
from reconciler.host import sandbox
from reconciler.host.sandbox import Asked
from reconciler.host.units import Services
from reconciler.interfaces import Needs
from reconciler.planning import protection
from reconciler.planning.protection import Protect


def services(setup: Setup) -> Services:
    """Return what the units give the services. Raise `TreasonError` for what they cannot.

    A configuration that is still to be created needs nothing but its place.
    """
    there = setup.path.exists()
    config = setup.config if there else Config()
    asked = [*(setup.needs() if there else []), _protecting(setup if there else None)]
    files = [setup.path, *([setup.whitelist_file.path] if there else [])]
    own = (
        (config.treason.database, sandbox.STATE, "treason"),
        (config.treason.lock, sandbox.RUNTIME, "treason"),
        (config.run.socket, sandbox.RUNTIME, "run"),
    )
    sandbox.check(files, own, root=sandbox.needs_root(asked))
    return Services.of(asked)


def _protecting(setup: Setup | None) -> Asked:
    """Return what each pass reads to know whom it never drops."""
    read = protection.files(setup.config.protect if setup else Protect())
    return Asked("resolvers in [protect]", None, Needs(reads=tuple(map(str, read))))
