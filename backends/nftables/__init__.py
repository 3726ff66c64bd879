"""nftables: one table of its own, with sets of what to drop and what to pass ahead."""

from reconciler import Backend, BackendPlugin, hookimpl


def _made(settings: object) -> Backend:
    from backends.nftables.backend import Nftables  # noqa: PLC0415 - every command imports this module

    return Nftables(settings)


@hookimpl
def treason_backends() -> list[BackendPlugin]:
    """Return the backend ``nftables``."""
    return [
        BackendPlugin(
            "nftables", _made, claims=lambda _: ["table inet treason"], drops_packets=True
        )
    ]
