"""A log in a file, with its rotated generations, or on standard input."""

from pathlib import Path

from attrs import frozen

from reconciler import Needs, Source, SourcePlugin, SourceUnreadable, hookimpl


@frozen
class Settings:
    """``[source.file]``: the log's path (``-``: standard input), and whether bare lines count.

    ``rotated`` reads its rotated generations, too: those beside it, and those in ``olddir`` (empty:
    in no other directory), which is relative to the log's directory, as for logrotate(8).
    """

    path: str
    trusted: bool = False
    rotated: bool = True
    olddir: str = ""


def _made(settings: Settings) -> Source:
    from sources.file.source import File  # noqa: PLC0415 - every command imports this module

    return File(settings)


def _needs(settings: Settings) -> Needs:
    if settings.path == "-":
        raise SourceUnreadable(
            "source 'file': a service has nothing on its standard input", "name a log file"
        )
    log = Path(settings.path).absolute()
    if log.parts[1:2] in {("dev",), ("proc",)}:
        raise SourceUnreadable(
            f"source 'file': {log}: the sandboxed service may not read it", "name a log file"
        )
    olddir = (
        (str((log.parent / settings.olddir).resolve()),)
        if settings.rotated and settings.olddir
        else ()
    )
    return Needs(reads=(str(log), *olddir))


@hookimpl
def treason_sources() -> list[SourcePlugin]:
    """Return the source ``file``."""
    return [SourcePlugin("file", _made, Settings, argument="path", groups=("adm",), needs=_needs)]
