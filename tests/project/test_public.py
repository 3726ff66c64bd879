"""The public interface: what a plugin's author may import."""

import inspect
import textwrap
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import reconciler
from reconciler import Desired, errors, hookspecs
from reconciler.passes.enforce import Goal, State, enforce


def test_all_names_what_is_there_in_order() -> None:
    """Every public name exists, once, sorted."""
    assert len(set(reconciler.__all__)) == len(reconciler.__all__)
    assert all(hasattr(reconciler, name) for name in reconciler.__all__)


def test_what_is_not_public_is_not_there() -> None:
    """Names that the modules behind it have do not show through."""
    with pytest.raises(AttributeError, match="no attribute 'field'"):
        reconciler.field  # type: ignore[attr-defined]  # noqa: B018 - asking is the test


def test_the_version_is_that_of_the_package() -> None:
    """It is kept in one place."""
    assert version("treason") == reconciler.__version__


def test_every_public_thing_is_documented() -> None:
    """Each name that is exported says what it is."""
    for name in reconciler.__all__:
        thing = getattr(reconciler, name)
        assert name == "hookimpl" or inspect.getdoc(thing), name


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """Every error class stands in the docstring of its module."""
    for name, thing in inspect.getmembers(errors, inspect.isclass):
        assert thing.__module__ != errors.__name__ or name in (errors.__doc__ or ""), name


def hooks() -> list[Callable[[], object]]:
    """Return the specifications of the hooks."""
    return [thing for name, thing in vars(hookspecs).items() if name.startswith("treason_")]


def example(hook: Callable[[], object]) -> dict[str, Any]:
    """Run the example in a hook's docstring, and return its names."""
    text = inspect.getdoc(hook) or ""
    names: dict[str, Any] = {}
    exec(textwrap.dedent(text.partition("::\n\n")[2]), names)  # noqa: S102 - our own text
    return names


@pytest.mark.parametrize("hook", hooks(), ids=lambda hook: hook.__name__)
def test_a_hook_begins_with_one_sentence(hook: Callable[[], object]) -> None:
    """It says what the hook returns; an example follows."""
    first, _, rest = (hook.__doc__ or "").partition("\n")
    assert first.count(".") == 1
    assert "@hookimpl" in rest


def test_the_examples_of_the_hooks_work(tmp_path: Path) -> None:
    """The source is read once, and again from where it stopped; the backend converges.

    The feed brings all there is.
    """
    names = example(hookspecs.treason_sources)
    [plugin] = names["treason_sources"]()
    names["Spool"].path = tmp_path / "messages"
    names["Spool"].path.write_text("one\ntwo\n")
    source = plugin.factory(plugin.schema())
    assert [record.text for record in source.read(None, [""])] == ["one", "two"]
    again = plugin.factory(plugin.schema())
    assert list(again.read(source.cursor(), [""])) == []
    [plugin] = example(hookspecs.treason_backends)["treason_backends"]()
    goal = Goal(lambda: Desired([reconciler.Network.parse("192.0.2.7")]))
    states = [
        next(enforce({"toy": lambda: plugin.factory(plugin.schema())}, goal, check=False)).state
        for _ in range(2)
    ]
    assert states == [State.CHANGED, State.IN_SYNC]
    [kind] = example(hookspecs.treason_feeds)["treason_feeds"]()
    feed = kind.factory(kind.schema())
    feed.path = tmp_path / "bad"
    feed.path.write_text("192.0.2.7\n2001:db8::/32\n")
    begin, ban, end = feed.changes(None)
    assert (begin, end) == tuple(reconciler.FeedSnapshot)
    assert [*map(str, ban.networks)] == ["192.0.2.7", "2001:db8::/32"]
    assert feed.cursor() is None
