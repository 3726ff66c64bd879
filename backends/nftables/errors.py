"""What is told when the kernel or libnftables refuses."""

from collections.abc import Iterator
from contextlib import contextmanager

from reconciler import BackendError
from reconciler.netlink import NetlinkError, NotPermitted


@contextmanager
def raising(kind: type[BackendError]) -> Iterator[None]:
    """Turn every refusal into an error of this kind."""
    try:
        yield
    except NetlinkError as error:
        hint = owned(error.hint, denied=isinstance(error, NotPermitted))
        raise kind(f"nftables: {error.what}", hint) from None
    except BackendError as error:
        raise kind(error.what, error.hint) from None


def owned(hint: str, *, denied: bool) -> str:
    """Return the hint with what else may deny a change: a program that owns the table (nft(8))."""
    return f"{hint}; no other program may own the table" if denied else hint
