"""What the other variant of iptables holds: it filters too, and the active one does not list it."""

from pathlib import Path
from typing import Final

from backends.xtables import programs
from backends.xtables.chain import CHAIN, Listing, parse
from reconciler import BackendUnreadable

_PATIENCE: Final = 3.0
"""Seconds for what is only noted."""

_REGISTERED: Final = {
    4: "/proc/thread-self/net/ip_tables_names",
    6: "/proc/thread-self/net/ip6_tables_names",
}
"""Names of the legacy tables of the namespace; reading them registers none."""


def notes(active: str) -> tuple[str, ...]:
    """Return what the variant that is not ``active`` holds, in lines for people."""
    variant, found = listings(active)
    tables = [chains for listing in found.values() for chains in listing.values()]
    if any(CHAIN in chains for chains in tables):
        left = (
            f"iptables-{variant} holds a chain {CHAIN} too; if no backend uses it, remove it with"
            f' `treason teardown --backend iptables` (or ipset) and variant = "{variant}"'
        )
        return (left,)
    if any(rules for chains in tables for rules in chains.values()):
        return (f"iptables-{variant} holds rules too, which iptables-{active} does not list",)
    return ()


def listings(active: str) -> tuple[str, dict[int, Listing]]:
    """Return the variant that is not ``active``, and what it holds of each family that it has."""
    variant = "nft" if active == "legacy" else "legacy"
    found = {version: _listing(version, variant) for version in (4, 6)}
    return variant, {version: listing for version, listing in found.items() if listing}


def _listing(version: int, variant: str) -> Listing | None:
    """List a variant that need not be there."""
    if variant == "legacy" and not _registered(version):
        return None
    if not programs.installed(version, variant):
        return None
    try:
        return parse(programs.save(version, variant, _PATIENCE))
    except BackendUnreadable:
        return None


def _registered(version: int) -> bool:
    try:
        return bool(Path(_REGISTERED[version]).read_text(encoding="ascii").strip())
    except OSError:
        return False
