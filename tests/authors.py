"""Do what authors of plugins do, from nothing, with no repository within reach.

The examples are copied, installed beside a wheel of treason into an empty virtual environment, and
tested there; the how-tos are followed to the letter.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))
DOCUMENTS = tuple(
    ROOT / "docs" / "how-to" / f"write-a-{kind}.md" for kind in ("backend", "source", "feed")
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"`([\w-]+\.(?:py|toml|log|sql|deny))`")
_MARK = "--- end of a block ---"


@frozen
class Block:
    """A block of a document: a file if the paragraph before it names one, else as its language."""

    language: str
    text: str
    file: str | None


def blocks(document: Path) -> Iterator[Block]:
    """Yield the blocks of a document, in order."""
    text = document.read_text()
    end = 0
    for match in _FENCE.finditer(text):
        paragraph = text[end : match.start()].strip().rpartition("\n\n")[2]
        named = _NAME.search(paragraph)
        yield Block(match[1], match[2], named[1] if named else None)
        end = match.end()


def commands(document: Path) -> list[str]:
    """Return every command of a document."""
    return [line for block in blocks(document) if block.language == "sh" for line in _lines(block)]


def write(document: Path, directory: Path) -> None:
    """Write the files of a document."""
    for block in blocks(document):
        if block.file:
            (directory / block.file).write_text(block.text)


def follow(
    document: Path, directory: Path, env: Mapping[str, str], leave_out: Collection[str] = ()
) -> str:
    """Run a document's commands in one shell; what it shows below them must be in their output."""
    made = [block for block in blocks(document) if not block.file]
    script = ["set -e"]
    for block in made:
        if block.language == "sh":
            script += [line for line in _lines(block) if line not in leave_out]
            script.append(f"echo '{_MARK}'")
    done = subprocess.run(
        ["sh", "-c", "\n".join(script)],
        cwd=directory, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False, text=True, timeout=300,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"{document.name}: ended with {done.returncode}:\n{done.stdout}")
    outputs = iter(done.stdout.split(f"{_MARK}\n"))
    shown = ""
    for block in made:
        if block.language == "sh":
            shown = next(outputs)
        elif missing := {*_lines(block)} - {*shown.splitlines()}:
            raise AssertionError(f"{document.name}: {missing} is not in:\n{shown}")
    return done.stdout


def all_passed(output: str) -> bool:
    """Return whether pytest says that tests passed, and nothing but that."""
    return re.search(r"^=* ?[0-9]+ passed in [0-9.:ms() ]+=*$", output, re.MULTILINE) is not None


def clean(temporary: Path) -> dict[str, str]:
    """Return the environment without what leads to the repository or its coverage."""
    kept = {key: os.environ[key] for key in os.environ if not key.startswith(("COV", "PYTHON"))}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    return kept | {"PATH": path, "TMPDIR": str(temporary)}


def _lines(block: Block) -> list[str]:
    return block.text.splitlines()


def _examples(wheel: Path, directory: Path) -> None:
    bin_, env = directory / "env" / "bin", clean(directory)
    venv.create(directory / "env", with_pip=True)
    clones = [directory / path.name for path in EXAMPLES]
    unwanted = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".*")
    for path, clone in zip(EXAMPLES, clones, strict=True):
        shutil.copytree(path, clone, ignore=unwanted)
    plugins = [f"{clone}[test]" for clone in clones]
    subprocess.run(
        [bin_ / "python", "-m", "pip", "install", "--quiet", wheel, *plugins],
        check=True, env=env, cwd="/",
    )  # fmt: skip
    listed = subprocess.run(
        [bin_ / "treason", "plugins"], check=True, env=env, capture_output=True, text=True, cwd="/"
    ).stdout
    for line in ("backend\thaproxy\thaproxy", "source\tpstore\tpstore", "feed\tfolder\tfolder"):
        if line not in listed.splitlines():
            sys.exit(f"treason plugins does not list {line!r}:\n{listed}")
    apart = ["unshare", "--net", *(["--user", "--map-root-user"] if os.geteuid() else [])]
    for clone in clones:
        done = subprocess.run(
            [*apart, bin_ / "pytest", "-q", "-p", "no:cacheprovider"],
            check=False, cwd=clone, env=env, stdout=subprocess.PIPE, text=True, timeout=300,
        )  # fmt: skip
        if done.returncode or not all_passed(done.stdout):
            sys.exit(f"{clone.name}: not all of its tests passed:\n{done.stdout}")
        print(f"{clone.name}: {done.stdout.splitlines()[-1]}")


def _documents(wheel: Path, directory: Path) -> None:
    constraints = directory / "constraints.txt"
    constraints.write_text(f"treason=={wheel.name.split('-')[1]}\n")
    links = f"{os.environ.get('PIP_FIND_LINKS', '')} {wheel.parent}".strip()
    env = clean(directory) | {"PIP_CONSTRAINT": str(constraints), "PIP_FIND_LINKS": links}
    for document in DOCUMENTS:
        place = directory / document.stem
        place.mkdir()
        write(document, place)
        output = follow(document, place, env)
        if not all_passed(output):
            sys.exit(f"{document.name}: not all of its tests passed:\n{output}")
        print(f"{document.name}: all {len(commands(document))} commands did what it says")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="authors-") as made_:
        _examples(Path(sys.argv[1]).resolve(), Path(made_))
        _documents(Path(sys.argv[1]).resolve(), Path(made_))
