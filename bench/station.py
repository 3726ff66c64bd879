"""A machine in small: a network namespace with a configuration, a database and a lock."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, Self

from bench.inputs import sync
from bench.measure import TREASON, Sample, measure
from reconciler.execute import run
from reconciler.host.netns import Namespace

BACKENDS: Final = {
    "nftables": "nftables",
    "ipset": "ipset",
    "iptables-nft": "iptables",
    "iptables-legacy": "iptables",
    "file": "file",
}
"""What is measured, and the backend's name; which variant stands in the configuration."""

_CONFIG: Final = """\
[treason]
database = "{path}/treason.db"
lock = "{path}/lock"
sources = []
backends = ["{name}"]
[protect]
loopback = false
link_local = false
own_addresses = false
gateways = false
resolvers = false
ssh_client = false
[backend.ipset]
variant = "nft"
[backend.iptables]
variant = "{variant}"
[backend.file]
path = "{path}/list"
"""
_GREAT: Final = 100_000
_QUIET: Final = 0.85


class Station:
    """A namespace with treason set up in it. It is closed at the end of ``with``."""

    def __init__(
        self, parent: Path, backend: str = "nftables", database: Path | None = None
    ) -> None:
        self.path = Path(mkdtemp(dir=parent))
        self.backend = backend
        self._namespace = Namespace()
        variant = backend.partition("-")[2] or "auto"
        text = _CONFIG.format(path=self.path, name=BACKENDS[backend], variant=variant)
        self.config.write_text(text)
        if database:
            shutil.copyfile(database, self.database)
            self.database.chmod(0o600)
            sync(self.database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._namespace.close()
        shutil.rmtree(self.path)

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.path / "treason.toml"

    @property
    def database(self) -> Path:
        """The database."""
        return self.path / "treason.db"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in the namespace for the time of the block."""
        with self._namespace.entered():
            yield

    def treason(self, *arguments: str, codes: Sequence[int] = (0,)) -> Sample:
        """Measure a treason command."""
        return self.measure([TREASON, "--config", str(self.config), *arguments], codes=codes)

    def measure(
        self, argv: Sequence[str], *, output: Path | None = None, codes: Sequence[int] = (0,)
    ) -> Sample:
        """Measure any program in the namespace."""
        with self.entered():
            return measure(argv, output=output, codes=codes)

    def run(self, argv: Sequence[str]) -> str:
        """Run a program that is not measured, and give what it prints."""
        with self.entered():
            return run(argv, timeout=300).output


def settle(size: int, patience: float) -> None:
    """Wait, after something great was dropped, until the kernel has cleared it away.

    On a machine that others keep busy this cannot be told; then so many seconds must do.
    """
    if size < _GREAT:
        return
    end = time.monotonic() + patience
    before = _idle()
    while time.monotonic() < end:
        time.sleep(0.1)
        idle, total = _idle()
        if idle - before[0] >= _QUIET * (total - before[1]):
            return
        before = idle, total


def _idle() -> tuple[int, int]:
    """Return the idle clock ticks of all cores, and all their ticks (proc(5), /proc/stat)."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
