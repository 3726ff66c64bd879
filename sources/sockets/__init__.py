"""The attack as the machine's own TCP sockets show it, without any message of the kernel."""

from datetime import timedelta
from typing import Final

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, in_, le, max_len

from reconciler import Needs, Source, SourcePlugin, hookimpl

AUTO, BPF, DUMP = "auto", "bpf", "dump"
"""Ways of a resident process: the kernel tells of suspects if it can; if it must; lists alone."""

_MOST_PORTS: Final = 1000
"""The kernel is given a program that compares each port; it takes some thousands."""


def _in_bounds(_settings: object, _attribute: object, value: timedelta) -> None:
    if not timedelta(seconds=1) <= value <= timedelta(hours=1):
        raise ValueError("must be from 1s to 1h")


@frozen
class Settings:
    """``[source.sockets]``.

    What is seen at every look for as long as ``lasting`` is an offence. ``ports`` are the local
    ports that are looked at (none: all). ``sockstress`` judges also connections whose window stays
    closed for long with nothing in flight. ``way`` is how a resident process finds suspects; a pass
    lists all sockets.
    """

    way: str = field(default=AUTO, validator=in_((AUTO, BPF, DUMP)))
    lasting: timedelta = field(default=timedelta(seconds=10), validator=_in_bounds)
    ports: tuple[int, ...] = field(
        default=(), validator=and_(max_len(_MOST_PORTS), deep_iterable(and_(ge(1), le(65535))))
    )
    sockstress: bool = False


def _make(settings: Settings) -> Source:
    from sources.sockets.source import SocketsSource  # noqa: PLC0415 - seldom read by a command

    return SocketsSource(settings)


def _needs(settings: Settings) -> Needs:
    attaching = () if settings.way == DUMP else ("CAP_BPF", "CAP_PERFMON")
    return Needs(loopback=True, attaching=attaching)


@hookimpl
def treason_sources() -> list[SourcePlugin]:
    """Return the source ``sockets``."""
    return [SourcePlugin("sockets", _make, Settings, needs=_needs, witness=True)]
