"""fail2ban, as Debian ships it, with a jail for the kernel's message and nothing else."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.logs import syslog
from bench.measure import Failed, Sample
from bench.peers.daemon import Daemon
from bench.peers.fetch import unpacked
from bench.peers.watch import Watch
from bench.station import Station
from reconciler.execute import run

_PYTHON: Final = "/usr/bin/python3"  # Debian's own, for which the package is made
_MODULES: Final = "usr/lib/python3/dist-packages"
_WATCHING: Final = "python3-pyinotify"  # which the package recommends
_PATIENCE: Final = 20.0
_POLL: Final = 1.0  # seconds between its looks at a log, where it polls
_LOCAL: Final = """\
[DEFAULT]
loglevel = NOTICE
logtarget = {path}/fail2ban.log
syslogsocket = none
socket = {path}/socket
pidfile = {path}/pid
dbfile = {path}/fail2ban.db
"""
_FILTER: Final = r"""[Definition]
failregex = ^.*TCP: Treason uncloaked! Peer <ADDR>:\d+/\d+ shrinks window
"""
_JAIL: Final = """\
[DEFAULT]
usedns = no
[treason]
enabled = true
filter = treason
logpath = {path}/kern.log
backend = {backend}
maxretry = 1
bantime = 1d
banaction = nftables-allports
"""


class Fail2ban:
    """A server of its own: configuration, socket, database and log stand in the station.

    ``backend`` is how it reads the log: ``polling``, or ``pyinotify``, which is the fastest.
    """

    def __init__(self, station: Station, backend: str = "pyinotify") -> None:
        self._backend = backend
        self._station = station
        self._path = station.path / "fail2ban"
        self._log = self._path / "kern.log"
        self._daemon: Daemon | None = None

    def start(self) -> None:
        """Start the server, and wait until its jail reads the log."""
        root, path = unpacked("fail2ban"), self._path
        self._configure(root)
        options = ["-c", f"{path}/config", "-s", f"{path}/socket", "-p", f"{path}/pid"]
        server = [_PYTHON, f"{root}/usr/bin/fail2ban-server", "-xf", *options, "start"]
        client = [_PYTHON, f"{root}/usr/bin/fail2ban-client", *options, "status", "treason"]
        needed = [root, *([unpacked(_WATCHING)] if self._backend == "pyinotify" else [])]
        modules = f"PYTHONPATH={':'.join(f'{each}/{_MODULES}' for each in needed)}"
        with self._station.entered():
            self._daemon = Daemon(["env", modules, *server], path / "out.log")
        self._daemon.ready(lambda: run(["env", modules, *client], codes=range(256)).code == 0)
        time.sleep(_POLL)

    def ban(self, peers: Sequence[str]) -> Sample:
        """Log the peers, and wait until all are in the set."""
        daemon = self._daemon
        if daemon is None:
            raise Failed("fail2ban was not started")
        with self._station.entered(), Watch() as watch:
            cpu = daemon.cpu()
            start = time.perf_counter()
            with self._log.open("a") as file:
                file.write(syslog(peers))
            wall = watch.wait(len(peers), _PATIENCE) - start
        return {"wall": wall, "cpu": daemon.cpu() - cpu, "memory": daemon.memory()}

    def pids(self) -> Sequence[int]:
        """Return the server's process."""
        return [self._daemon.pid] if self._daemon else []

    def close(self) -> None:
        """Stop the server."""
        if self._daemon:
            self._daemon.close()

    def _configure(self, root: Path) -> None:
        config = self._path / "config"
        shutil.copytree(root / "etc/fail2ban", config)
        shutil.rmtree(config / "jail.d")
        (config / "fail2ban.local").write_text(_LOCAL.format(path=self._path))
        jail = _JAIL.format(path=self._path, backend=self._backend)
        (config / "jail.local").write_text(jail)
        (config / "filter.d/treason.conf").write_text(_FILTER)
        self._log.touch()
