"""What tests of the units have in the place of systemd, and what it says of units."""

import re
import sys
from pathlib import Path

import attrs
from harness import see_through
from pytest_mock import MockerFixture

from reconciler.execute import CommandFailed, Completed, run
from reconciler.host import installing, sandbox, unit_files, units


def exposure(unit: Path) -> float:
    """Return what `systemd-analyze security` counts."""
    done = run(["systemd-analyze", "security", "--offline=true", str(unit)])
    [level] = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", done.output)
    return float(level)


def without_systemd(path: Path, mocker: MockerFixture) -> list[list[str]]:
    """Let units be written below a path, by root; return the commands that systemd would get."""
    directory = path / "units"
    directory.mkdir()
    mocker.patch.object(unit_files, "DIRECTORY", directory)
    mocker.patch.object(unit_files, "SHIPPED", path / "shipped")
    mocker.patch.object(unit_files, "USERS", path / "sysusers.d" / "treason-feeds.conf")
    for name in ("STATE", "RUNTIME"):
        mocker.patch.object(sandbox, name, path)
    mocker.patch.object(sys, "executable", "/opt/treason/bin/python")
    see_through(path, mocker)
    mocker.patch("os.geteuid", return_value=0)
    called: list[list[str]] = []
    mocker.patch.object(installing, "run", side_effect=lambda argv, **_: called.append(argv))
    return called


@attrs.define
class Systemd:
    """Plays systemctl: enables by links, as it does, and knows what runs. It starts no process."""

    called: list[list[str]] = attrs.Factory(list)
    running: set[str] = attrs.Factory(set)

    def run(self, argv: list[str], **_: object) -> Completed:
        """Do what a command says, and return what it prints."""
        self.called.append(argv)
        program, verb, *words = argv
        names = [word for word in words if not word.startswith("--")]
        masked = [name for name in names if unit_files.is_masked(unit_files.DIRECTORY / name)]
        printed = ""
        if program != "systemctl":
            pass
        elif verb == "is-active":
            printed = "".join(
                "active\n" if name in self.running else "inactive\n" for name in names
            )
        elif verb in {"enable", "reenable", "start", "restart"} and masked:
            raise CommandFailed(f"{' '.join(argv)}: Unit {masked[0]} is masked.")
        elif verb in {"enable", "reenable"}:
            for name in names:
                self._enable(name, anew=verb == "reenable")
        elif verb == "disable":
            for name in {*names} - {*masked}:
                self._disable(name)
        if verb in {"start", "restart"}:
            self.running.update(names)
        elif verb == "stop" or "--now" in words:
            self.running.difference_update(names)
        return Completed(0, printed, "")

    def enabled(self) -> dict[str, str]:
        """Return where the links lead by which units are started, by their names."""
        links = unit_files.DIRECTORY.glob("*.wants/*")
        return {link.name: str(link.readlink().parent) for link in links}

    def _enable(self, name: str, *, anew: bool) -> None:
        unit = unit_files.file(re.sub(r"@.*\.", "@.", name))
        [targets] = re.findall("^WantedBy=(.*)$", unit.read_text(), re.MULTILINE)
        if anew:
            self._disable(name)
        for target in targets.split():
            link = unit_files.DIRECTORY / f"{target}.wants" / name
            link.parent.mkdir(exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(unit)

    def _disable(self, name: str) -> None:
        for link in unit_files.links(name):
            link.unlink()
            if not [*link.parent.iterdir()]:
                link.parent.rmdir()


def with_package(path: Path, mocker: MockerFixture) -> Systemd:
    """Let a package have its units below a path, and systemd run; this program is the package's."""
    without_systemd(path, mocker)
    systemd = Systemd()
    shipped, program = path / "shipped", path / "bin" / "treason"
    for directory in (shipped, program.parent, path / "run"):
        directory.mkdir()
    program.touch(mode=0o755)
    mocker.patch.object(unit_files, "SHIPPED", shipped)
    mocker.patch.object(installing, "RUNNING", path / "run")
    mocker.patch.object(installing, "run", side_effect=systemd.run)
    mocker.patch.object(units, "COMMAND", str(program))
    mocker.patch.object(sandbox, "program", return_value=program)
    return systemd
