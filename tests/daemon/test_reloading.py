"""The configuration read anew: by a child that may hang, and at the time that is right."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import define, field, frozen

from reconciler import execute
from reconciler.daemon import reloading
from reconciler.daemon.loop import Loop
from reconciler.daemon.reloading import Reloading
from reconciler.errors import ConfigError, TreasonError


@frozen
class Given:
    """Lets a child do what a test says."""

    code: str
    needs: tuple[str, ...] = ()

    def resolving(self) -> list[str]:
        """Return how it is run."""
        return [sys.executable, "-c", self.code]


@define(slots=False)
class Daemon:
    """Notes what it is told; it is the truth, the passes and the notifier in one."""

    given: Given
    loop: Loop = field(factory=Loop)
    told: list[str] = field(factory=list)
    current: bool = True
    wrong: str = ""
    is_heard: bool = True
    done: Callable[[str], object] = lambda _text: None

    def __attrs_post_init__(self) -> None:
        """Be all that is asked."""
        self.truth = self.passes = self.notifier = self.setup = self.config = self.run = self
        self.socket = "/run/control"

    def note(self, text: str) -> None:
        """Keep what was done."""
        self.told.append(text)
        self.done(text)

    def is_current(self) -> bool:
        """Whether the configuration is as it was."""
        return self.current

    def settle(self) -> None:
        """Take the whitelist."""
        if self.wrong:
            raise ConfigError(self.wrong, "mend it")
        self.note("settled")

    def wait(self) -> None:
        """Begin no pass."""
        self.note("passes wait")

    def go_on(self) -> None:
        """Begin them again."""
        self.note("passes go on")

    def reloading(self) -> None:
        """Be told that it begins."""
        self.note("reloading")

    def ready(self, _status: str) -> None:
        """Be told that it has ended."""
        self.note("ready")

    def go_on_as_before(self) -> None:
        """Be told that nothing has changed."""

    def status(self) -> str:
        """Return nothing of interest."""
        return ""

    def trouble(self, subject: str, text: str) -> None:
        """Keep what is wrong."""
        if text:
            self.note(f"{subject}: {text}")


def judged(daemon: Any) -> Reloading:
    """Return what reloads it."""
    return Reloading(daemon)


def run_until(daemon: Daemon, last: str) -> None:
    """Run the loop until this is told."""
    daemon.done = lambda text: daemon.loop.stop() if last in text else None
    daemon.loop.after(20, "patience", lambda: daemon.note(f"not told: {last}"))
    daemon.loop.run()
    assert last in daemon.told[-1]


def test_a_child_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and the old configuration stays in force."""
    monkeypatch.setattr(reloading, "_LIMIT", 0.2)
    daemon = Daemon(Given("import time; time.sleep(60)"))
    judged(daemon).now()
    run_until(daemon, "ready")
    assert "configuration: not reloaded: it was not read within 0.2 s" in daemon.told


def test_a_child_that_is_killed_is_told() -> None:
    """By the signal that it ended by."""
    daemon = Daemon(Given("import os; os.kill(os.getpid(), 9)"))
    judged(daemon).now()
    run_until(daemon, "ready")
    assert "configuration: not reloaded: reading it ended with -9" in daemon.told


def test_a_request_meanwhile_is_served_behind_it() -> None:
    """Once, however many there are."""
    daemon = Daemon(Given("raise SystemExit('treason: wrong\\n  mend it')"))
    judge = judged(daemon)
    for _ in range(3):
        judge.now()
    run_until(daemon, "ready")
    assert daemon.told.count("reloading") == 2
    assert daemon.told.count("configuration: not reloaded: wrong; mend it") == 1


def test_passes_wait_while_files_are_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until there is quiet, or no longer than may be where there never is."""
    monkeypatch.setattr(reloading, "_QUIET", 0.2)
    monkeypatch.setattr(reloading, "_LONGEST", 0.5)
    daemon = Daemon(Given(""))
    judge = judged(daemon)

    def edit() -> None:
        judge.soon(edited=True)
        daemon.loop.after(0.1, "edit", edit)

    edit()
    run_until(daemon, "passes go on")
    assert 4 <= daemon.told.count("passes wait") <= 7
    assert daemon.told[-2] == "settled"


def test_other_files_put_the_end_of_an_edit_not_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that tells of resolvers may change all the time; passes wait no longer for that."""
    monkeypatch.setattr(reloading, "_QUIET", 0.2)
    monkeypatch.setattr(reloading, "_LONGEST", 0.5)
    daemon = Daemon(Given(""))
    judge = judged(daemon)

    def change() -> None:
        judge.soon(edited=False)
        daemon.loop.after(0.1, "change", change)

    judge.soon(edited=True)
    change()
    run_until(daemon, "passes go on")
    assert daemon.told.count("passes wait") == 1


def test_a_whitelist_that_is_wrong_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration needs no child for that."""
    monkeypatch.setattr(reloading, "_QUIET", 0.0)
    daemon = Daemon(Given(""), wrong="whitelist.toml: no network")
    judged(daemon).soon(edited=True)
    run_until(daemon, "passes go on")
    assert daemon.told == [
        "passes wait",
        "configuration: not reloaded: whitelist.toml: no network; mend it",
        "passes go on",
    ]


def test_a_whitelist_that_cannot_be_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No change of the file tells that a descriptor is free by now, say."""
    monkeypatch.setattr(reloading, "_AGAIN", 0.1)
    daemon = Daemon(Given(""), wrong="no descriptor is left")
    judge = judged(daemon)
    assert judge.settle()
    assert daemon.told[0] == "configuration: not reloaded: no descriptor is left; mend it"
    daemon.wrong = ""
    run_until(daemon, "passes go on")
    assert "settled" in daemon.told


def test_where_no_child_can_be_begun_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old configuration stays in force meanwhile."""
    monkeypatch.setattr(reloading, "_AGAIN", 0.1)
    daemon = Daemon(Given("raise SystemExit('treason: wrong')"))
    begun = execute.begun

    def refused(_argv: Sequence[str]) -> execute.Background:
        monkeypatch.setattr(execute, "begun", begun)
        raise TreasonError("no child can be begun")

    monkeypatch.setattr(execute, "begun", refused)
    judged(daemon).now()
    assert daemon.told[1] == "configuration: not reloaded: no child can be begun"
    daemon.told.clear()
    run_until(daemon, "ready")
    assert "configuration: not reloaded: wrong" in daemon.told
