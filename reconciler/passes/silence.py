"""Which sources see nothing of the kernel: a source that hears nothing must not pass for peace."""

from collections.abc import Callable, Mapping

from reconciler.errors import TreasonError, describe
from reconciler.interfaces import Listening, Source


def silent(sources: Mapping[str, Callable[[], Source]]) -> dict[str, str]:
    """Ask each source that can tell; give the reasons, in one line each, by the sources' names.

    One that cannot be read is silent, too.
    """
    reasons = {name: _reason(name, make) for name, make in sources.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def _reason(name: str, make: Callable[[], Source]) -> str:
    try:
        source = make()
        said = source.silence() if isinstance(source, Listening) else None
    except BaseException as error:  # noqa: BLE001 - whatever a plugin raises
        lines = describe(error, name).splitlines()
        kept = lines if isinstance(error, TreasonError) else lines[:1]
        return "; ".join(map(str.strip, kept)).removeprefix(f"{name}: ")
    return " ".join(str(said or "").split())
