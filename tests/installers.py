"""Install a wheel with pipx and with uv, as a user does, and use it: `make test-release`.

Each has an empty home. What is installed runs where there is no network.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

TOOLS = Path(sys.executable).parent
PAGES = ("treason", "treason-ban", "treason.toml", "treason-plugins")
OFFLINE = ("unshare", "--net", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")))


def environment(home: Path) -> dict[str, str]:
    """What a user has who has configured neither: no setting of ours but where packages are."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIPX_", "XDG_", "PYTHON", "VIRTUAL_ENV", "MAN"))
    }
    return kept | {"HOME": str(home), "PATH": f"{home}/.local/bin:{TOOLS}:{os.environ['PATH']}"}


def said(env: Mapping[str, str], *argv: object) -> str:
    """Run a command that must succeed, and return what it printed."""
    done = subprocess.run(
        [str(word) for word in argv], env=env, cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{argv}: ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def works(env: Mapping[str, str], version: str) -> None:
    """It is found by its name, says its version, and drops packets."""
    program = Path(env["HOME"], ".local/bin/treason")
    assert said(env, "sh", "-c", "command -v treason").strip() == str(program)
    assert said(env, *OFFLINE, "treason", "--version") == f"treason {version}\n"
    assert "dropped" in said(env, *OFFLINE, "treason", "demo")


def manual(env: Mapping[str, str], *options: str) -> None:
    """Its pages are found, and can be read."""
    for page in PAGES:
        found = Path(said(env, "man", *options, "-w", page).strip())
        assert found.is_relative_to(env["HOME"]), found
        assert "NAME" in said(env, "man", *options, page)


def gone(env: Mapping[str, str]) -> None:
    """Neither the program nor a page of it is left where users look."""
    left = [*Path(env["HOME"], ".local").glob("bin/treason*")]
    left += Path(env["HOME"], ".local/share/man").rglob("treason*")
    assert not left, left


def pipx(wheel: Path, version: str) -> None:
    """What pipx installs is whole, and is removed as a whole."""
    with tempfile.TemporaryDirectory(prefix="treason-pipx.") as home:
        env = environment(Path(home))
        said(env, "pipx", "install", wheel)
        works(env, version)
        manual(env)
        said(env, "pipx", "uninstall", "treason")
        gone(env)


def uv(wheel: Path, version: str) -> None:
    """What uv installs is whole but for the manual's links, and is removed as a whole."""
    with tempfile.TemporaryDirectory(prefix="treason-uv.") as home:
        env = environment(Path(home))
        said(env, "uv", "tool", "install", wheel)
        works(env, version)
        manual(env, "-M", f"{said(env, 'uv', 'tool', 'dir').strip()}/treason/share/man")
        said(env, "uv", "tool", "uninstall", "treason")
        gone(env)


if __name__ == "__main__":
    built = Path(sys.argv[1]).absolute()
    for install in (pipx, uv):
        install(built, built.name.split("-")[1])
        print(f"{built.name}: {install.__name__} installs it, it works, and is removed again")
