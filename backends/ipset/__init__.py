"""ipset: sets of what to drop and what to pass, and one chain of iptables that asks them."""

from attrs import frozen

from backends.xtables import settings
from reconciler import Backend, BackendPlugin, hookimpl


@frozen
class Settings:
    """``[backend.ipset]``: which iptables, and the chains that begin with ours.

    A hook is a chain of the table filter (``INPUT``, ``DOCKER-USER``), or names its table
    (``raw/PREROUTING``).
    """

    variant: str = settings.variant()
    hooks: tuple[str, ...] = settings.hooks()


def _made(chosen: Settings) -> Backend:
    from backends.ipset.backend import Ipset  # noqa: PLC0415 - every command imports this module

    return Ipset(chosen)


def _claims(chosen: Settings) -> list[str]:
    return [f"chain TREASON of iptables-{settings.resolve(chosen.variant)}", "ipset treason4"]


@hookimpl
def treason_backends() -> list[BackendPlugin]:
    """Return the backend ``ipset``."""
    return [
        BackendPlugin(
            "ipset", _made, Settings, claims=_claims, capabilities=("CAP_NET_RAW",), early=True,
            needs=lambda chosen: settings.needs(chosen.variant), drops_packets=True,
        )
    ]  # fmt: skip
