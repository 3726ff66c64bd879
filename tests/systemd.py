"""What tests of the units have in the place of systemd, and what it says of units."""

import re
import sys
from pathlib import Path

from harness import see_through
from pytest_mock import MockerFixture

from reconciler.execute import run
from reconciler.host import installing, sandbox


def exposure(unit: Path) -> float:
    """Return what `systemd-analyze security` counts."""
    done = run(["systemd-analyze", "security", "--offline=true", str(unit)])
    [level] = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", done.output)
    return float(level)


def without_systemd(path: Path, mocker: MockerFixture) -> list[list[str]]:
    """Let units be written below a path, by root; return the commands that systemd would get."""
    directory = path / "units"
    directory.mkdir()
    mocker.patch.object(installing, "DIRECTORY", directory)
    mocker.patch.object(installing, "USERS", path / "sysusers.d" / "treason-feeds.conf")
    for name in ("STATE", "RUNTIME"):
        mocker.patch.object(sandbox, name, path)
    mocker.patch.object(sys, "executable", "/opt/treason/bin/python")
    see_through(path, mocker)
    mocker.patch("os.geteuid", return_value=0)
    called: list[list[str]] = []
    mocker.patch.object(installing, "run", side_effect=lambda argv, **_: called.append(argv))
    return called
