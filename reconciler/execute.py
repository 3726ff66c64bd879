"""The one place that runs other programs: from argument lists, within a time limit."""

import os
import select
from collections.abc import Sequence
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING

from attrs import frozen

from reconciler.errors import TreasonError

if TYPE_CHECKING:
    import subprocess


class CommandFailed(TreasonError):
    """A program is missing, failed, or did not end in time."""


@frozen
class Completed:
    """How a program ended, and what it printed."""

    code: int
    output: str
    error: str


def run(
    argv: Sequence[str], *, given: str = "", codes: Sequence[int] = (0,), timeout: float = 60.0
) -> Completed:
    """Run a program and give it ``given`` to read.

    Raise `CommandFailed` unless it ends with one of ``codes`` within ``timeout`` seconds.
    """
    import subprocess  # noqa: PLC0415 - costs milliseconds, and most commands run no program

    with ExitStack() as stack:
        # Files, not pipes: what the program leaves running would hold a pipe open.
        text, output, error = (stack.enter_context(_file(name)) for name in ("in", "out", "err"))
        text.write(given.encode())
        text.seek(0)
        try:
            process = subprocess.Popen(
                argv,
                stdin=text,
                stdout=output,
                stderr=error,
                env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": search_path()},
            )
        except FileNotFoundError:
            raise CommandFailed(
                f"{argv[0]}: no such program", "install the package that holds it"
            ) from None
        except (OSError, ValueError) as failure:
            reason = getattr(failure, "strerror", None) or failure
            raise CommandFailed(f"{argv[0]}: cannot be run: {reason}") from None
        if not _ended(process, timeout):
            raise CommandFailed(f"{' '.join(argv)}: did not end within {timeout:g} s")
        completed = Completed(process.returncode, _text(output), _text(error))
    if completed.code not in codes:
        said = completed.error.strip() or completed.output.strip()
        raise CommandFailed(f"{' '.join(argv)}: ended with {completed.code}: {said}")
    return completed


def search_path() -> str:
    """Give PATH with the directories of the system's programs, which cron and users lack."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _file(name: str) -> IO[bytes]:
    """Make a file in memory, where a full disk is no matter."""
    return os.fdopen(os.memfd_create(name), "w+b")


def _ended(process: "subprocess.Popen[bytes]", timeout: float) -> bool:
    """Wait for its end, and notice it at once: `Popen.wait` sleeps in between."""
    try:
        descriptor = os.pidfd_open(process.pid)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        try:
            return bool(poll.poll(timeout * 1000))
        finally:
            os.close(descriptor)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
