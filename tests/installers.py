"""Install the wheel in dist/ by README.md's own commands, and use it: `make test-release`.

pipx and uv have an empty home each. What is installed runs where there is no network.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from reconciler import __version__

ROOT = Path(__file__).resolve().parent.parent
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


def documented(beginning: str) -> str:
    """Return the one command of README.md that begins so."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    (line,) = (line.strip() for line in lines if line.startswith(f"    {beginning}"))
    return line


def said(env: Mapping[str, str], *argv: str) -> str:
    """Run a command that must succeed, and return what it printed."""
    done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{argv}: ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def works(env: Mapping[str, str]) -> None:
    """It is found by its name, says its version, and drops packets."""
    program = Path(env["HOME"], ".local/bin/treason")
    assert said(env, "sh", "-c", "command -v treason").strip() == str(program)
    assert said(env, *OFFLINE, "treason", "--version") == f"treason {__version__}\n"
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


def pipx(env: Mapping[str, str]) -> None:
    """What pipx installs is whole, and is removed as a whole."""
    said(env, "sh", "-c", documented("pipx install"))
    works(env)
    manual(env)
    said(env, "pipx", "uninstall", "treason")


def uv(env: Mapping[str, str]) -> None:
    """What uv installs is whole but for the manual's links, and is removed as a whole."""
    said(env, "sh", "-c", documented("uv tool install"))
    works(env)
    manual(env, "-M", f"{said(env, 'uv', 'tool', 'dir').strip()}/treason/share/man")
    said(env, "uv", "tool", "uninstall", "treason")


if __name__ == "__main__":
    for install in (pipx, uv):
        with tempfile.TemporaryDirectory(prefix=f"treason-{install.__name__}.") as home:
            user = environment(Path(home))
            install(user)
            gone(user)
        print(f"{install.__name__} installs the wheel, it works, and is removed again")
