"""All manual pages, and the directory that holds them."""

from collections.abc import Iterator
from pathlib import Path

from release.manual.commands import pages as commands
from release.manual.configuration import configuration
from release.manual.page import Page
from release.manual.plugins import plugins
from release.manual.program import program


def pages() -> Iterator[Page]:
    """Yield every page."""
    yield program()
    yield from commands()
    yield configuration()
    yield plugins()


def write(directory: Path) -> None:
    """Write every page, and remove what is none any more."""
    texts = {page.file: page.text for page in pages()}
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
