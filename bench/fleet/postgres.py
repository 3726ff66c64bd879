"""A PostgreSQL of its own: Debian's server, started privately in the namespace it is in."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import trustme
from attrs import define, field

from reconciler.errors import TreasonError

_PATIENCE: Final = 60.0
"""Seconds for the server to start or to end, on a busy machine."""

_HBA: Final = """\
local all postgres trust
local all all scram-sha-256
host{ssl} all all all scram-sha-256
"""


def _programs() -> Path:
    """Return where the newest server's programs are (Debian keeps each version apart)."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: len(p.parts))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path or "/nonexistent").parent


def is_there() -> bool:
    """Return whether a server can be started: it refuses to run as root, so a user is needed."""
    of_all = Path("/proc/self/uid_map").read_text().split()[2] != "1"
    with suppress(KeyError):
        return (
            os.geteuid() == 0
            and of_all
            and (_programs() / "postgres").exists()
            and bool(pwd.getpwnam("postgres"))
        )
    return False


@define(eq=False)
class Postgres:
    """A server with a directory of its own.

    The superuser ``postgres`` comes in by the socket without a password; everybody else needs one.
    """

    address: str = "127.0.0.1"
    port: int = 5433
    durable: bool = False
    tls: bool = False
    settings: dict[str, str] = field(factory=dict)
    directory: Path = field(factory=lambda: Path(tempfile.mkdtemp(prefix="treason-postgres-")))
    authority: trustme.CA | None = None
    _process: subprocess.Popen[bytes] | None = None

    def __attrs_post_init__(self) -> None:
        user = pwd.getpwnam("postgres")
        os.chown(self.directory, user.pw_uid, user.pw_gid)
        self._run("initdb", "--no-sync", "--username=postgres", "--encoding=UTF8", "--locale=C")
        ssl = "ssl" if self.tls else ""
        (self.data / "pg_hba.conf").write_text(_HBA.format(ssl=ssl))
        if self.tls:
            self._certify(user.pw_uid, user.pw_gid)

    @property
    def data(self) -> Path:
        """Where the server keeps all it has."""
        return self.directory / "data"

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.directory / "log").read_text(errors="replace")

    def dsn(self, user: str = "", dbname: str = "postgres", **more: str) -> str:
        """Return how to connect: a member by TCP, the superuser (no name) by the socket."""
        host = self.address if user else str(self.directory)
        words = {"host": host, "port": str(self.port), "dbname": dbname} | more
        words["user"] = user or "postgres"
        return " ".join(f"{key}={value}" for key, value in words.items())

    def start(self) -> None:
        """Start it, and wait until it lets somebody in."""
        settings = {
            "port": str(self.port),
            "listen_addresses": self.address,
            "unix_socket_directories": str(self.directory),
            "fsync": "on" if self.durable else "off",
            "ssl": "on" if self.tls else "off",
            "timezone": "UTC",
        } | self.settings
        given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user(), str(_programs() / "postgres"), "-D", str(self.data), *given],
                stdout=log, stderr=log, cwd=self.directory, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + _PATIENCE
        probe = [str(_programs() / "pg_isready"), "-q", "-h", str(self.directory)]
        while subprocess.run([*probe, "-p", str(self.port)], check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > end:
                raise TreasonError(f"PostgreSQL does not start: {self.log[-2000:].strip()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in good order (fast shutdown)."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a crash would: it has to recover at the next start (immediate shutdown)."""
        self._end(signal.SIGQUIT)

    def freeze(self) -> None:
        """Let all of its processes stand still, as a machine that does not answer."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal_all(signal.SIGCONT)

    def close(self) -> None:
        """End it, and remove all it has."""
        if self._process is not None:
            self.thaw()
            self.kill()
        shutil.rmtree(self.directory)

    def processes(self) -> list[int]:
        """Return the numbers of the postmaster and its children."""
        pid = self._server.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def _signal_all(self, number: signal.Signals) -> None:
        """Signal all; each of the children has a session of its own."""
        for each in self.processes():
            with suppress(ProcessLookupError):
                os.kill(each, number)

    def _end(self, number: signal.Signals) -> None:
        self._server.send_signal(number)
        self._server.wait(_PATIENCE)
        self._process = None

    @property
    def _server(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise TreasonError("PostgreSQL was not started")
        return self._process

    def _as_user(self) -> list[str]:
        user = pwd.getpwnam("postgres")
        ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        return ["setpriv", *ids, "--"]

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user(), str(_programs() / program), "-D", str(self.data), *arguments]
        done = subprocess.run(command, capture_output=True, cwd=self.directory, check=False)
        if done.returncode:
            raise TreasonError(f"{program}: {done.stderr.decode(errors='replace').strip()}")

    def _certify(self, uid: int, gid: int) -> None:
        """Write a certificate for its address and for ``db.example``."""
        self.authority = self.authority or trustme.CA()
        certificate = self.authority.issue_cert(self.address, "db.example")
        certificate.private_key_pem.write_to_path(self.data / "server.key")
        certificate.cert_chain_pems[0].write_to_path(self.data / "server.crt")
        for name in ("server.key", "server.crt"):
            (self.data / name).chmod(0o600)
            os.chown(self.data / name, uid, gid)


@contextmanager
def running(**how: object) -> Iterator[Postgres]:
    """Start one, and remove it behind."""
    server = Postgres(**how)  # type: ignore[arg-type]
    try:
        server.start()
        yield server
    finally:
        server.close()
