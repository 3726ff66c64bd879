"""The set-up of the daemon, with the plugins that another process has found for it."""

from reconciler.config import plugins
from reconciler.config.plugins import Resolved
from reconciler.config.setup import Setup
from reconciler.daemon.given import Given


def setup_of(given: Given) -> Setup:
    """Return the set-up, with these plugins alone."""
    setup = Setup(given.named)
    setup.plugins = plugins.load(Resolved(*each) for each in given.resolved)
    return setup
