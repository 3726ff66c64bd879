"""All scripts of completion, and the directory that holds them."""

from pathlib import Path

from reconciler.cli.main import cli
from release.completion import bash, fish, zsh
from release.completion.grammar import node
from release.manual.commands import Known


def scripts() -> dict[str, str]:
    """Return each script by the name of its file, which is that by which its shell finds it."""
    root = node(Known(("treason",), cli))
    return {
        "treason.bash": bash.script(root),
        "_treason": zsh.script(root),
        "treason.fish": fish.script(root),
    }


def write(directory: Path) -> None:
    """Write every script."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in scripts().items():
        (directory / name).write_text(text, encoding="utf-8")
