"""What a program costs: wall and CPU seconds, and the peak of its memory in bytes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import Final

from reconciler.errors import TreasonError
from reconciler.execute import search_path

Sample = Mapping[str, float]
"""Figures of one run by their names: ``wall``, ``cpu`` (seconds), ``memory`` (bytes), and others
that single works add."""

PYTHON: Final = sys.executable
TREASON: Final = str(Path(sys.executable).with_name("treason"))
_LAUNCH: Final = str(Path(__file__).with_name("launch.py"))


class Failed(TreasonError):
    """A program that was to be measured failed, or did not end in time."""


def program(name: str) -> str:
    """Return the path of a program; raise `Failed` if it is not there."""
    path = shutil.which(name, path=search_path())
    if path is None:
        raise Failed(f"{name} is not installed")
    return path


def measure(
    argv: Sequence[str],
    *,
    output: Path | None = None,
    codes: Sequence[int] = (0,),
    timeout: float = 300.0,
) -> Sample:
    """Run a program, in the namespace of the calling thread, and give what it cost."""
    with NamedTemporaryFile("r") as report, TemporaryFile("w+") as said:
        with (output or Path(os.devnull)).open("wb") as out:
            process = subprocess.Popen(
                [PYTHON, "-I", "-S", _LAUNCH, report.name, program(argv[0]), *argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=said,
                start_new_session=True,
            )
            code = _ended(process, timeout)
        if code not in codes:
            said.seek(0)
            why = f"did not end within {timeout:g} s" if code is None else f"ended with {code}"
            raise Failed(f"{Path(argv[0]).name}: {why}: {said.read(300).strip()}")
        wall, cpu, memory = report.read().split()
    return {"wall": float(wall), "cpu": float(cpu), "memory": float(memory)}


def _ended(process: "subprocess.Popen[bytes]", timeout: float) -> int | None:
    """Return its exit code; kill it with all that it started when its time is over."""
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # a group of its own: start_new_session
        process.wait()
        return None
