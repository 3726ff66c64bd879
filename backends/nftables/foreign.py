"""The text of rules that are not ours: libnftables is asked for it, in a process of its own.

It reads what a newer nft or another program may have made, and may take long, or call abort().
"""

import re
import resource
import sys
from typing import Final

from backends.nftables.statements import TABLE
from reconciler import execute

_PATIENCE: Final = 1.0
"""Seconds; nft 1.0.6 reads the elements of all sets first, which may take longer."""

_LISTED: Final = re.compile(r"\t\t(.*) # handle ([0-9]+)")


def rules(chain: str) -> dict[int, str]:
    """Return the rules of a chain of ours by their handles; none where libnftables cannot tell."""
    # -P: with -m alone, Python would look for modules in the current directory first.
    command = [sys.executable, "-P", "-m", __name__, f"list chain {TABLE} {chain}"]
    try:
        listed = execute.run(command, timeout=_PATIENCE).output
    except execute.CommandFailed:
        return {}
    found = (_LISTED.fullmatch(line) for line in listed.splitlines())
    return {int(match[2]): match[1] for match in found if match}


def _print(command: str) -> None:
    """Print what a command lists."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # an abort() is to leave nothing behind
    import nftables  # noqa: PLC0415 - loads the library, which this process alone risks

    context = nftables.Nftables()
    context.set_handle_output(True)
    context.set_stateless_output(True)
    context.set_terse_output(True)
    context.set_numeric_prio_output(True)
    code, listed, _error = context.cmd(command)
    sys.stdout.write(listed)
    sys.exit(code != 0)


if __name__ == "__main__":
    _print(sys.argv[1])
