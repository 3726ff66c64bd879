"""The attack as the machine's own TCP sockets show it, without any message of the kernel."""

from datetime import timedelta

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, le

from reconciler import Needs, Source, SourcePlugin, hookimpl


@frozen
class Settings:
    """``[source.sockets]``.

    What is seen at every look for as long as ``lasting`` is an offence. ``ports`` are the local
    ports that are looked at (none: all). ``sockstress`` judges also connections whose window stays
    closed for long with nothing in flight.
    """

    lasting: timedelta = field(
        default=timedelta(seconds=10),
        validator=and_(ge(timedelta(seconds=1)), le(timedelta(hours=1))),
    )
    ports: tuple[int, ...] = field(default=(), validator=deep_iterable(and_(ge(1), le(65535))))
    sockstress: bool = False


def _make(settings: Settings) -> Source:
    from sources.sockets.source import SocketsSource  # noqa: PLC0415 - seldom read by a command

    return SocketsSource(settings)


@hookimpl
def treason_sources() -> list[SourcePlugin]:
    """Return the source ``sockets``."""
    return [SourcePlugin("sockets", _make, Settings, needs=lambda _settings: Needs(loopback=True))]
