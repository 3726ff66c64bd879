"""Memory that only the start needs, given back to the machine."""

import ctypes
import gc
import linecache


def slim() -> None:
    """Return to the machine what only the start needed."""
    linecache.clearcache()  # attrs keeps the text of all that it makes
    gc.collect()
    gc.freeze()
    trim()


def trim() -> None:
    """Return to the machine what was freed (malloc_trim(3))."""
    ctypes.CDLL(None).malloc_trim(0)
