"""systemd's journal: what journald keeps of the kernel's messages."""

from attrs import frozen

from reconciler import Needs, Source, SourcePlugin, hookimpl


@frozen
class Settings:
    """``[source.journal]``: a directory of journal files; empty for the machine's own journal."""

    directory: str = ""


def _made(settings: Settings) -> Source:
    from sources.journal.source import Journal  # noqa: PLC0415 - every command imports this module

    return Journal(settings)


def _needs(settings: Settings) -> Needs:
    return Needs(reads=(settings.directory,) if settings.directory else (), runs=("journalctl",))


@hookimpl
def treason_sources() -> list[SourcePlugin]:
    """Return the source ``journal``."""
    return [
        SourcePlugin(
            "journal", _made, Settings, argument="directory", groups=("systemd-journal",),
            needs=_needs, live=True,
        )
    ]  # fmt: skip
