"""Check a built wheel: what it holds, and that it works alone in an empty virtual environment."""

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("reconciler", "backends", "sources", "feeds")
SHARED = {
    "docs/man/*.1": "man/man1",
    "docs/man/*.5": "man/man5",
    "docs/man/*.7": "man/man7",
    "conf/completions/*.bash": "bash-completion/completions",
    "conf/completions/*.fish": "fish/vendor_completions.d",
    "conf/completions/_*": "zsh/site-functions",
}
"""Which files go where below ``share``; each pattern has one at least."""


def contents(wheel: Path) -> None:
    """Every module, the SQL of the fleet, manual and completion; besides them only metadata."""
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    expected = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.name == "py.typed" or path.suffix in {".py", ".sql"}
    }
    data = "-".join(wheel.name.split("-")[:2]) + ".data/data/share"
    for pattern, place in SHARED.items():
        files = [*ROOT.glob(pattern)]
        if not files:
            sys.exit(f"{pattern}: there is no such file")
        expected |= {f"{data}/{place}/{path.name}" for path in files}
    if names != expected:
        sys.exit(f"the wheel holds or lacks: {sorted(names ^ expected)}")


def installation(wheel: Path) -> None:
    """The command runs, and finds its own plugins, where nothing else is installed."""
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        bin_ = Path(directory, "bin")
        subprocess.run(
            [str(bin_ / "python"), "-m", "pip", "install", "--quiet", str(wheel)], check=True
        )
        subprocess.run([bin_ / "treason", "--version"], check=True, cwd="/")
        subprocess.run([bin_ / "treason", "demo"], check=True, cwd="/", stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    contents(Path(sys.argv[1]))
    installation(Path(sys.argv[1]))
    print(f"{sys.argv[1]}: holds what it must, and works alone")
