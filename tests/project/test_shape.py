"""The code stays readable: no module, function or call grows out of sight."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import ROOT

MODULES = sorted(
    path
    for name in ("reconciler", "backends", "sources", "feeds", "release", "bench", "examples")
    for path in (ROOT / name).rglob("*.py")
    if "build" not in path.parts
)
LISTS = {"message", "_expression", "_command", "_run", "pack"}
"""Functions that take any number of like things: attributes, numbers, words of a command."""


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls whose positional arguments each mean something else."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name not in LISTS:
                yield node


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_can_be_read(path: Path) -> None:
    """Up to 350 lines, functions up to 50, calls with up to five positional arguments."""
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= 350
    functions = (
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert [f.name for f in functions if (f.end_lineno or 0) - f.lineno >= 50] == []
    assert [ast.unparse(call) for call in calls(tree) if len(call.args) > 5] == []


def test_each_room_says_what_lives_there() -> None:
    """Its ``__init__`` is a docstring alone; what is public may say more."""
    for path in (ROOT / "reconciler").glob("*/**/__init__.py"):
        body = ast.parse(path.read_text()).body
        assert isinstance(body[0], ast.Expr), path
        assert len(body) == 1 or path.parent.name in {"testing", "netlink", "bpf", "blocklist"}, (
            path
        )
