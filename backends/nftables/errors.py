"""What is told when the kernel refuses."""

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
        denied = isinstance(error, NotPermitted)  # also by a program that owns the table (nft(8))
        owned = "; no other program may own the table" if denied else ""
        raise kind(f"nftables: {error.what}", error.hint + owned) from None
    except BackendError as error:
        raise kind(error.what, error.hint) from None
