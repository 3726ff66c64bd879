"""Rules that other programs save: they name our sets, and are refused as a whole without them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reconciler import Finding

RULES: tuple[Path, ...] = tuple(
    map(
        Path,
        (
            "/etc/iptables/rules.v4",  # netfilter-persistent of Debian, with iptables-persistent
            "/etc/iptables/rules.v6",
            "/etc/sysconfig/iptables",  # iptables.service of Red Hat
            "/etc/sysconfig/ip6tables",
            "/etc/iptables/iptables.rules",  # iptables.service of Arch Linux
            "/etc/iptables/ip6tables.rules",
            "/etc/iptables/rules-save",  # Alpine Linux
            "/etc/iptables/rules6-save",
        ),
    )
)
SETS: tuple[Path, ...] = (Path("/etc/iptables/ipsets"), Path("/etc/sysconfig/ipset"))
"""Sets that are saved too, and loaded first: by ipset-persistent, and by ipset.service."""

UNIT: Path = Path("/etc/systemd/system/treason-early.service")
_NAMED: Final = re.compile(r"--match-set (treason[46]\S*)")
_CREATED: Final = re.compile(r"^create (treason[46]\S*) ", re.MULTILINE)


def notes() -> Iterator[str]:
    """Yield what of the saved rules cannot be loaded at the next boot, and what helps."""
    remedy = (
        "save the sets again, too (netfilter-persistent save)"
        if any(path.exists() for path in SETS)
        else f"`treason init --systemd` installs {UNIT.name}, which makes them"
    )
    for path in _refused():
        yield (
            f"{path}: these saved rules name treason's sets, so at boot they are refused as a"
            f" whole unless the sets are made before: {remedy}"
        )


def findings() -> "Iterator[Finding]":
    """Yield the same for `treason doctor`."""
    from reconciler import Finding  # noqa: PLC0415 - no pass needs it

    saved = next((path for path in SETS if path.exists()), None)
    for path in _refused():
        yield Finding(
            f"{path}: these saved rules name treason's sets, which are not there when it is loaded",
            "at boot all of these rules are refused, not only those about the sets",
            f"ipset save > {saved}" if saved else "treason init --systemd",
        )


def _refused() -> Iterator[Path]:
    """Yield the files of saved rules that name sets which nobody makes before them."""
    sets = [_text(path) for path in SETS if path.exists()]
    if UNIT.exists() and not sets:  # where sets are saved it does nothing
        return
    created = {name for text in sets for name in _CREATED.findall(text)}
    yield from (path for path, names in _naming() if names - created)


def left() -> Iterator[str]:
    """Yield what is to be saved again once the sets are removed for good."""
    for path, _ in _naming():
        yield (
            f"{path}: these saved rules still name treason's sets, so at boot they are refused as a"
            " whole: save them again (netfilter-persistent save, or iptables-save)"
        )


def _naming() -> Iterator[tuple[Path, set[str]]]:
    """Yield the files of saved rules that name our sets, with these names."""
    for path in RULES:
        if names := {*_NAMED.findall(_text(path))}:
            yield path, names


def _text(path: Path) -> str:
    """Read a file as far as that is allowed."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
