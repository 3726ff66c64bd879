"""A Debian that is booted in a container, as seen and driven from outside, with peers around it."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from roots import ENVIRONMENT, run

from reconciler.host.netns import Namespace, Wire

MINUTES = 12
HIERARCHIES = Path("/sys/fs/cgroup")
_PATIENCE = 90


@contextmanager
def laid_over(base: Path) -> Iterator[Path]:
    """Return a system that is like another; what is changed in it goes with the block."""
    with tempfile.TemporaryDirectory(prefix="run.", dir=base.parent) as directory:
        run("mount", "-t", "tmpfs", "tmpfs", directory)
        upper, work, system = (Path(directory, each) for each in ("upper", "work", "system"))
        for each in (upper, work, system):
            each.mkdir(mode=0o755)
        options = f"lowerdir={base},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "-o", options, "overlay", system)
        try:
            yield system
        finally:
            run("umount", "--lazy", system)
            run("umount", "--lazy", directory)


def until(what: str, happens: Callable[[], bool], seconds: float = _PATIENCE) -> float:
    """Wait for something; return the seconds that it took."""
    start = time.monotonic()
    while not happens():
        assert time.monotonic() - start < seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)
    return time.monotonic() - start


class Network:
    """A network namespace and its peers, with the firewall as this machine's own tools see it."""

    def __init__(self, peers: Sequence[str]) -> None:
        self._stack = ExitStack()
        self.own = Namespace()
        self._stack.callback(self.own.close)
        with self.own.entered():
            self.wire = Wire(peers)
        self._stack.callback(self.wire.close)

    def run(self, *argv: str, given: str | None = None) -> str:
        """Run a command of this machine in it, which must succeed."""
        with self.own.entered():
            done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (argv, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def arriving(self, *sources: str) -> set[str]:
        """Return those whose packets reach the host."""
        return self.wire.arriving(sources)

    def close(self) -> None:
        """Take it away."""
        with self.own.entered():
            self._stack.close()


class Group:
    """Control groups of a machine's own: in one of several, systemd would end the others' services.

    systemd keeps its services in the unified hierarchy, or in one named systemd, or in both
    (cgroups(7)).
    """

    def __init__(self, name: str) -> None:
        places = [HIERARCHIES, HIERARCHIES / "systemd", HIERARCHIES / "unified"]
        self._own = [each / name for each in places if (each / "cgroup.procs").exists()]
        for each in self._own:
            each.mkdir()

    @property
    def entering(self) -> list[str]:
        """What a command begins with that is to be in it."""
        enter = "".join(f"echo $$ > {each}/cgroup.procs; " for each in self._own)
        return ["sh", "-c", f'{enter}exec "$@"', "sh"]

    def remove(self) -> None:
        """Remove them, and what was made in them; the last process leaves a little later."""
        until("all of it has ended", self._removed)

    def _removed(self) -> bool:
        for each in self._own:
            for path, _, _ in os.walk(each, topdown=False):
                with suppress(OSError):
                    Path(path).rmdir()
        return not any(each.exists() for each in self._own)


class Machine:
    """A booted system in a network of its own."""

    def __init__(self, system: Path, network: Network) -> None:
        self.network = network
        self._system = system
        self._console = system.parent / "console"
        self._group = Group(f"treason-{os.getpid()}-{id(self):x}")
        self.boot()

    def boot(self) -> None:
        """Start it, and wait until all is started."""
        with self._console.open("wb") as console:
            self._nspawn = subprocess.Popen(
                [*self._group.entering, "setpriv", "--pdeathsig=TERM",
                 "timeout", "--signal=KILL", f"{MINUTES}m",
                 "systemd-nspawn", "--quiet", "--register=no", "--keep-unit",
                 f"--network-namespace-path={self.network.own.path}",
                 "--capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYSLOG", "--bind=/dev/kmsg",
                 "--console=pipe", "--boot", "--directory", str(self._system)],
                stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._leader = 0
        until("the system boots", self._led)
        until("the system has booted", lambda: self.state() in {"running", "degraded"})

    def state(self) -> str:
        """Return what systemd says of the system as a whole."""
        return self.tried("systemctl", "is-system-running")[1].strip()

    def begun(self, *argv: str) -> subprocess.Popen[str]:
        """Begin to run a command in it."""
        enter = ["nsenter", "--target", str(self._leader), "--mount", "--uts", "--ipc", "--net",
                 "--pid", "--cgroup"]  # fmt: skip
        return subprocess.Popen(
            [*enter, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        )  # fmt: skip

    def tried(self, *argv: str) -> tuple[int, str, str]:
        """Run a command in it; return how it ended, what it printed, and what of errors."""
        with self.begun(*argv) as process:
            told, errors = process.communicate()
        return process.returncode, told, errors

    def run(self, *argv: str) -> str:
        """Run a command in it that must succeed; return what it prints."""
        code, told, errors = self.tried(*argv)
        assert code == 0, f"{' '.join(argv)}: ended with {code}\n{told}{errors}"
        return told

    def path(self, where: str) -> Path:
        """Return the path by which a file of it is reached from here."""
        return Path(f"/proc/{self._leader}/root{where}")

    def shown(self, unit: str, what: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", what, unit).strip()

    def active(self, unit: str) -> bool:
        """Whether a unit runs, or waits for what it is for."""
        return self.shown(unit, "ActiveState") == "active"

    def reboot(self) -> None:
        """Shut it down in good order, and boot it anew."""
        self.tried("systemctl", "poweroff")
        self._nspawn.wait(_PATIENCE)
        self.boot()

    def close(self) -> None:
        """Pull the plug."""
        if self._leader:
            os.kill(self._leader, 9)
        else:
            self._nspawn.kill()
        self._nspawn.wait()
        self._group.remove()

    def _led(self) -> bool:
        """Whether the first process of it is known: the child of systemd-nspawn."""
        if self._nspawn.poll() is not None:
            raise AssertionError(f"it does not boot: {self._console.read_text()[-2000:]}")
        self._leader = next(
            (pid for parent in _children(self._nspawn.pid) for pid in _children(parent)
             if _first(pid)), 0,
        )  # fmt: skip
        return bool(self._leader)


def _children(pid: int) -> list[int]:
    try:
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    except FileNotFoundError:
        return []


def _first(pid: int) -> bool:
    """Whether it is the first process of a namespace, and has become systemd."""
    try:
        numbers = Path(f"/proc/{pid}/status").read_text().partition("NSpid:")[2].splitlines()[0]
        return numbers.split()[1:] == ["1"] and Path(f"/proc/{pid}/comm").read_text() == "systemd\n"
    except FileNotFoundError:
        return False


def chrooted(system: Path, network: Network, *argv: str) -> str:
    """Run a command in a system that is not booted, which must succeed; return what it prints."""
    script = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    inside = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", script, str(system)]
    with network.own.entered():
        done = subprocess.run(
            [*inside, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT, check=False,
        )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(argv)}: ended with {done.returncode}\n{done.stdout}"
    return done.stdout


@contextmanager
def booted(base: Path, peers: Sequence[str]) -> Iterator[Machine]:
    """Boot a copy of a system, for the time of the block."""
    with laid_over(base) as system:
        network = Network(peers)
        try:
            machine = Machine(system, network)
            try:
                yield machine
            finally:
                machine.close()
        finally:
            network.close()
