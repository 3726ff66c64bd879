"""The one place that runs other programs: from argument lists, within a time limit."""

import os
import subprocess
from collections.abc import Sequence

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


def run(argv: Sequence[str], *, codes: Sequence[int] = (0,), timeout: float = 60.0) -> Completed:
    """Run a program without input; raise `CommandFailed` unless it ends with one of ``codes``."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=timeout,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError:
        raise CommandFailed(
            f"{argv[0]}: no such program", "install the package that holds it"
        ) from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{' '.join(argv)}: did not end within {timeout:g} s") from None
    if done.returncode not in codes:
        said = done.stderr.strip() or done.stdout.strip()
        raise CommandFailed(f"{' '.join(argv)}: ended with {done.returncode}: {said}")
    return Completed(done.returncode, done.stdout, done.stderr)
