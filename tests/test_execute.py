"""Other programs: what they are given, what they give back, and how they end."""

import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from reconciler import execute
from reconciler.execute import CommandFailed, Completed, Following, printed, run, streamed


def test_a_program_reads_what_it_is_given() -> None:
    """Also more than a pipe holds; what it prints comes back whole."""
    text = "192.0.2.7\n" * 200_000
    assert run(["cat"], given=text).output == text
    assert run(["cat"]).output == ""


def test_a_program_reads_pieces_while_they_are_made() -> None:
    """All of them, in their order; one that stops reading, or ends, does not hold us up."""
    pieces = [f"{number}\n" * 1000 for number in range(300)]
    assert run(["cat"], given=iter(pieces)).output == "".join(pieces)
    assert run(["cat"], given=[]).output == ""
    assert run(["head", "-n1"], given=pieces).output == "0\n"
    assert run(["sh", "-c", "exec <&-; echo done"], given=pieces).output == "done\n"
    with pytest.raises(CommandFailed, match="failed with exit code 3: no"):
        run(["sh", "-c", "sleep 5 & echo no >&2; exit 3"], given=pieces)
    with pytest.raises(CommandFailed, match="did not end"):
        run(["sleep", "60"], given=pieces, timeout=0.1)


def test_a_program_is_ended_when_its_pieces_cannot_be_made() -> None:
    """The failure is told as it is, and nothing is left running."""

    def failing() -> Iterator[str]:
        yield "one\n"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(["cat"], given=failing())
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_a_program_printed_comes_in_whole_lines() -> None:
    """Once it has ended well."""
    text = "192.0.2.7\n" * 100_000 + "last"
    pieces = [*printed(["sh", "-c", f"yes 192.0.2.7 | head -n{100_000}; printf last"])]
    assert "".join(pieces) == text
    assert 3 < len(pieces) < 30
    assert all(piece.endswith("\n") for piece in pieces[:-1])
    with pytest.raises(CommandFailed, match="failed with exit code 1: no"):
        next(printed(["sh", "-c", "echo yes; echo no >&2; exit 1"]))


def test_what_a_program_prints_comes_while_it_runs() -> None:
    """In pieces, with how it ended behind them; who stops reading ends it."""
    coming = streamed(["sh", "-c", "echo one; sleep 60"])
    assert next(coming) == b"one\n"
    coming.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    pieces: list[bytes] = []

    def kept() -> Iterator[bytes]:
        ended.append((yield from streamed(["sh", "-c", script], codes=(0, 3))))

    ended: list[Completed] = []
    script = "yes 192.0.2.7 | head -n300000; echo no >&2; exit 3"
    pieces.extend(kept())
    assert b"".join(pieces) == b"192.0.2.7\n" * 300_000
    assert ended == [Completed(3, "", "no\n")]


def test_a_program_that_gives_no_sign_is_ended() -> None:
    """Before its first word, after it, and when it has closed its output; never a slow reader."""
    for script in ("sleep 60", "echo one; sleep 60", "exec >&-; sleep 60"):
        with pytest.raises(CommandFailed, match=r"produced no output for 0\.2 s"):
            list(streamed(["sh", "-c", script], timeout=0.2))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    coming = streamed(
        ["sh", "-c", "echo one; yes | head -n2000000; echo no >&2; exit 1"], timeout=1
    )
    assert next(coming).startswith(b"one\n")
    time.sleep(1.2)
    with pytest.raises(CommandFailed, match="failed with exit code 1: no"):
        list(coming)


def test_another_end_is_an_error_unless_it_is_expected() -> None:
    """The error has the command, the code and what was said."""
    with pytest.raises(CommandFailed, match=r"sh -c .* failed with exit code 3: no"):
        run(["sh", "-c", "echo no >&2; exit 3"])
    assert run(["sh", "-c", "exit 3"], codes=(0, 3)).code == 3
    with pytest.raises(CommandFailed, match="was killed by signal 9"):
        run(["sh", "-c", "kill -9 $$"])


def test_a_program_that_takes_too_long_is_ended() -> None:
    """It is killed, and nothing is left of it."""
    start = time.monotonic()
    with pytest.raises(CommandFailed, match=r"sleep 60: did not end within 0.1 s"):
        run(["sleep", "60"], timeout=0.1)
    assert time.monotonic() - start < 30
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_program_that_is_missing_or_none_is_named() -> None:
    """No traceback, and the reason."""
    with pytest.raises(CommandFailed, match=r"^nonesuch: program not found"):
        run(["nonesuch"])
    with pytest.raises(CommandFailed, match="cannot be run: Permission denied"):
        run(["/etc/passwd"])
    with pytest.raises(CommandFailed, match="cannot be run"):
        run(["cat", "nul\0byte"])


def test_the_environment_can_have_more() -> None:
    """Besides the one that every program gets."""
    script = 'echo "$MORE $LC_ALL ${PATH##*:}"'
    said = run(["sh", "-c", script], environment={"MORE": "more"}).output
    assert said == "more C.UTF-8 /sbin\n"


def test_the_systems_programs_are_found_with_any_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cron's PATH lacks /usr/sbin."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert "nf_tables" in run(["iptables-nft", "--version"]).output


def told(following: Following, most: int = 1 << 20) -> bytes:
    """Wait for output, and take it."""
    poll = select.poll()
    poll.register(following.fileno(), select.POLLIN)
    assert poll.poll(10_000)
    return following.take(most)


def test_what_a_program_prints_is_taken_as_it_comes() -> None:
    """Without waiting, and not more than asked for; its end is an error, once all was taken."""
    following = Following(["sh", "-c", "echo one; sleep 0.3; echo two; exit 3"])
    assert told(following) == b"one\n"
    assert following.take(1 << 20) == b""
    assert told(following, 2) == b"tw"
    assert told(following) == b"o\n"
    for _ in range(2):
        with pytest.raises(CommandFailed, match="failed with exit code 3"):
            told(following)
    following.close()


def test_a_program_that_is_followed_is_ended() -> None:
    """Nothing is left of it, nor of one that cannot be run."""
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names are what is compared
    following = Following(["sleep", "60"])
    assert not os.get_inheritable(following.fileno())
    following.close()
    with pytest.raises(CommandFailed, match=r"^nonesuch: program not found"):
        Following(["nonesuch"])
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 - as above
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_program_beside_us_is_waited_for_by_a_descriptor() -> None:
    """What it printed, and how it ended, is known at its end."""
    child = execute.begun([sys.executable, "-c", "import sys; print(1); sys.exit('two')"])
    poll = select.poll()
    poll.register(child.descriptor, select.POLLIN)
    assert poll.poll(10_000)
    completed = child.end()
    assert (completed.code, completed.output, completed.error) == (1, "1\n", "two\n")


def test_a_program_beside_us_is_killed_with_what_it_runs() -> None:
    """One that has ended already is no matter."""
    child = execute.begun([sys.executable, "-c", "import time; time.sleep(60)"])
    child.kill()
    child.kill()
    assert child.end().code == -signal.SIGKILL


def test_a_program_beside_us_is_handed_over() -> None:
    """What replaces this program learns how that one ended, and what it printed."""
    begin = (
        "import os, sys; from reconciler import execute\n"
        "child = execute.begun([sys.executable, '-c', 'print(1); exit(7)'])\n"
        "argv = [sys.executable, '-c', sys.argv[1], child.handed_over()]; os.execv(argv[0], argv)"
    )
    end = (
        "import os, sys; from reconciler import execute\n"
        "before = len(os.listdir('/proc/self/fd')); done = execute.taken_over(sys.argv[1]).end()\n"
        "print(done.code, done.output.strip(), before - len(os.listdir('/proc/self/fd')))"
    )
    done = execute.run([sys.executable, "-c", begin, end])
    assert done.output == "7 1 2\n"


def test_a_program_that_is_not_there_is_not_begun() -> None:
    """The error names it."""
    with pytest.raises(CommandFailed, match="/no/such/program"):
        execute.begun(["/no/such/program"])


def test_a_program_for_which_no_descriptor_is_left_is_not_begun() -> None:
    """A daemon goes on, and tries it again."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(CommandFailed, match="cannot be run: Too many open files"):
            execute.begun([sys.executable, "-c", ""])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
