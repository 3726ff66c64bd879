"""A machine in trouble: a network namespace, a small disk, clocks that may be wrong, and a log.

All of it is real but the clocks. Commands run in this process, or in one that is killed.
"""

import ctypes
import gc
import io
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import (
    ExitStack,
    closing,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from pathlib import Path
from typing import Any, Final

import attrs
from harness import Result
from truth import covered

from backends.nftables.backend import Nftables
from reconciler.cli.main import main
from reconciler.execute import CommandFailed, run
from reconciler.host.clock import Look
from reconciler.host.netns import Namespace

START: Final = 1_800_000_000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_NEWNS, _FS = 0x20000, 0x200  # linux/sched.h
_RDONLY, _REMOUNT, _PRIVATE, _REC = 1, 32, 1 << 18, 1 << 14  # linux/mount.h
_DETACH: Final = 2


@contextmanager
def own_mounts() -> Iterator[None]:
    """Put this thread into a mount namespace of its own, for the time of the block."""
    home, directory = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY), Path.cwd()
    _call(_LIBC.unshare(_NEWNS | _FS))
    try:
        _call(_LIBC.mount(b"none", b"/", None, _REC | _PRIVATE, None))
        yield
    finally:
        _call(_LIBC.setns(home, _NEWNS))
        os.close(home)
        os.chdir(directory)


def _call(result: int) -> None:
    if result:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


@attrs.define
class Clocks:
    """What time it really is, how wrong the wall clock is, since when, and which boot."""

    time: float = START
    wrong: float = 0
    since: float = START
    booted: float = START - 1000
    boot: int = 0

    def look(self) -> Look:
        """Look at them as the program does."""
        return Look(self.time + self.wrong, self.time - self.booted, f"boot {self.boot}")

    def set(self, wrong: float) -> None:
        """Let the wall clock be wrong by so much from now on."""
        self.wrong, self.since = wrong, self.time


class Disk:
    """A small file system for the database; ``fault`` is empty, "full" or "read-only"."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fault = ""
        path.mkdir(exist_ok=True)
        _call(_LIBC.mount(b"tmpfs", bytes(path), b"tmpfs", 0, b"size=1m,mode=700"))

    def close(self) -> None:
        """Let it go."""
        _LIBC.umount2(bytes(self.path), _DETACH)

    def suffer(self, fault: str) -> None:
        """Let it be full, or read-only, or well."""
        _call(_LIBC.mount(b"tmpfs", bytes(self.path), b"tmpfs", _REMOUNT, b""))
        fill = self.path / "fill"
        fill.unlink(missing_ok=True)
        if fault == "full":
            with suppress(OSError), fill.open("wb", buffering=0) as file:
                while file.write(bytes(1024)):
                    pass
        if fault == "read-only":
            gc.collect()  # a process that ends has no file open; this one may
            _call(_LIBC.mount(b"tmpfs", bytes(self.path), b"tmpfs", _REMOUNT | _RDONLY, b""))
        self.fault = fault

    @contextmanager
    def room(self) -> Iterator[None]:
        """Let somebody change files whatever the fault is."""
        fault = self.fault
        self.suffer("")
        yield
        self.suffer(fault)

    def files(self) -> dict[Path, bytes]:
        """Read the database, and the journal that may lie beside it."""
        return {each: each.read_bytes() for each in self.path.glob("treason.db*")}

    def put(self, files: dict[Path, bytes]) -> None:
        """Let there be these files instead."""
        for each in self.path.glob("treason.db*"):
            each.unlink()
        for path, content in files.items():
            path.write_bytes(content)
            path.chmod(0o600)


class Troubled:
    """The machine: directories for what stays, the disk, and what a boot takes away."""

    def __init__(self, directory: Path) -> None:
        self.stack = ExitStack()
        self.clocks = Clocks()
        self.stack.callback(Disk(directory).close)
        self.etc, self.run = directory / "etc", directory / "run"
        self.etc.mkdir()
        self.disk = Disk(directory / "disk")
        self.stack.callback(self.disk.close)
        self.database = self.disk.path / "treason.db"
        self.log = self.etc / "kern.log"
        self.log.touch()
        self.whitelist = self.etc / "whitelist.toml"
        self._inside = ExitStack()
        self._boot()

    def close(self) -> None:
        """Leave it."""
        self._inside.close()
        self.stack.close()

    def _boot(self) -> None:
        self._inside.close()
        namespace = Namespace()
        self._inside.callback(namespace.close)
        self._inside.enter_context(namespace.entered())
        shutil.rmtree(self.run, ignore_errors=True)

    def reboot(self, off: float) -> None:
        """Turn it off for some seconds: the kernel's rules, addresses and /run are gone."""
        self.clocks.time += off
        self.clocks.booted, self.clocks.boot = self.clocks.time - 5, self.clocks.boot + 1
        self._boot()

    def configure(self, text: str = "") -> None:
        """Write the configuration, with this text behind it."""
        (self.etc / "treason.toml").write_text(
            f'[treason]\ndatabase = "{self.database}"\nlock = "{self.run}/lock"\n'
            'sources = ["file"]\n[policy]\nban_for = "2h"\nkeep_history = "1d"\n'
            f'[source.file]\npath = "{self.log}"\ntrusted = true\n{text}'
        )

    def treason(self, *arguments: str) -> Result:
        """Run a command in this process."""
        self.clocks.time += 2
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
        argv = sys.argv
        sys.argv = ["treason", "--config", str(self.etc / "treason.toml"), *arguments]
        try:
            with redirect_stdout(out), redirect_stderr(err):
                main()
        except SystemExit as ended:
            code = ended.code
        finally:
            sys.argv = argv
        assert isinstance(code, int)
        return Result(code, *(_text(each) for each in (out, err)))

    def killed(self, calls: int, *arguments: str) -> None:
        """Run a command in a process that is killed after so many calls of functions."""
        self.clocks.time += 2

        def kill() -> None:
            left = iter(range(calls))

            def call(*_: object) -> None:
                if next(left, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.setprofile(call)
            self.treason(*arguments)

        _in_child(kill)

    def crash_in_commit(self) -> None:
        """Let a program be killed in the middle of a commit: a hot journal is left."""

        def kill() -> None:
            database = sqlite3.connect(self.database, isolation_level=None)
            database.execute("PRAGMA cache_size = 1")
            database.execute("BEGIN IMMEDIATE")
            database.execute("DELETE FROM bans")
            database.executemany(
                "INSERT INTO history (time, action, network, reason) VALUES (1, 'ban', ?, '')",
                ((f"10.0.0.{i % 256}",) for i in range(999)),
            )

        _in_child(kill)

    def by_hand(self, statement: str, *values: str) -> None:
        """Change the database as another program does."""
        with closing(sqlite3.connect(self.database, isolation_level=None)) as database:
            database.execute(statement, values)

    def damage(self, name: str) -> bool:
        """Let a page of a table or an index hold nothing that can be read."""
        with closing(sqlite3.connect(self.database)) as database:
            rows = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,))
            root = rows.fetchone()
            [(size,)] = database.execute("PRAGMA page_size").fetchall()
        if root is None:
            return False
        with self.disk.room(), self.database.open("r+b") as file:
            file.seek((root[0] - 1) * size)
            file.write(b"\xff" * size)
        return True

    def address(self, address: str) -> None:
        """Let the machine have an address."""
        run(["ip", "address", "add", f"{address}/32", "dev", "lo"])

    def break_rules(self, command: str) -> None:
        """Change the kernel's rules as somebody else does, if there is something to change."""
        with suppress(CommandFailed):
            run(["nft", command])

    def dropped(self, among: frozenset[str]) -> set[str]:
        """Ask the kernel which of these addresses are dropped; a damaged chain drops nobody."""
        held = Nftables().observe()
        if held.damage:
            return set()
        banned, passed = ([*map(str, each)] for each in (held.banned, held.passed or ()))
        return _in(banned, among) - _in(passed, among)

    def listed(self, among: frozenset[str]) -> set[str]:
        """Ask nft, another program, for the same."""
        listed = json.loads(run(["nft", "-j", "list", "ruleset"]).output)["nftables"]
        sets = {
            each["set"]["name"]: [*map(_network, each["set"].get("elem", []))]
            for each in listed
            if "set" in each
        }
        rules = [json.dumps(each["rule"]["expr"]) for each in listed if "rule" in each]

        def held(verdict: str) -> set[str]:
            chosen = [rule for rule in rules if f'"{verdict}"' in rule]
            used = [name for name in sets if any(f'"@{name}"' in rule for rule in chosen)]
            return _in([network for name in used for network in sets[name]], among)

        return held("drop") - held("accept")


def _network(element: Any) -> str:
    """Return an element of a set as text."""
    if isinstance(element, str):
        return element
    if "elem" in element:
        return _network(element["elem"]["val"])
    return "{addr}/{len}".format(**element["prefix"])


def _in(networks: list[str], among: frozenset[str]) -> set[str]:
    return set[str]().union(*(covered(each, among) for each in networks))


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


def _in_child(work: Callable[[], object]) -> None:
    """Do it in a process that is killed at its end, if it was not before."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
