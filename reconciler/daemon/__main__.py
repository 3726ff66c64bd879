"""Run the daemon in a lean process: ``python -m reconciler.daemon``, as `treason run` does."""

import faulthandler
import sys
from contextlib import suppress
from importlib import import_module


def _spare_openssl() -> None:
    """Let `hashlib` use Python's own code, where it has it: OpenSSL takes four megabytes."""
    with suppress(ImportError):
        import_module("_blake2")
        import_module("_sha256" if sys.version_info < (3, 12) else "_sha2")
        sys.modules["_hashlib"] = None  # type: ignore[assignment]  # so it cannot be imported


def main() -> int:
    """Run it; return the exit code."""
    faulthandler.enable()  # the watchdog ends with SIGABRT, which then tells where it hung
    sys.setswitchinterval(0.0005)  # the writer is not to keep a drop waiting
    _spare_openssl()
    from reconciler.daemon import start  # noqa: PLC0415 - all of the above comes first

    return start.run(*sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
