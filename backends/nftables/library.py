"""The seam to libnftables: the only place that runs nft commands.

Each call has a context of its own, so nothing is answered from an old cache. Commands reach the
kernel of the calling thread's network namespace. libnftables.so.1 is loaded at the first call.
"""

import ctypes
from collections.abc import Callable
from typing import Any, Final

from backends.nftables.errors import owned
from reconciler import BackendError, hints

_SONAME: Final = "libnftables.so.1"


def run(script: str) -> None:
    """Carry out the commands as one transaction."""
    _command(_context(), script)


def structure() -> str:
    """List every table without elements and counters.

    ``list table`` would read all elements even when it prints none (seconds for large sets), and
    in JSON nft 1.0.6 prints a wrong word for a table's flags.
    """
    context = _context()
    context.set_terse_output(True)
    context.set_stateless_output(True)
    context.set_numeric_prio_output(True)
    context.set_numeric_symbol_output(True)
    return _command(context, "list ruleset")


def _context() -> Any:  # noqa: ANN401 - the module `nftables` has no types
    try:
        ctypes.CDLL(_SONAME)
    except OSError:
        raise BackendError(
            f"nftables: {_SONAME} is not installed", "install it: apt-get install libnftables1"
        ) from None
    import nftables  # noqa: PLC0415 - loaded only where the firewall is touched

    context = nftables.Nftables()
    for buffer in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        setattr(context, buffer, _readable(getattr(context, buffer)))
    return context


def _readable(buffer: Callable[[object], bytes]) -> Callable[[object], bytes]:
    """Make what the library prints UTF-8, which the module expects: comments may be anything."""
    return lambda context: buffer(context).decode(errors="replace").encode()


def _command(context: Any, command: str) -> str:  # noqa: ANN401 - see above
    code, output, error = context.cmd(command)
    if code != 0:
        reason = next((line for line in error.splitlines() if line.strip()), f"error {code}")
        raise BackendError(
            f"nftables: {reason.removeprefix('Error: ')}",
            owned(hints.hint(reason), denied="not permitted" in reason),
        )
    return str(output)
