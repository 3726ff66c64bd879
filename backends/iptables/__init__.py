"""iptables: one chain with a rule for each network, for machines that have no sets."""

from attrs import frozen

from backends.xtables import settings
from reconciler import Backend, BackendPlugin, Needs, hookimpl


@frozen
class Settings:
    """``[backend.iptables]``: which iptables, the chains that begin with ours, what survives boot.

    A hook is a chain of the table filter (``INPUT``, ``DOCKER-USER``), or names its table
    (``raw/PREROUTING``).
    """

    variant: str = settings.variant()
    hooks: tuple[str, ...] = settings.hooks()
    persist: bool = False


def _made(chosen: Settings) -> Backend:
    from backends.iptables.backend import Iptables  # noqa: PLC0415 - every command imports this

    return Iptables(chosen)


def _claims(chosen: Settings) -> list[str]:
    return [f"chain TREASON of iptables-{settings.resolve(chosen.variant)}"]


def _needs(chosen: Settings) -> Needs:
    from backends.iptables import persist  # noqa: PLC0415 - as above

    saved = map(str, persist.paths().values()) if chosen.persist else ()
    return settings.needs(chosen.variant, tuple(saved))


@hookimpl
def treason_backends() -> list[BackendPlugin]:
    """Return the backend ``iptables``."""
    return [
        BackendPlugin(
            "iptables", _made, Settings, claims=_claims, capabilities=("CAP_NET_RAW",),
            needs=_needs, drops_packets=True,
        )
    ]  # fmt: skip
