"""A HAProxy of the test's own, and a relay to its socket that can be made to fail."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingMixIn, UnixStreamServer

ADDRESS = "198.51.100.1"
"""Where it listens, in a network namespace (RFC 5737)."""

CONFIG = """\
global
    stats socket {directory}/stats level admin
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend www
    bind {bind}
    acl banned src -f {directory}/banned.acl
    acl theirs src -f {directory}/theirs.acl
    tcp-request connection reject if banned
    http-request return status 403 if theirs
    http-request set-header x-theirs %[src,map_ip({directory}/their.map)]
    http-request return status 200
"""


class Server:
    """A HAProxy with our ACL, which is empty, and with an ACL and a map of somebody else's."""

    def __init__(self, directory: Path, bind: str = "") -> None:
        self.acl = directory / "banned.acl"
        self.stats = directory / "stats"
        self.theirs = [directory / "theirs.acl", directory / "their.map"]
        self._config = directory / "haproxy.cfg"
        self._log = directory / "haproxy.log"
        self._config.write_text(
            CONFIG.format(directory=directory, bind=bind or f"unix@{directory}/www")
        )
        self.acl.write_text("")
        self.theirs[0].write_text("203.0.113.0/24\n")
        self.theirs[1].write_text("198.51.100.0/24 hello\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; wherever one runs, that hands over to the new one, and ends."""
        old = self._process
        handover = ["-sf", str(old.pid)] if old else []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(self._config), *handover],
                stdout=log, stderr=log,
                env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"},
            )  # fmt: skip
        if old:
            old.wait(10)
        self._wait()

    def stop(self) -> None:
        """End it."""
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(10)
            self._process = None

    def ask(self, command: str) -> str:
        """Send a command, as an administrator does."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.stats))
            connection.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def _wait(self) -> None:
        pid = f"Pid: {self._process.pid}\n" if self._process else ""
        for _ in range(500):
            with suppress(OSError):
                if pid in self.ask("show info"):
                    return
            time.sleep(0.01)
        raise TimeoutError(self._log.read_text())


class Relay(ThreadingMixIn, UnixStreamServer):
    """Hands lines on to HAProxy and answers back, but for those that ``fails`` tells.

    ``deaf`` says whether such a line is not even handed on.
    """

    daemon_threads = True

    def __init__(self, path: Path, server: Server) -> None:
        super().__init__(str(path), _Handler)
        self.server = server
        self.fails: Callable[[bytes], bool] = lambda _line: False
        self.deaf = True
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(StreamRequestHandler):
    server: Relay

    def handle(self) -> None:
        """Answer one line."""
        line = self.rfile.readline()
        fails = self.server.fails(line)
        if not (fails and self.server.deaf):
            answer = self.server.server.ask(line.decode().rstrip("\n"))
            if not fails:
                self.wfile.write(answer.encode())
