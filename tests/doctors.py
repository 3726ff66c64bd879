"""What tests ask of `treason doctor`, and how they do what it says."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from harness import Place

from reconciler import Finding
from reconciler.config.setup import Setup
from reconciler.doctor.machine import Machine

BIN = Path(sys.executable).parent


def findings(place: Place, check: str = "") -> list[Finding]:
    """Return what it finds, or what one check does; its exit code says whether it is anything."""
    result = place.treason("doctor", "-o", "json")
    every = [Finding(check=each.pop("check"), **each) for each in result.json["findings"]]
    assert result.code == bool(every), result
    return [each for each in every if check in {"", each.check}]


def do(remedy: str) -> None:
    """Do what it says, as somebody does who copies it into a shell."""
    path = f"{BIN}:{os.environ['PATH']}:/usr/sbin:/sbin"
    done = subprocess.run(
        ["sh", "-c", remedy], env={**os.environ, "PATH": path}, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, (remedy, done.stdout)


def machine(place: Place, **more: Any) -> Machine:
    """Return what the checks look at: this place, with what else is told of it."""
    return Machine(Setup(str(place.config)), **more)


def whats(check: Callable[[Machine], Iterable[Finding]], looked_at: Machine) -> list[str]:
    """Return what a check finds."""
    return [each.what for each in check(looked_at)]
