"""A member of the fleet: a host that runs ``treason run`` and ``treason feed run fleet``."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self

from attrs import define, field

from backends.nftables.backend import Nftables
from bench.fleet.switch import Port
from bench.measure import TREASON, Failed, Sample, measure
from bench.peers.watch import Watch
from reconciler.execute import Completed, run
from reconciler.networks import Networks

PATIENCE: Final = 60.0
"""Seconds for which anything is waited for: a machine may be very busy."""

_CONFIG: Final = """\
[treason]
database = "{path}/lib/treason.db"
lock = "{path}/run/lock"
sources = [{sources}]
[run]
socket = "{path}/run/control"
[feed.fleet]
type = "postgresql"
dsn = "{dsn}"
password_file = "{path}/etc/password"
ca_file = "{ca}"
store = "{path}/feeds/fleet/feed.db"
publish = [{publish}]
{more}
"""


@define(eq=False)
class Member:
    """A host at a port of the switch. All it runs is ended at the end of ``with``.

    What is watched by different processes has directories of its own, as on any machine.
    """

    port: Port
    path: Path
    _running: dict[str, "subprocess.Popen[bytes]"] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.path.mkdir(0o700)
        for name in ("etc", "lib", "log", "out", "run", "feeds", "feeds/fleet"):
            (self.path / name).mkdir(0o750)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in [*self._running]:
            self.end(name)

    @property
    def name(self) -> str:
        """The member's name: that of its port, and of its role."""
        return self.port.name

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.path / "etc/treason.toml"

    @property
    def password(self) -> Path:
        """The file with its password for the fleet."""
        return self.path / "etc/password"

    @property
    def log(self) -> Path:
        """A log of its own, for a daemon that is to watch one."""
        return self.path / "log/kern.log"

    def configure(
        self, dsn: str, ca: Path, *, publish: Sequence[str], sources: Sequence[str], more: str = ""
    ) -> None:
        """Write the configuration; ``more`` goes on in ``[feed.fleet]``."""
        quoted = {"sources": _quoted(sources), "publish": _quoted(publish)}
        text = _CONFIG.format(path=self.path, dsn=dsn, ca=ca, more=more, **quoted)
        self.config.write_text(text)

    def treason(self, *arguments: str, codes: Sequence[int] = (0,)) -> Completed:
        """Run a command on it."""
        with self.port.entered():
            return run(self._command(*arguments), codes=codes, timeout=300)

    def measured(self, *arguments: str, codes: Sequence[int] = (0,)) -> Sample:
        """Measure a command on it."""
        with self.port.entered():
            return measure(self._command(*arguments), codes=codes)

    def resident(self) -> None:
        """Start the daemon, and wait until it is ready; then the feed, until it has read once."""
        self.run_daemon()
        self.run_feed()

    def run_daemon(self) -> None:
        """Start the daemon, and wait until it waits for its sources."""
        address = self.path / "run/manager"
        address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(os.fspath(address))
            manager.settimeout(0.2)
            self._start("daemon", "run", NOTIFY_SOCKET=os.fspath(address))
            self.until(partial(_said, manager, b"READY=1"), "daemon")

    def run_feed(self) -> None:
        """Start the feed's process, and wait until it has told how it stands."""
        before = self.said("feed")
        self._start("feed", "feed", "run", "fleet")
        self.until(lambda: self.said("feed") != before, "feed")

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End the ``daemon`` or the ``feed``, if it runs."""
        if process := self._running.pop(name, None):
            process.send_signal(number)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def pid(self, name: str) -> int:
        """Return the number of the process of the ``daemon`` or the ``feed``."""
        return self._running[name].pid

    def said(self, name: str) -> str:
        """Return what the ``daemon`` or the ``feed`` has printed."""
        path = self.path / f"out/{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def until(self, true: Callable[[], object], name: str, patience: float = PATIENCE) -> None:
        """Wait until something is true. Raise `Failed` if the process ends, or after so long."""
        end = time.monotonic() + patience
        while not true():
            ended = name in self._running and self._running[name].poll() is not None
            if ended or time.monotonic() > end:
                why = "ended" if ended else f"not done within {patience:g} s"
                raise Failed(f"{self.name}: {name}: {why}: {self.said(name)[-600:].strip()}")
            time.sleep(0.005)

    def in_force(self) -> Networks:
        """Return what its kernel drops."""
        with self.port.entered():
            return Nftables().observe().banned

    def watch(self) -> Watch:
        """Return what counts the elements that come into its kernel from now on."""
        with self.port.entered():
            return Watch()

    def _start(self, name: str, *arguments: str, **environment: str) -> None:
        with (self.path / f"out/{name}.log").open("ab") as log, self.port.entered():
            self._running[name] = subprocess.Popen(
                self._command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )

    def _command(self, *arguments: str) -> list[str]:
        return [TREASON, "--config", str(self.config), *arguments]


def _said(manager: socket.socket, text: bytes) -> bool:
    try:
        return text in manager.recv(8192)
    except TimeoutError:
        return False


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(f'"{each}"' for each in texts)
