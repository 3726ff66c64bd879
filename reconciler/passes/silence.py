"""Which sources see nothing of the kernel: a source that hears nothing must not pass for peace."""

from collections.abc import Callable, Mapping
from functools import partial

from reconciler.errors import TreasonError, describe, guarded
from reconciler.host.deadline import Run, limited
from reconciler.interfaces import SilenceAwareSource, Source


def silent(
    sources: Mapping[str, Callable[[], Source]], timeout: float | None = None
) -> dict[str, str]:
    """Ask each source that can tell; return the reasons, in one line each, by the sources' names.

    One that cannot be read, or takes more than ``timeout`` seconds, is silent, too.
    """
    reasons: dict[str, str] = {}
    for name, make in sources.items():
        ask = partial(limited, timeout, name, partial(_asked, make))
        reasons[name] = guarded(ask, partial(_unreadable, name), name)
    return {name: reason for name, reason in reasons.items() if reason}


def _asked(make: Callable[[], Source], run: Run) -> str:
    def ask() -> str:
        source = make()
        reason = source.silence() if isinstance(source, SilenceAwareSource) else None
        return " ".join(str(reason or "").split())

    return run(ask)


def _unreadable(name: str, error: BaseException) -> str:
    lines = describe(error, name).splitlines()
    kept = lines if isinstance(error, TreasonError) else lines[:1]
    return "; ".join(map(str.strip, kept)).removeprefix(f"{name}: ")
