"""What the installed services need for a configuration, and whether they can have it."""

from reconciler.config.feeds import ConfiguredFeed
from reconciler.config.setup import Setup
from reconciler.config.tables import Config
from reconciler.host import feed_units, sandbox
from reconciler.host.feed_units import FeedUnit
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
    feeds = [*setup.feeds.values()] if there else []
    own = (
        (config.treason.database, sandbox.STATE, "treason"),
        (config.treason.lock, sandbox.RUNTIME, "treason"),
        (config.run.socket, sandbox.RUNTIME, "run"),
        *((feed.store, feed_units.STORES / feed.name, f"feed.{feed.name}") for feed in feeds),
    )
    sandbox.check(files, own, root=sandbox.needs_root(asked) and not feeds)
    return Services.of(asked, tuple(map(_of_feed, feeds)))


def _of_feed(feed: ConfiguredFeed) -> FeedUnit:
    """Return what the units of a feed get. Raise `TreasonError` for what they cannot."""
    refresh, publishes = feed.settings.refresh, bool(feed.settings.publish)
    return FeedUnit.of(feed.name, feed.needs(), refresh=refresh, publishes=publishes)


def _protecting(setup: Setup | None) -> Asked:
    """Return what each pass reads to know whom it never drops."""
    read = protection.files(setup.config.protect if setup else Protect())
    return Asked("resolvers in [protect]", None, Needs(reads=tuple(map(str, read))))
