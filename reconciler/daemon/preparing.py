"""The set-up of the daemon, with the plugins that another process has found for it."""

from collections.abc import Callable
from functools import partial

from reconciler.config import plugins
from reconciler.config.plugins import Resolved
from reconciler.config.setup import Setup
from reconciler.daemon.given import Given


def setup_of(given: Given) -> Setup:
    """Return the set-up, with these plugins alone."""
    setup = Setup(given.named)
    setup.plugins = plugins.load(Resolved(*each) for each in given.resolved)
    return setup


def makes_the_same(one: Callable[[], object], other: Callable[[], object]) -> bool:
    """Whether two makers of sources or backends have the same plugin and the same settings."""
    if not (isinstance(one, partial) and isinstance(other, partial)):
        return False
    return (one.func, one.args) == (other.func, other.args)
