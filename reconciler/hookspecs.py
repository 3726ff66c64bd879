"""The hooks. They only register descriptors; the core drives the objects that those make."""

from collections.abc import Sequence

import pluggy

from reconciler.interfaces import BackendPlugin, SourcePlugin

PROJECT = "treason"
"""pluggy's project name, and the group of entry points under which plugins are found."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def treason_sources() -> Sequence[SourcePlugin]:  # type: ignore[empty-body]  # a specification
    """Return the kinds of source that the plugin brings."""


@hookspec
def treason_backends() -> Sequence[BackendPlugin]:  # type: ignore[empty-body]  # a specification
    """Return the kinds of backend that the plugin brings."""
