"""Run ``python -m release WORK [DIRECTORY]``: make what is released, out of the code."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reconciler.errors import TreasonError
from release import build, deb
from release.completion import render as completion
from release.manual import render as manual

WORKS: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "build": (build.release, "dist"),
    "completion": (completion.write, "conf/completions"),
    "deb": (deb.build, "dist"),
    "manual": (manual.write, "docs/man"),
    "sdist": (build.sdist, "dist"),
}
"""What can be made, by whom, and where it goes when no directory is named."""


def main(arguments: list[str]) -> int:
    """Do one work; return the exit code."""
    if not arguments or arguments[0] not in WORKS or len(arguments) > 2:
        sys.stderr.write(f"usage: python -m release {'|'.join(WORKS)} [DIRECTORY]\n")
        return 64
    work, usual = WORKS[arguments[0]]
    try:
        work(Path(*arguments[1:] or [usual]))
    except TreasonError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
