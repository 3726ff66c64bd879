"""The demonstration, in namespaces of its own: ``python -m bench.fleet``, from the checkout."""

import os
import sys
from typing import Final

from bench.fleet import postgres
from bench.measure import PYTHON

_INSIDE: Final = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Of processes, too: when the first one in it ends, the kernel ends all others."""


def main() -> None:
    """Put the demonstration into the place of this process, where that can be."""
    if not postgres.is_there():
        print(
            "treason: the demonstration of the fleet needs root, and PostgreSQL\n"
            "  as root: apt-get install postgresql; make demo-fleet",
            file=sys.stderr,
        )
        sys.exit(1)
    os.execvp(_INSIDE[0], [*_INSIDE, PYTHON, "-m", "bench.fleet.demo"])  # noqa: S606


if __name__ == "__main__":
    main()
