"""What the installed services need for a configuration, and whether they can have it."""

from reconciler.config.setup import Setup
from reconciler.config.tables import Main
from reconciler.host import sandbox
from reconciler.host.units import Services


def services(setup: Setup) -> Services:
    """Return what the units give the services. Raise `TreasonError` for what they cannot.

    A configuration that is still to be created needs nothing but its place.
    """
    there = setup.path.exists()
    main = setup.config.treason if there else Main()
    asked = setup.needs() if there else []
    files = [setup.path, *([setup.whitelist_file.path] if there else [])]
    sandbox.check(files, main.database, main.lock, root=sandbox.needs_root(asked))
    return Services.of(asked)
