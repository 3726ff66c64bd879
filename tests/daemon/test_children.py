"""Passes as child processes: one at a time, and what becomes of one that fails or hangs."""

import sys
from functools import partial
from pathlib import Path

import pytest
from attrs import frozen

from reconciler.daemon import children
from reconciler.daemon.children import Ended, Passes
from reconciler.daemon.given import Given
from reconciler.daemon.loop import Loop
from reconciler.daemon.rest import Rest
from reconciler.passes.resident import UNTAKEN


@frozen
class Script(Given):
    """Lets a child run a script instead of treason."""

    named: str | None = None
    script: str = ""

    def command(self, *, scan: bool = True) -> list[str]:
        """Return the command."""
        return [sys.executable, "-c", self.script, "scan" if scan else "no scan"]


def resting() -> Rest:
    """Return what lets them rest."""
    return Rest(lambda: None, lambda: None)


def noting(told: list[str]) -> Ended:
    """Keep why each one failed."""
    return lambda error, _enforced: told.append(error)


def passes(loop: Loop, script: str, told: list[str], timeout: float = 10.0) -> Passes:
    """Return passes that run a script, and tell how each one ended."""
    return Passes(loop, Script(script=script), timeout, noting(told), resting())


def test_who_asks_while_one_runs_gets_the_next_one(tmp_path: Path) -> None:
    """However many ask: there is one more pass, and it reads the sources if anybody wants that."""
    loop, told, done = Loop(), list[str](), list[str]()
    made = passes(loop, f"import sys; open('{tmp_path}/log', 'a').write(sys.argv[1] + ';')", told)
    made.ask(lambda _: done.append("first"))
    assert made.is_wanted
    made.ask(lambda _: done.append("second"), scan=True)

    def last(_error: str) -> None:
        done.append("third")
        loop.stop()

    made.ask(last)
    loop.run()
    assert done == ["first", "second", "third"]
    assert told == ["", ""]
    assert tmp_path.joinpath("log").read_text() == "no scan;scan;"
    assert not made.is_wanted


def test_one_that_could_not_take_a_feed_is_told_and_holds_nobody_up() -> None:
    """Who asked waits for what is stored to be in force, and it is."""
    loop, told, done = Loop(), list[str](), list[str]()
    script = f"import sys; sys.stderr.write('treason: feed a: gone'); sys.exit({UNTAKEN})"
    made = passes(loop, script, told)

    def end(error: str) -> None:
        done.append(error)
        loop.stop()

    made.ask(end)
    loop.run()
    assert (told, done) == (["feed a: gone"], [""])


def test_none_begins_while_they_wait(tmp_path: Path) -> None:
    """What is asked for meanwhile begins once they go on."""
    loop, told = Loop(), list[str]()
    made = passes(loop, f"open('{tmp_path}/log', 'a').write('one;')", told)
    made.wait()
    made.ask()
    made.ask(lambda _: loop.stop())
    assert made.is_wanted
    assert not tmp_path.joinpath("log").exists()
    made.go_on()
    loop.run()
    assert tmp_path.joinpath("log").read_text() == "one;"


def test_who_asked_for_one_that_is_let_go_is_told_so(tmp_path: Path) -> None:
    """The one that runs ends by itself, and no other is made."""
    loop, told, done = Loop(), list[str](), list[str]()
    made = passes(loop, f"open('{tmp_path}/log', 'a').write('pass;')", told)
    for number in ("first", "second"):
        made.ask(done.append, left=partial(done.append, number))
    made.let_go()
    assert done == ["first", "second"]
    loop.after(0.5, "end", loop.stop)
    loop.run()
    made.end(10.0)
    assert (done, told) == (["first", "second"], [])
    assert tmp_path.joinpath("log").read_text() == "pass;"


def test_at_rest_none_is_made(tmp_path: Path) -> None:
    """Who asks is told why; so is who waits for the next one, once the one that runs has ended."""
    loop, told, done, rest = Loop(), list[str](), list[str](), resting()
    script = Script(script=f"open('{tmp_path}/log', 'a').write('pass;')")
    made = Passes(loop, script, 10.0, noting(told), rest)
    made.ask(lambda _: done.append("first"))
    made.ask(done.append)
    rest.hold("somebody", 7, loop.stop)
    loop.run()
    made.ask(done.append)
    loop.after(0.2, "end", loop.stop)
    loop.run()
    assert done[0] == "first"
    assert len(done) == 3
    assert all(each.startswith("is held by process 7 since ") for each in done[1:])
    assert tmp_path.joinpath("log").read_text() == "pass;"


def test_none_begins_at_rest_once_they_go_on(tmp_path: Path) -> None:
    """Who asked while they waited is told why: who holds the daemon need not share the lock."""
    loop, told, done, rest = Loop(), list[str](), list[str](), resting()
    script = Script(script=f"open('{tmp_path}/log', 'a').write('pass;')")
    made = Passes(loop, script, 10.0, noting(told), rest)
    made.wait()
    made.ask(done.append)
    rest.hold("somebody", 7, lambda: None)
    made.go_on()
    assert len(done) == 1
    assert done[0].startswith("is held by process 7 since ")
    assert not made.is_wanted


def test_one_that_fails_is_told_and_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its own words, after a while that doubles."""
    monkeypatch.setattr(children, "_FIRST", 0.05)
    loop, told = Loop(), list[str]()
    made = passes(loop, "import sys; sys.exit('treason: broken')", told)
    made.ask()
    loop.after(2.0, "end", loop.stop)
    loop.run()
    made.end(10.0)
    assert len(told) >= 2
    assert set(told) == {"broken"}


def test_one_that_is_killed_is_told_and_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel does where memory is short."""
    monkeypatch.setattr(children, "_FIRST", 0.05)
    loop, told = Loop(), list[str]()
    made = passes(loop, "import os; os.kill(os.getpid(), 9)", told)
    made.ask()
    loop.after(2.0, "end", loop.stop)
    loop.run()
    made.end(10.0)
    assert len(told) >= 2
    assert set(told) == {"a pass was killed by signal 9"}


def test_one_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that it runs; whoever asked for it is told."""
    monkeypatch.setattr(children, "_SLACK", 0.0)
    loop, told, done = Loop(), list[str](), list[str]()
    made = passes(loop, "import time; time.sleep(60)", told, timeout=0.3)

    def ended(error: str) -> None:
        done.append(error)
        loop.stop()

    made.ask(ended)
    loop.run()
    assert done == told == ["a pass was not done within 0.3 s, and was ended"]


def test_one_that_is_let_go_takes_no_time_from_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reload two may run; each is ended when its own time is over."""
    monkeypatch.setattr(children, "_SLACK", 0.0)
    loop, told = Loop(), list[str]()
    old = passes(loop, "import time; time.sleep(0.3)", told)
    old.ask()
    old.let_go()
    new = passes(loop, "import time; time.sleep(60)", told, timeout=1.0)
    new.ask(lambda _: loop.stop())
    loop.after(10.0, "end", loop.stop)
    loop.run()
    old.end(10.0)
    assert told == ["a pass was not done within 1 s, and was ended"]


def test_one_that_is_let_go_tells_nobody() -> None:
    """After a reload it is of no interest how it ends."""
    loop, told = Loop(), list[str]()
    made = passes(loop, "import sys; sys.exit(1)", told)
    made.ask(told.append)
    made.let_go()
    loop.after(0.5, "end", loop.stop)
    loop.run()
    made.end(10.0)
    assert told == []
