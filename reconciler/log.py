"""What is logged, by the standard `logging` under ``treason.*``, which is imported only for that.

Most runs of the command line log nothing, and `logging` takes longer to import than a small pass.
A program that imports `logging` by itself gets everything that it asks for there, as long as it
does not run the command line: that prints what is logged, and nothing more.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging

ROOT: Final = "treason"
DEBUG: Final = 10
INFO: Final = 20
WARNING: Final = 30
ERROR: Final = 40
"""The levels of `logging`."""


class _Outlet:
    """From which level on something is logged, and what makes the handler that writes it."""

    level = WARNING
    make: "Callable[[], logging.Handler] | None" = None
    handler: "logging.Handler | None" = None


_outlet: Final = _Outlet()


def begin(level: int, make: "Callable[[], logging.Handler]") -> None:
    """Let what is logged from ``level`` on reach the handler that ``make`` gives at the first."""
    _outlet.level, _outlet.make = level, make


def lowest() -> int:
    """Return the level from which on something is logged."""
    return _outlet.level


class Log:
    """The logger ``treason.NAME``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def debug(self, text: str, *values: object) -> None:
        """Log what helps to find a fault; ``text`` takes the values as ``%`` does."""
        self._log(DEBUG, text, values)

    def info(self, text: str, *values: object) -> None:
        """Log what a curious administrator wants to know."""
        self._log(INFO, text, values)

    def warning(self, text: str, *values: object) -> None:
        """Log what changes no result, and should be known."""
        self._log(WARNING, text, values)

    @contextmanager
    def timed(self, text: str, *values: object) -> Iterator[None]:
        """Log a step at its end, whether it was done or failed, and how long it took."""
        begun, end = time.perf_counter(), "failed"
        try:
            yield
            end = "done"
        finally:
            took = (time.perf_counter() - begun) * 1000
            self._log(DEBUG, f"{text}: {end} in {took:.1f} ms", values)

    def wants(self, level: int) -> bool:
        """Return whether anybody asks for this level: only then is it worth making a text."""
        return level >= _outlet.level or "logging" in sys.modules

    def _log(self, level: int, text: str, values: tuple[object, ...]) -> None:
        if not self.wants(level):
            return
        try:
            import logging  # noqa: PLC0415 - most runs log nothing
        except OSError:
            return  # no descriptor is left, say; what is only logged is to fail nothing

        attach()
        logger = logging.getLogger(f"{ROOT}.{self.name}")
        if _outlet.handler is None:
            logger.log(level, text, *values)
        elif level >= _outlet.level:  # whatever a plugin made of the logger
            values_of = {"name": logger.name, "levelno": level, "msg": text, "args": values}
            _outlet.handler.handle(logging.makeLogRecord(values_of))


def attach() -> None:
    """Let plugins' own records under ``treason`` come out as ours do, if there can be any."""
    if _outlet.make is None or "logging" not in sys.modules:
        return
    import logging  # noqa: PLC0415 - it is there already

    root = logging.getLogger(ROOT)
    _outlet.handler, _outlet.make = _outlet.make(), None
    root.handlers = [_outlet.handler]
    root.setLevel(_outlet.level)
    root.propagate = False
