"""The chain ``TREASON`` of iptables and ip6tables: what the backends iptables and ipset share."""

from backends.xtables.chain import CHAIN, NO_SETS, Fixed, parse
from backends.xtables.firewall import Firewall, State
from backends.xtables.hooks import Hook, chain_hooks, enforced
from backends.xtables.programs import resolve

__all__ = [
    "CHAIN",
    "NO_SETS",
    "Firewall",
    "Fixed",
    "Hook",
    "State",
    "chain_hooks",
    "enforced",
    "parse",
    "resolve",
]
