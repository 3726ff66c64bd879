"""The public interface: what a plugin's author may import."""

import inspect
from importlib.metadata import version

import pytest

import reconciler
from reconciler import errors, hookspecs


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


def test_hooks_are_one_sentence_each() -> None:
    """Each specification says in one sentence what it gives."""
    hooks = [thing for name, thing in vars(hookspecs).items() if name.startswith("treason_")]
    assert len(hooks) == 2
    for hook in hooks:
        assert (hook.__doc__ or "").count(".") == 1
