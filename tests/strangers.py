"""What strangers do to our objects, as commands of nft, and of a shell."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from reconciler.execute import run

DAMAGES = {
    "an element deleted": "delete element inet treason banned4 { 192.0.2.7 }",
    "a foreign element": 'add element inet treason banned4 { 203.0.113.9 comment "a, b }" }',
    "a foreign network": "add element inet treason banned4_nets { 203.0.113.0/24 }",
    "a foreign range": "add element inet treason banned4_nets { 203.0.113.3-203.0.113.9 }",
    "a host among the networks": "add element inet treason banned4_nets { 203.0.113.9 }",
    "a mapped element": "add element inet treason banned6 { ::ffff:203.0.113.9 }",
    "a mapped network": "add element inet treason passed6 { ::ffff:0:0/96 }",
    "a catch-all element": "add element inet treason banned4 { * }",
    "a foreign pass": "add element inet treason passed6 { 2001:db8:1::1 }",
    "a network deleted": "delete element inet treason passed4 { 203.0.113.9 }",
    "a set flushed": "flush set inet treason banned6_nets",
    "the chain flushed": "flush chain inet treason prerouting",
    "an accept inserted first": "insert rule inet treason prerouting accept",
    "a rule twice": 'add rule inet treason prerouting iif "lo" accept',
    "the policy changed": "add chain inet treason prerouting { policy drop; }",
    "the chain deleted": "delete chain inet treason prerouting",
    "the chain unhooked": (
        "delete chain inet treason prerouting; add chain inet treason prerouting;"
        ' add rule inet treason prerouting iif "lo" accept'
    ),
    "a foreign chain": "add chain inet treason foreign",
    "a foreign set": "add set inet treason foreign { type ipv4_addr; }",
    "the table dormant": "add table inet treason { flags dormant; }",
    "the table deleted": "delete table inet treason",
    "another set type": (
        "delete chain inet treason prerouting; delete set inet treason banned4;"
        " add set inet treason banned4 { type ipv6_addr; size 65536; }"
    ),
    "a set without size": (
        "delete chain inet treason prerouting; delete set inet treason banned4;"
        " add set inet treason banned4 { type ipv4_addr; }"
    ),
    "a set with other flags": (
        "delete chain inet treason prerouting; delete set inet treason banned4;"
        " add set inet treason banned4 { type ipv4_addr; size 65536; flags timeout; }"
    ),
    "the whole ruleset flushed": "flush ruleset",
}
"""What is done to the table inet treason while it holds the contract's `EXAMPLE`."""

GAPS = {
    "the jumps deleted": "iptables -D INPUT -j TREASON; ip6tables -D INPUT -j TREASON",
    "an accept ahead of the jump": "ip6tables -I INPUT -j ACCEPT",
}
HOOK_WAYS = {
    "a chain that sends some back": (
        "iptables -N n; iptables -I INPUT -j n; iptables -A n -m addrtype --dst-type LOCAL"
        " -j RETURN; iptables -A n -j DROP"
    ),
    "a chain that some are sent to and come back from": (
        "iptables -N d; iptables -N e; iptables -I INPUT -j d; iptables -A d -p udp -g e;"
        " iptables -A d -j DROP"
    ),
    "a way through several chains": (
        "ip6tables -D INPUT -j HOOK; ip6tables -N m; ip6tables -N o;"
        " ip6tables -A INPUT -p udp -j m; ip6tables -A m -g o;"
        " ip6tables -A o -m comment --comment 'a -j b' -j HOOK"
    ),
    "comments that look like targets": (
        "iptables -I INPUT -p tcp -m comment --comment -j -j ACCEPT; iptables -D INPUT -j HOOK;"
        " iptables -A INPUT -m comment --comment -g -j HOOK"
    ),
    "rules with conditions ahead of it": (
        "iptables -I INPUT -p tcp -j ACCEPT; iptables -I INPUT -m conntrack --ctstate INVALID"
        " -j DROP; iptables -I INPUT -j LOG; iptables -I INPUT -p icmp -j REJECT"
    ),
}
"""What keeps no packet of UDP from that chain ``HOOK``."""

HOOK_GAPS = {
    "an accept ahead of the way to the hook": "iptables -I INPUT -j ACCEPT",
    "another chain that accepts all ahead of it": (
        "ip6tables -N all; ip6tables -A all -j ACCEPT; ip6tables -I INPUT -j all"
    ),
    "a way that goes elsewhere": "iptables -N aside; iptables -I INPUT -g aside",
    "the way to the hook deleted": "ip6tables -D INPUT -j HOOK",
    "a way from the machine's own packets alone": (
        "iptables -D INPUT -j HOOK; iptables -A OUTPUT -j HOOK"
    ),
}
"""What keeps packets from a chain ``HOOK``, to which INPUT leads, and which leads to ours."""

NFT_GAPS = {
    "the table dormant": "nft add table ip filter '{ flags dormant; }'",
    "IPv6's table dormant": "nft add table ip6 filter '{ flags dormant; }'",
    "a chain without its hook": "nft 'delete chain ip filter INPUT; add chain ip filter INPUT'",
    "IPv6's chain without its hook": (
        "nft 'delete chain ip6 filter INPUT; add chain ip6 filter INPUT;"
        " add rule ip6 filter INPUT counter jump TREASON'"
    ),
    "a chain with another hook": (
        "nft 'delete chain ip filter INPUT; add chain ip filter INPUT"
        " { type filter hook output priority 0; }; add rule ip filter INPUT counter jump TREASON'"
    ),
    "a jump with a condition that iptables does not show": (
        "iptables -D INPUT -j TREASON; nft add set ip filter s '{ type ipv4_addr; }';"
        " nft insert rule ip filter INPUT ip saddr @s counter jump TREASON"
    ),
}
"""What lets packets past the chain; the last ones only where nf_tables holds it."""


def gaps(texts: Mapping[str, str]) -> Mapping[str, Callable[[Any], object]]:
    """Return what runs each of the commands, in the variant of the contract that it is given."""
    return {name: partial(_strike, text=text) for name, text in texts.items()}


def _strike(contract: Any, text: str) -> None:
    run(["sh", "-ec", re.sub(r"\b(ip6?tables)(?= )", rf"\1-{contract.variant}", text)])
