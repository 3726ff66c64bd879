"""The how-tos for authors of plugins: complete, and their plugins keep every promise.

Installing needs a package index, so that is left to authors.py, which runs every command.
"""

import inspect
import re
import tomllib
from pathlib import Path

import attrs
import pytest
from authors import DOCUMENTS, EXAMPLES, ROOT, all_passed, blocks, clean, commands, follow, write

from reconciler import (
    BackendPlugin,
    FeedBan,
    FeedLift,
    FeedPlugin,
    Judgement,
    NearMiss,
    Observed,
    Plan,
    Record,
    SourcePlugin,
    Suspect,
    errors,
    hookspecs,
)
from reconciler.testing import (
    BackendContract,
    EpochFeedContract,
    FeedContract,
    JudgingSourceContract,
    NotingFeedContract,
    PublishingFeedContract,
    SourceContract,
    WakingFeedContract,
    WakingSourceContract,
)

BACKEND, SOURCE, FEED = DOCUMENTS
JUDGING = ROOT / "docs" / "how-to" / "judge-by-yourself.md"
INSTALLING = [
    "python3 -m venv env",
    ". env/bin/activate",
    "pip install 'treason[testing]'",
    "pip install --editable .",
]

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)


@every_document
def test_the_document_is_followed(document: Path, tmp_path: Path) -> None:
    """Its files and commands make a plugin that is found, passes all its tests, and works."""
    write(document, tmp_path)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    installed = tmp_path / "plugin.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(f"Name: {project['name']}\nVersion: 0\n")
    points = project["entry-points"]["treason"].items()
    (installed / "entry_points.txt").write_text(
        "\n".join(["[treason]", *(f"{name} = {module}" for name, module in points)])
    )
    env = clean(tmp_path) | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    assert all_passed(follow(document, tmp_path, env, INSTALLING))


@every_document
def test_only_the_installation_is_left_out(document: Path) -> None:
    """Each command that the test above leaves out stands in the document, once."""
    assert [line for line in commands(document) if line in INSTALLING] == INSTALLING
    assert not [line for line in commands(document) if line.startswith("pip")][2:]


@every_document
def test_nothing_escapes(document: Path) -> None:
    """Every block is a file, commands, or what they print; there is no other code."""
    made = list(blocks(document))
    assert document.read_text().count("```") == 2 * len(made)
    assert not re.search(r"^(?: {4}|\t| *\$ )", _prose(document), re.MULTILINE)
    assert {block.language for block in made if not block.file} == {"sh", "text"}


@every_document
@pytest.mark.parametrize("name", [name for name in dir(hookspecs) if name.startswith("treason_")])
def test_every_hook_is_told(document: Path, name: str) -> None:
    """With its exact signature."""
    signature = re.sub(r"\b(?:\w+\.)+", "", str(inspect.signature(getattr(hookspecs, name))))
    assert f"`{name}{signature}`" in document.read_text()


@pytest.mark.parametrize(
    ("document", "contract"),
    [
        (BACKEND, BackendContract),
        (SOURCE, SourceContract),
        (SOURCE, WakingSourceContract),
        (JUDGING, JudgingSourceContract),
        (FEED, FeedContract),
        (FEED, EpochFeedContract),
        (FEED, NotingFeedContract),
        (FEED, PublishingFeedContract),
        (FEED, WakingFeedContract),
    ],
)
def test_all_that_a_contract_asks_for_is_told(document: Path, contract: type) -> None:
    """Whatever an author may give to the contract is named."""
    asked = {
        name
        for name, value in vars(contract).items()
        if not name.startswith(("_", "test_", "pytest_")) and not isinstance(value, property)
    }
    assert asked - {*re.findall(r"`(\w+)", _prose(document))} == set()


@pytest.mark.parametrize(
    ("document", "kind"),
    [(BACKEND, BackendPlugin), (BACKEND, Observed), (BACKEND, Plan),
     (SOURCE, SourcePlugin), (SOURCE, Record), (JUDGING, Judgement), (JUDGING, Suspect),
     (JUDGING, NearMiss), (FEED, FeedPlugin), (FEED, FeedBan), (FEED, FeedLift)],
)  # fmt: skip
def test_all_that_a_value_holds_is_told(document: Path, kind: type) -> None:
    """Every field of what a plugin gives or gets is named."""
    words = {*re.findall(r"\w+", _prose(document))}
    assert {field.alias for field in attrs.fields(kind)} - words == set()


def test_all_errors_of_plugins_are_told() -> None:
    """Whatever a plugin raises on purpose is explained."""
    kinds = {name for name in dir(errors) if name.startswith(("Backend", "Source", "Feed"))}
    assert {name for name in kinds if not any(f"`{name}`" in _prose(d) for d in DOCUMENTS)} == set()


def test_every_example_is_tested() -> None:
    """Each directory of the examples is a package that authors.py installs and tests."""
    found = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()}
    assert found == {path.name for path in EXAMPLES}
    for path in EXAMPLES:
        assert list(path.glob("tests/test_*.py"))


def _prose(document: Path) -> str:
    return re.sub(r"^```.*?^```\n", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
