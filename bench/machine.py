"""The machine and the versions of all that is measured, without names of hosts or people."""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.peers.fetch import PACKAGES, version
from reconciler.errors import TreasonError
from reconciler.execute import run

_TOOLS: Final = {
    "treason": ["git", "describe", "--always", "--dirty"],
    "nft": ["nft", "--version"],
    "ipset": ["ipset", "--version"],
    "iptables": ["iptables", "--version"],
    "grep": ["grep", "--version"],
    "sqlite3": ["sqlite3", "--version"],
}
_CPU: Final = re.compile(r"^model name\s*: (.*)$", re.MULTILINE)
_TRAILER: Final = re.compile(r", protocol version.*| \d{4}-\d\d-\d\d .*")
_MEMORY: Final = re.compile(r"^MemTotal:\s*(\d+) kB$", re.MULTILINE)


def describe() -> dict[str, str]:
    """Return what the reader of the figures must know, by its name."""
    memory = _MEMORY.search(Path("/proc/meminfo").read_text())
    cpu = _CPU.search(Path("/proc/cpuinfo").read_text())
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "kernel": platform.release(),
        "cores": f"{os.cpu_count()}{f', {cpu[1]}' if cpu else ''}",
        "memory": f"{int(memory[1]) / 1e6:.0f} GB" if memory else "unknown",
        "load at the start": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
        **{name: _version(argv) for name, argv in _TOOLS.items()},
        **{name: version(name) for name in PACKAGES},
    }


def _version(argv: list[str]) -> str:
    try:
        return _TRAILER.sub("", run(argv).output.partition("\n")[0])
    except TreasonError:
        return "not there"
