"""The command dmesg(1) of util-linux, for machines where /dev/kmsg itself cannot be read."""

from reconciler import Needs, Source, SourcePlugin, hookimpl


def _made(settings: object) -> Source:
    from sources.dmesg.source import Dmesg  # noqa: PLC0415 - every command imports this module

    return Dmesg(settings)


@hookimpl
def treason_sources() -> list[SourcePlugin]:
    """Return the source ``dmesg``."""
    needs = Needs(runs=("dmesg",))
    return [
        SourcePlugin("dmesg", _made, capabilities=("CAP_SYSLOG",), needs=lambda _: needs, live=True)
    ]
