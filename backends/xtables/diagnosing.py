"""What `treason doctor` is told of other programs that are in the chain's way."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from backends.xtables import other
from backends.xtables.chain import CHAIN, Listing, asks_sets
from backends.xtables.firewall import State
from backends.xtables.hooks import Hook, jumps
from reconciler import Finding

UFW: Path = Path("/etc/ufw/ufw.conf")
UFW_DEFAULTS: Path = Path("/etc/default/ufw")
FIREWALLD: Path = Path("/etc/firewalld/firewalld.conf")
"""What they read when they start (ufw-framework(8), firewalld.conf(5))."""

FIREWALLD_ENABLED: Path = Path("/etc/systemd/system/dbus-org.fedoraproject.FirewallD1.service")
"""The link that `systemctl enable firewalld` makes."""

_DOCKER: Final = "DOCKER-USER"
_FIRST: Final = {"PREROUTING", "FORWARD"}
_PROGRAM: Final = {4: "iptables", 6: "ip6tables"}


def findings(name: str, state: State, hooks: Sequence[Hook], *, sets: bool) -> Iterator[Finding]:
    """Yield what is wrong around the chain of the backend ``name``; ``sets``: it asks sets."""
    yield from _left(state.variant, sets=sets)
    yield from _docker(name, state, hooks)
    if not {hook.table for hook in hooks}.isdisjoint({"filter"}):
        yield from _flushing()


def _left(active: str, *, sets: bool) -> Iterator[Finding]:
    """Yield the chain that this backend has made in the other variant, and uses no more."""
    variant, listings = other.listings(active)
    steps: list[str] = []
    for version, listing in listings.items():
        program = f"{_PROGRAM[version]}-{variant}"
        for table, chains in listing.items():
            if CHAIN in chains and asks_sets(chains[CHAIN]) == sets:
                steps += map(shlex.join, _steps([program, "-t", table], listing, table))
    if steps:
        yield Finding(
            f"iptables-{variant} holds a chain {CHAIN} too, which nothing keeps in line any more",
            "whom it drops stays dropped, whatever is unbanned",
            " && ".join(steps),
        )


def _steps(program: list[str], listing: Listing, table: str) -> Iterator[list[str]]:
    """Yield the commands that take the chain away, in words: others chose some of the names."""
    for chain, rules in jumps(listing, table).items():
        yield from ([*program, "-D", chain, *shlex.split(rule)] for rule in rules)
    yield from ([*program, option, CHAIN] for option in ("-F", "-X"))


def _docker(name: str, state: State, hooks: Sequence[Hook]) -> Iterator[Finding]:
    """Yield that Docker gets ahead of the jump in FORWARD, unless others come first anyway."""
    named = {hook.chain for hook in hooks if hook.table == "filter"}
    before = any(hook.chain in _FIRST for hook in hooks if hook.table != "filter")
    there = any(_DOCKER in listing.get("filter", {}) for listing in state.listings.values())
    if there and "FORWARD" in named and not (before or _DOCKER in named):
        wanted = ", ".join(f'"{hook}"' for hook in (*hooks, _DOCKER))
        yield Finding(
            "Docker puts its rules ahead of the jump in FORWARD whenever it starts",
            "until the next pass, who is banned reaches the ports that containers publish",
            f"write hooks = [{wanted}] in [backend.{name}]",
        )


def _flushing() -> Iterator[Finding]:
    """Yield which firewall empties all chains of the table filter when it starts."""
    why = "until the next pass, nobody is dropped"
    if (
        _settings(UFW).get("ENABLED") == "yes"
        and _settings(UFW_DEFAULTS).get("MANAGE_BUILTINS") == "yes"
    ):
        yield Finding(
            f"ufw empties INPUT and FORWARD when it starts ({UFW_DEFAULTS}: MANAGE_BUILTINS)",
            why,
            f"sed -i 's/^ *MANAGE_BUILTINS *=.*/MANAGE_BUILTINS=no/' {UFW_DEFAULTS}",
        )
    firewalld = _settings(FIREWALLD) if os.path.lexists(FIREWALLD_ENABLED) else {}
    if firewalld.get("firewallbackend") == "iptables" and firewalld.get(
        "flushallonreload", "yes"
    ) in {"yes", "true"}:
        yield Finding(
            f"firewalld empties all chains when it is reloaded ({FIREWALLD}: FlushAllOnReload)",
            why,
            f"sed -i '/^ *FlushAllOnReload *=/d' {FIREWALLD}"
            f" && echo FlushAllOnReload=no >> {FIREWALLD}",
        )


def _settings(path: Path) -> Mapping[str, str]:
    """Read lines of ``NAME=value``; of firewalld's the values and names are in lower case."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    lower = path == FIREWALLD
    rows = re.findall(r"^[ \t]*(\w+)[ \t]*=[ \t]*[\"']?([\w-]*)", text, re.MULTILINE)
    return {(key.lower() if lower else key): value.lower() for key, value in rows}
