"""What sources and backends say by `diagnose`, and what is told where they cannot."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from doctors import machine
from harness import Place
from pytest_mock import MockerFixture

from reconciler import BackendUnreadable, Finding
from reconciler.config.setup import Setup
from reconciler.doctor import plugins

ILL = Finding("it is ill", "it does not work", "heal it")


class Asked:
    """Returns by ``diagnose`` what it was made with."""

    def __init__(self, say: Callable[[], Any]) -> None:
        self.diagnose = say


def raising(error: BaseException) -> Any:
    """Fail."""
    raise error


def midway() -> Iterator[Finding]:
    """Fail after the first finding."""
    yield ILL
    raise RuntimeError("midway")


@pytest.fixture
def ask(place: Place, mocker: MockerFixture) -> Callable[[Callable[[], Any]], list[Finding]]:
    """Let a source and a backend say the same."""

    def findings(say: Callable[[], Any]) -> list[Finding]:
        mocker.patch.object(Setup, "sources", return_value={"one": partial(Asked, say)})
        mocker.patch.object(Setup, "backends", return_value={"two": partial(Asked, say)})
        return [*plugins.check(machine(place))]

    return findings


def test_what_they_say(ask: Callable[..., list[Finding]], place: Place) -> None:
    """Each is named; a command of ours goes by the same configuration."""
    assert ask(list) == []
    assert [(each.check, each.what) for each in ask(lambda: [ILL])] == [
        ("source one", "it is ill"),
        ("backend two", "it is ill"),
    ]
    ours = Finding("a", "b", "treason migrate --from x --to y")
    expected = f"treason --config {place.config} migrate --from x --to y"
    assert {each.remedy for each in ask(lambda: [ours])} == {expected}


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (lambda: ["a text"], "is not of the class Finding"),
        (partial(raising, ZeroDivisionError("x")), "ZeroDivisionError: x"),
        (midway, "RuntimeError: midway"),
    ],
)
def test_mistakes_of_theirs(
    say: Callable[[], Any], words: str, ask: Callable[..., list[Finding]]
) -> None:
    """They are findings, too, and stop nobody else."""
    found = ask(say)
    assert [each.check for each in found] == ["source one", "backend two"]
    assert all(words in each.what for each in found)


def test_what_is_told_elsewhere(ask: Callable[..., list[Finding]]) -> None:
    """That one cannot be read is told by who compares it; one that takes too long says nothing."""
    assert ask(partial(raising, BackendUnreadable("x"))) == []
    begun = time.monotonic()
    assert ask(lambda: time.sleep(30)) == []
    assert time.monotonic() - begun < 20
