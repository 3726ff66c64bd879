"""The page treason-plugins(7): what a plugin is, and what it may use."""

import inspect
from collections.abc import Iterator
from typing import Final

import reconciler
import reconciler.hookspecs
from reconciler import testing
from release.manual import page
from release.manual.page import Page
from release.manual.prose import paragraphs, sentences
from release.manual.protocols import described, signature
from release.manual.roff import argument, literal, tagged, title

HOOKS: Final = ("treason_sources", "treason_backends", "treason_feeds")

GROUPS: Final = {
    "SOURCES": (
        "Where attacks are seen. A source yields records; rules decide what in them is an offence.",
        ("SourcePlugin", "Source", "NotingSource", "SilenceAwareSource", "WakingSource",
         "PacedSource", "HeedingSource", "SuspectingSource", "WitnessSource", "ExplainingSource",
         "Record", "Judgement", "Suspect", "Connection", "Seen", "Answer", "NearMiss"),
    ),
    "BACKENDS": (
        (
            "What holds the networks to be dropped. A backend reads back what it holds, and carries"
            " out the difference that a plan tells."
        ),
        ("BackendPlugin", "Backend", "FingerprintedBackend", "ConfirmingBackend", "DigestedBackend",
         "AskableBackend", "CountingBackend", "WakingBackend", "Reflexes", "PolledReflexes",
         "WatchedBackend", "Watcher", "Diagnosing", "Desired", "Observed", "Plan", "Change",
         "Damage", "Decision", "Held", "Dropped", "Finding"),
    ),
    "FEEDS": (
        (
            "What others say about whom to drop. A feed runs in a process of its own and writes to"
            " a file of its own; what is taken of that is decided by limits of the configuration."
        ),
        ("FeedPlugin", "Feed", "EpochFeed", "NotingFeed", "PublishingFeed", "WakingFeed",
         "FeedBan", "FeedLift", "FeedSnapshot", "Fleet", "FleetMember", "FleetStatus"),
    ),
    "WHAT ALL OF THEM USE": (
        "Values, settings and errors.",
        ("Network", "Networks", "Needs", "NoSettings", "TreasonError", "InvalidNetwork",
         "InvalidList", "SourceUnreadable", "BackendError", "BackendUnreadable", "BackendFailed",
         "FeedUnreadable"),
    ),
}  # fmt: skip
"""The public names in the order in which they are told."""

OLD: Final = ("Noting", "Listening", "Marked", "Confirming")
"""Earlier names of others."""

_DESCRIPTION: Final = """\
Sources, backends and feeds are plugins of treason, its own as well as those of others. A plugin
is a package of Python with an entry point of the group `treason`; it needs no change of treason,
and imports the public names of the package `reconciler` alone.

A plugin implements one or more of the hooks below, which return descriptors: `SourcePlugin`,
`BackendPlugin` or `FeedPlugin`. A descriptor names what it brings and has a factory, which is
called with the settings of the plugin's table in the configuration, `[source.NAME]`,
`[backend.NAME]` or `[feed.NAME]`. The objects that factories make have the methods of `Source`,
`Backend` or `Feed`, and may have those of the other protocols below: each that an object has is
used, and none is required.

What a plugin raises stops only what it was asked for: a source that fails is named, and the pass
goes on with the others. A plugin that cannot be imported, and a name that two plugins bring, are
told by `treason plugins` and with each command. A plugin runs with all privileges of the process
that loads it."""

_PACKAGE: Final = """\
[build-system]
requires = ["setuptools>=64"]
build-backend = "setuptools.build_meta"

[project]
name = "treason-spool"
version = "1.0"
dependencies = ["attrs", "treason"]

[project.entry-points.treason]
spool = "treason_spool"

[tool.setuptools]
py-modules = ["treason_spool"]"""

_INSTALLING: Final = """\
A plugin is installed beside treason, by the program that installed it: `pip install PLUGIN` in
its environment, `pipx inject treason PLUGIN`, or `uv tool install treason --with PLUGIN`.

The Debian package has an environment of its own, which also looks into `/usr/local/lib/treason`:
`pip install --no-deps --target /usr/local/lib/treason PLUGIN` installs one there. What else the
plugin imports goes there as well, but neither treason nor what it brings along.

Behind that `treason plugins` names it. `[treason] sources` or `backends` of the configuration
switch it on, or for a feed a table `[feed.NAME]` with its name as `type`; `treason init
--systemd` writes the units anew, as far as it needs more than they allow; a daemon that runs is
to be restarted."""

_TESTING: Final = """\
The promises that all plugins keep are classes of pytest in `reconciler.testing`, which needs `pip
install 'treason[testing]'`. A test subclasses one and has the fixture that its docstring asks
for:"""

_TEST: Final = """\
import pytest
from reconciler.testing import SourceContract
from treason_spool import Spool

class TestSpool(SourceContract):
    ..."""


def plugins() -> Page:
    """Return the page."""
    return Page("treason-plugins", 7, tuple(_lines()))


def public() -> set[str]:
    """Return the public names that are classes: what the page is to tell of."""
    return {name for name in reconciler.__all__ if isinstance(getattr(reconciler, name), type)}


def _lines() -> Iterator[str]:
    yield from page.head("treason-plugins", 7, "write sources, backends and feeds for treason")
    yield ".Sh DESCRIPTION"
    yield from paragraphs(_DESCRIPTION)
    yield ".Sh PACKAGE"
    yield from sentences("The `pyproject.toml` of a plugin in the module `treason_spool`:")
    yield from literal(_PACKAGE)
    yield ".Sh HOOKS"
    for name in HOOKS:
        hook = getattr(reconciler.hookspecs, name)
        yield title("Ss", name + signature(hook))
        yield from paragraphs(inspect.getdoc(hook) or "")
    for heading, (text, names) in GROUPS.items():
        yield title("Sh", heading)
        yield from sentences(text)
        for name in names:
            yield from described(name)
    yield ".Sh MODULES"
    yield from sentences("These modules of `reconciler` are public as well:")
    yield from tagged(_modules())
    yield ".Sh INSTALLING"
    yield from paragraphs(_INSTALLING)
    yield ".Sh TESTING"
    yield from paragraphs(_TESTING)
    yield from literal(_TEST)
    yield from tagged(_contracts())
    yield from page.see_also([("treason", 1), ("treason-plugins", 1), ("treason.toml", 5)])


def _modules() -> Iterator[tuple[str, list[str]]]:
    for name in reconciler.__all__:
        found = getattr(reconciler, name)
        if inspect.ismodule(found):
            first = paragraphs(inspect.getdoc(found) or "")
            yield f"Ic {argument(name)}", first


def _contracts() -> Iterator[tuple[str, list[str]]]:
    for name in testing.__all__:
        found = getattr(testing, name)
        if isinstance(found, type) and name.endswith("Contract"):
            yield f"Ic {argument(name)}", paragraphs(inspect.getdoc(found) or "")
