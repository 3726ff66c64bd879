"""The hooks. They only register descriptors; the core drives the objects that those make."""

from collections.abc import Sequence

import pluggy

from reconciler.feeding import FeedPlugin
from reconciler.interfaces import BackendPlugin, SourcePlugin

PROJECT = "treason"
"""pluggy's project name, and the group of entry points under which plugins are found."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def treason_sources() -> Sequence[SourcePlugin]:  # type: ignore[empty-body]  # a specification
    r"""Return the kinds of source that the plugin brings.

    A source that reads one file, each time from where it stopped::

        from pathlib import Path
        from reconciler import Record, SourcePlugin, hookimpl

        class Spool:
            path = Path("/var/spool/messages")

            def __init__(self, settings):
                self.end = 0

            def read(self, cursor, needles):
                text = self.path.read_text()
                self.end = len(text)
                for line in text[int(cursor or 0):].splitlines():
                    yield Record(line, "spool", trusted=True)

            def cursor(self):
                return str(self.end)

        @hookimpl
        def treason_sources():
            return [SourcePlugin("spool", Spool)]
    """


@hookspec
def treason_backends() -> Sequence[BackendPlugin]:  # type: ignore[empty-body]  # a specification
    r"""Return the kinds of backend that the plugin brings.

    A backend that holds the banned networks in memory::

        from reconciler import BackendPlugin, Observed, hookimpl

        class Toy:
            banned = frozenset()

            def __init__(self, settings):
                pass

            def observe(self):
                return Observed(Toy.banned, passed=None)

            def render(self, plan):
                return "".join(f"drop {network}\n" for network in plan.banned.add)

            def apply(self, plan):
                Toy.banned = frozenset(plan.desired.banned)

            def teardown(self):
                Toy.banned = frozenset()

        @hookimpl
        def treason_backends():
            return [BackendPlugin("toy", Toy)]
    """


@hookspec
def treason_feeds() -> Sequence[FeedPlugin]:  # type: ignore[empty-body]  # a specification
    r"""Return the kinds of feed that the plugin brings.

    A feed that says what a file says, all of it each time::

        from pathlib import Path
        from reconciler import FeedBan, FeedPlugin, FeedSnapshot, Network, hookimpl

        class Colleague:
            def __init__(self, settings):
                self.path = Path("/srv/colleague/bad")

            def changes(self, cursor):
                yield FeedSnapshot.BEGIN
                yield FeedBan(map(Network.parse, self.path.read_text().split()))
                yield FeedSnapshot.END

            def cursor(self):
                return None

        @hookimpl
        def treason_feeds():
            return [FeedPlugin("colleague", Colleague)]
    """
