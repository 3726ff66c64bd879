"""The start of the daemon, in its lean process."""

import os
from contextlib import closing

from reconciler import execute
from reconciler.daemon.given import Given
from reconciler.daemon.notify import Notifier
from reconciler.daemon.telling import listen, say
from reconciler.errors import TreasonError
from reconciler.host import capabilities
from reconciler.log import ERROR, WARNING


def run(text: str, begun: str) -> int:
    """Run the daemon with what `Given.written` wrote, until it is told to end.

    Return the exit code: 1 where it cannot begin, as beside another one, and where it is to be
    started anew. The first pass, which was ``begun`` before all else, runs while the rest is
    imported; beside another daemon it does no harm.
    """
    given = Given.read(text)
    listen(given.level)
    capabilities.lower(_passing(given))  # no pass has them
    notifier = Notifier(os.environ)
    first = execute.taken_over(begun)
    try:
        return _stayed(given, notifier, first)
    except TreasonError as error:
        first.end()
        say(str(error), ERROR)
        return 1


def _passing(given: Given) -> frozenset[str]:
    """Return the capabilities that are given up once sources are woken, if nothing else is."""
    attaching = (name for _, name in given.attaching)
    return (capabilities.ATTACHING.union(attaching) - {*given.needs}) & capabilities.held()


def _stayed(given: Given, notifier: Notifier, first: execute.Background) -> int:
    from reconciler.daemon.answers import Answers  # noqa: PLC0415 - all this takes a while
    from reconciler.daemon.claim import Claim  # noqa: PLC0415
    from reconciler.daemon.control import Control  # noqa: PLC0415
    from reconciler.daemon.loop import Loop  # noqa: PLC0415
    from reconciler.daemon.marks import mark  # noqa: PLC0415
    from reconciler.daemon.preparing import setup_of  # noqa: PLC0415
    from reconciler.daemon.resident import Resident  # noqa: PLC0415
    from reconciler.store.refusals import of_newer_version  # noqa: PLC0415
    from reconciler.store.schema import VERSION  # noqa: PLC0415

    setup = setup_of(given)
    config = setup.config
    database = config.treason.database
    if (seen := mark(database)) and seen.schema > VERSION:  # before anybody is told of a start
        raise of_newer_version(database, seen.schema)
    with closing(Claim(config.run.socket, database.parent)) as claim:
        loop = Loop()
        resident = Resident(given, setup, loop, notifier)
        control = Control(claim.listener, loop, Answers(resident))
        claim.keep(control, resident)
        resident.attach()
        if not capabilities.drop(_passing(given)):
            say("the sandbox refuses to give up CAP_BPF and CAP_PERFMON (capset(2))", WARNING)
        code = resident.run(first)
        control.close()
    return code
