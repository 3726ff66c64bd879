"""Fuzz the parsers: ``python tests/fuzz [--seconds N] [PARSER...]``, so many seconds for each.

With ``--seed`` the inputs come in the same order each time, and a slower machine sees fewer.

Each runs in a process of its own, guided by the lines of the product that it reaches (atheris).
The exit code is 1 where one disagrees with the reference, crashes, takes too long, or where no
input reached an offence. What is found is shortened and printed.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from targets import Target

INSTRUMENTED: Final = [
    *("sources", "reconciler.detection.detect", "reconciler.network", "reconciler.blocklist"),
    "reconciler.bpf.btf",
]
PARSERS: Final = [
    "network",
    "message",
    "line",
    "kmsg",
    "dmesg",
    "file",
    "document",
    "journal",
    "paths",
    "cursor",
    "blocklist",
    "btf",
]
PATIENCE: Final = 1.0
"""Seconds that an input of a few thousand bytes may take; it takes well under a thousandth."""

HANGING: Final = 20
"""Seconds after which the process is ended from outside, as one that does not come back."""

LARGEST: Final = 8192


class Slow(Exception):
    """An input that took too long."""


def main() -> int:
    """Fuzz some parsers, one after the other, or be the process that fuzzes one."""
    arguments = _arguments()
    if arguments.worker:
        work(arguments.parsers[0], arguments.seconds, arguments.seed)
    failed = 0
    print(f"{'parser':10} {'runs':>12} {'a second':>10} {'offences':>12}", flush=True)
    for name in arguments.parsers:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent), "--worker",
             "--seconds", str(arguments.seconds), "--seed", str(arguments.seed), name],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        lines = done.stdout.splitlines()
        found = json.loads(lines[-1]) if done.returncode in {0, 1} and lines else {}
        if not found:
            found = {"failure": f"ended with {done.returncode}: {done.stderr[-3000:]}"}
        if not (found.get("offences") or found.get("failure")):
            found["failure"] = "no input reached an offence"
        runs, seconds = found.get("runs", 0), found.get("seconds", 1)
        rate, offences = runs / seconds, found.get("offences", 0)
        print(f"{name:10} {runs:12,} {rate:10,.0f} {offences:12,}", flush=True)
        if "failure" in found:
            failed += 1
            print(f"  {found['failure']}", flush=True)
    return 1 if failed else 0


def work(name: str, seconds: float, seed: int) -> None:
    """Fuzz one parser, print the figures as JSON, and end the process."""
    import atheris  # noqa: PLC0415 - the process that only starts others needs none of it

    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        from targets import TARGETS  # noqa: PLC0415 - imported in there

    target = TARGETS[name]
    start = time.monotonic()
    runs = offences = 0

    def end(failure: str = "") -> None:
        told = {"runs": runs, "offences": offences, "seconds": time.monotonic() - start}
        print(json.dumps(told | ({"failure": failure} if failure else {})), flush=True)
        os._exit(1 if failure else 0)  # libFuzzer has no other way to stop

    def one(data: bytes) -> None:
        nonlocal runs, offences
        runs += 1
        try:
            offences += timed(target, data)
        except Exception as error:  # noqa: BLE001 - a parser must not raise anything
            least = shortest(data, partial(fails_as, target, type(error)))
            end(f"{explain(target, least)}\n  {least!r}")
        if runs % 256 == 0 and time.monotonic() - start > seconds:
            end()

    options = [f"-timeout={HANGING}", f"-max_len={LARGEST}", "-rss_limit_mb=1024", "-verbosity=0"]
    atheris.Setup(
        [sys.argv[0], *options, f"-seed={seed}", "-artifact_prefix=/dev/null"],
        one,
        custom_mutator=lambda data, longest, seed: target.changed(data, seed, longest),
    )
    atheris.Fuzz()


def timed(target: "Target", data: bytes) -> int:
    """Check one input; raise `Slow` if that took too long."""
    start = time.process_time()
    offences = target.check(data)
    took = time.process_time() - start
    if took > PATIENCE:
        raise Slow(f"took {took:.1f} s")
    return offences


def fails_as(target: "Target", kind: type[Exception], data: bytes) -> bool:
    """Return whether an input fails in the same way."""
    try:
        timed(target, data)
    except Exception as other:  # noqa: BLE001 - see above
        return type(other) is kind
    return False


def explain(target: "Target", data: bytes) -> str:
    """Return how an input fails."""
    try:
        timed(target, data)
    except Exception as error:  # noqa: BLE001 - see above
        return f"{type(error).__name__}: {error}"
    return "failed once, and then no more"


def shortest(data: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """Leave out whatever can be left out while it still fails."""
    size = len(data)
    while size:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if fails(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/fuzz", description=__doc__)
    parser.add_argument("parsers", nargs="*", metavar="PARSER", help=", ".join(PARSERS))
    parser.add_argument("--seconds", type=float, default=600, help="for each (600)")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs (0: another each time)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.parsers = arguments.parsers or PARSERS
    for name in arguments.parsers:
        if name not in PARSERS:
            parser.error(f"no such parser: {name}; there are {', '.join(PARSERS)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
