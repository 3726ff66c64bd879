"""What the installed services need for a configuration, and whether they can have it."""

from reconciler.config.setup import Setup
from reconciler.config.tables import Main
from reconciler.host import sandbox
from reconciler.host.sandbox import Asked
from reconciler.host.units import Services
from reconciler.interfaces import Needs
from reconciler.planning import protection


def services(setup: Setup) -> Services:
    """Return what the units give the services. Raise `TreasonError` for what they cannot.

    A configuration that is still to be created needs nothing but its place.
    """
    there = setup.path.exists()
    main = setup.config.treason if there else Main()
    protect = setup.config.protect if there else protection.Protect()
    reads = Needs(reads=tuple(protection.files_read(protect)))
    asked = [*(setup.needs() if there else ()), Asked("[protect]", None, reads)]
    files = [setup.path, *([setup.whitelist_file.path] if there else [])]
    sandbox.check(files, main.database, main.lock, root=sandbox.needs_root(asked))
    return Services.of(asked)
