"""The chain ``TREASON`` of iptables and ip6tables: what the backends iptables and ipset share."""

from backends.xtables.chain import CHAIN, NO_SETS, Fixed, Listing, parse
from backends.xtables.firewall import Firewall, State
from backends.xtables.hooks import Hook, chain_hooks, enforced, jumps, without
from backends.xtables.programs import resolve

__all__ = [
    "CHAIN",
    "NO_SETS",
    "Firewall",
    "Fixed",
    "Hook",
    "Listing",
    "State",
    "chain_hooks",
    "enforced",
    "jumps",
    "parse",
    "resolve",
    "without",
]
