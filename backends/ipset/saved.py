"""Rules that other programs save: they name our sets, and are refused as a whole without them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

RULES: tuple[Path, ...] = tuple(
    map(
        Path,
        (
            "/etc/iptables/rules.v4",  # netfilter-persistent of Debian, with iptables-persistent
            "/etc/iptables/rules.v6",
            "/etc/sysconfig/iptables",  # iptables.service of Red Hat
            "/etc/sysconfig/ip6tables",
        ),
    )
)
SETS: tuple[Path, ...] = (Path("/etc/iptables/ipsets"), Path("/etc/sysconfig/ipset"))
"""Sets that are saved too, and loaded first: by ipset-persistent, and by ipset.service."""

UNIT: Path = Path("/etc/systemd/system/treason-early.service")
_NAMED: Final = "--match-set treason"
_HELP: Final = "save the sets again, too (netfilter-persistent save)"
_UNIT_HELPS: Final = f"`treason init --systemd` installs {UNIT.name}, which makes them"


def notes() -> Iterator[str]:
    """Yield what of the saved rules cannot be loaded at the next boot, and what helps."""
    sets = [_text(path) for path in SETS if path.exists()]  # where there is one, the unit is idle
    if any("create treason" in text for text in sets) or (UNIT.exists() and not sets):
        return
    for path in RULES:
        if _NAMED in _text(path):
            yield (
                f"{path}: these saved rules name treason's sets, so at boot they are refused as a"
                f" whole unless the sets are made before: {_HELP if sets else _UNIT_HELPS}"
            )


def _text(path: Path) -> str:
    """Read a file as far as that is allowed."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
