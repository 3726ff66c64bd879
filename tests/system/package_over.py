"""From a wheel to the package: nobody is let in between, and the units run what is packaged."""

import sys
from pathlib import Path

from container import Machine, booted
from debs import Stage, install
from roots import furnished, run, silently
from traffic import Traffic

COMMITS = {"0.1.0": "d9f99db6", "an older schema": "88ccdb97"}
"""The last of 0.1.0, and one from before there were feeds."""
PYTHONS = ("3.11", "3.13")
CHECKOUT = Path(__file__).resolve().parents[2]
LIBRARIES = "libraries"
HOME, LINK = "/opt/treason", "/usr/local/bin/treason"
BANNED, FRIEND = "203.0.113.66", "198.51.100.7"
NETWORK = "198.51.100.0/24"
DAEMON = "treason.service"
READ_VERSION = (
    "import sqlite3; connection = sqlite3.connect('/var/lib/treason/treason.db');"
    "print(connection.execute('PRAGMA user_version').fetchone()[0])"
)


def wheels(place: Path) -> dict[str, Path]:
    """Build the wheels of before, by what they are; what they need is beside them."""
    libraries = place / LIBRARIES
    built = {what: _wheel(commit, place / commit) for what, commit in COMMITS.items()}
    pip = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--dest", libraries]
    for python in PYTHONS:
        silently(*pip, f"--python-version={python}", next(iter(built.values())), "pip")
    [needless] = libraries.glob("treason-*.whl")
    needless.unlink()
    return built


def _wheel(commit: str, place: Path) -> Path:
    source = place / "source"
    source.mkdir(parents=True)
    packed = place / "source.tar"
    try:
        silently("git", "-C", CHECKOUT, "archive", f"--output={packed}", commit)
    except SystemExit as error:
        raise SystemExit(f"{error}a shallow clone will not do: it lacks {commit}") from None
    run("tar", "-x", "-C", source, "-f", packed)
    silently(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", place, source)
    [wheel] = place.glob("treason-*.whl")
    return wheel


def changed_over(stage: Stage) -> None:
    """Install each wheel, then the package, and run the command that this names."""
    for what, wheel in stage.wheels.result().items():
        with booted(furnished(stage.suite), [BANNED, FRIEND]) as machine:
            install_wheel(machine, wheel)
            machine.run("treason", "init", "--systemd")
            machine.run("treason", "whitelist", "add", FRIEND)
            machine.run("treason", "ban", NETWORK, BANNED)
            assert machine.active(DAEMON)
            schema, bans = version(machine), machine.run("treason", "list")
            process = machine.shown(DAEMON, "MainPID")
            with Traffic(machine.network, BANNED, FRIEND) as traffic:
                told = install(machine, stage.deb)
                assert machine.shown(DAEMON, "MainPID") == process
                machine.run("sh", "-c", named(told))
            packaged(machine)
            assert machine.run("/usr/bin/treason", "list") == bans
            now = version(machine)
            assert schema <= now, (schema, now)
            stage.say(f"from the wheel of {what} (schema {schema}, now {now}): {traffic}")


def install_wheel(machine: Machine, wheel: Path) -> None:
    """Put a wheel into an environment of the system's own Python, in the path of all users."""
    wheels = machine.path("/srv/wheels")
    wheels.mkdir()
    libraries = wheel.parent.with_name(LIBRARIES)
    for each in (wheel, *libraries.glob("*.whl")):
        (wheels / each.name).write_bytes(each.read_bytes())
    [pip] = wheels.glob("pip-*.whl")
    machine.run("python3", "-m", "venv", "--without-pip", HOME)
    python, pip_of_wheel = f"{HOME}/bin/python", f"/srv/wheels/{pip.name}/pip"
    machine.run(
        python, pip_of_wheel, "install", "-q", "--no-index", "--find-links=/srv/wheels", "treason"
    )
    machine.path(LINK).symlink_to(f"{HOME}/bin/treason")


def version(machine: Machine) -> int:
    """Return which schema the database has."""
    return int(machine.run("python3", "-c", READ_VERSION))


def named(told: str) -> str:
    """Return the one command that the package has named."""
    commands = [line.strip() for line in told.splitlines() if line.startswith("  ")]
    return next(each for each in commands if " init --systemd" in each)


def packaged(machine: Machine) -> None:
    """What runs is the package's program, by its own units; those of before are gone."""
    assert machine.active(DAEMON)
    assert machine.active("treason.timer")
    shown = machine.run("systemctl", "show", "-p", "ExecStart", "-p", "FragmentPath", DAEMON)
    assert "path=/usr/bin/treason ;" in shown, shown
    assert "/lib/systemd/system/treason.service\n" in shown, shown  # with /usr, or without
    units = [*machine.path("/etc/systemd/system").rglob("*")]
    old = [each for each in units if each.is_file() and HOME in each.read_text()]
    assert not old, old
    machine.run("/usr/bin/treason", "config", "check", "--units")
    process = machine.shown(DAEMON, "MainPID")
    command = machine.path(f"/proc/{process}/cmdline").read_bytes()
    assert HOME.encode() not in command, command
