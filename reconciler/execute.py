"""The one place that runs other programs: from argument lists, within a time limit."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from typing import IO

from attrs import frozen

from reconciler.errors import TreasonError


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
    with ExitStack() as stack:
        # Files, not pipes: what the program leaves running would hold a pipe open.
        text, output, error = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        text.write(given.encode())
        text.seek(0)
        try:
            done = subprocess.run(
                argv,
                stdin=text,
                stdout=output,
                stderr=error,
                check=False,
                timeout=timeout,
                env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": search_path()},
            )
        except FileNotFoundError:
            raise CommandFailed(
                f"{argv[0]}: no such program", "install the package that holds it"
            ) from None
        except (OSError, ValueError) as failure:
            reason = getattr(failure, "strerror", None) or failure
            raise CommandFailed(f"{argv[0]}: cannot be run: {reason}") from None
        except subprocess.TimeoutExpired:
            raise CommandFailed(f"{' '.join(argv)}: did not end within {timeout:g} s") from None
        completed = Completed(done.returncode, _text(output), _text(error))
    if completed.code not in codes:
        said = completed.error.strip() or completed.output.strip()
        raise CommandFailed(f"{' '.join(argv)}: ended with {completed.code}: {said}")
    return completed


def search_path() -> str:
    """Give PATH with the directories of the system's programs, which cron and users lack."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
