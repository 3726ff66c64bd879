"""Which sources see nothing of the kernel: a source that hears nothing must not pass for peace."""

from collections.abc import Callable, Mapping
from functools import partial

from reconciler.errors import TreasonError, describe, guarded
from reconciler.interfaces import SilenceAwareSource, Source


def silent(sources: Mapping[str, Callable[[], Source]]) -> dict[str, str]:
    """Ask each source that can tell; return the reasons, in one line each, by the sources' names.

    One that cannot be read is silent, too.
    """
    reasons = {
        name: guarded(partial(_asked, make), partial(_unreadable, name), name)
        for name, make in sources.items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


def _asked(make: Callable[[], Source]) -> str:
    source = make()
    reason = source.silence() if isinstance(source, SilenceAwareSource) else None
    return " ".join(str(reason or "").split())


def _unreadable(name: str, error: BaseException) -> str:
    lines = describe(error, name).splitlines()
    kept = lines if isinstance(error, TreasonError) else lines[:1]
    return "; ".join(map(str.strip, kept)).removeprefix(f"{name}: ")
