"""The one place that runs other programs: from argument lists, within a time limit."""

import os
import select
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fcntl import F_SETPIPE_SZ, fcntl
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from attrs import frozen

from reconciler.errors import TreasonError

if TYPE_CHECKING:
    import subprocess

_PIECE: Final = 1 << 17
"""Bytes of output that are given at once, and some more to the end of the line."""

_PIPE: Final = 1 << 20
"""Bytes that a program may be ahead of who reads what it prints (as much as a user may have)."""

_ENDING: Final = 1.0
"""Seconds in which a program ends that has closed its output."""

_SAME: Final[Mapping[str, str]] = {}


class CommandFailed(TreasonError):
    """A program is missing, failed, or did not end in time."""


@frozen
class Completed:
    """How a program ended, and what it printed."""

    code: int
    output: str
    error: str


def run(
    argv: Sequence[str],
    *,
    given: str | Iterable[str] = "",
    codes: Sequence[int] = (0,),
    timeout: float = 60.0,
    environment: Mapping[str, str] = _SAME,
) -> Completed:
    """Run a program and give it ``given`` to read: a text, or pieces that are made meanwhile.

    ``environment`` is what it has besides ours. Raise `CommandFailed` unless it ends with one of
    ``codes`` within ``timeout`` seconds.
    """
    with _ended(argv, given, codes, timeout, environment) as (code, output, error):
        return Completed(code, _text(output), _text(error))


def printed(argv: Sequence[str], *, timeout: float = 60.0) -> Iterator[str]:
    """Run a program as `run` does, then yield what it printed in pieces of many whole lines."""
    with _ended(argv, "", (0,), timeout, _SAME) as (_, output, _):
        output.seek(0)
        while lines := output.readlines(_PIECE):
            yield b"".join(lines).decode(errors="replace")


def streamed(
    argv: Sequence[str],
    *,
    codes: Sequence[int] = (0,),
    timeout: float = 60.0,
    environment: Mapping[str, str] = _SAME,
) -> Generator[bytes, None, Completed]:
    """Run a program and yield what it prints while it runs; return how it ended.

    However much it prints, little is held; `Completed.output` is empty. ``timeout`` is how many
    seconds may pass without output. Raise `CommandFailed` as `run` does; what was yielded before
    is then not to be relied on.
    """
    with ExitStack() as stack:
        ends = zip(os.pipe2(os.O_CLOEXEC), ("rb", "wb"), strict=True)
        output, sink = (stack.enter_context(os.fdopen(*end, buffering=0)) for end in ends)
        nothing, error = (stack.enter_context(_file(name)) for name in ("in", "err"))
        with suppress(OSError):  # a user's pipes may be limited; it is slower then
            fcntl(sink, F_SETPIPE_SZ, _PIPE)
        process = _started(argv, nothing, sink, error, environment)
        sink.close()
        ended = False
        try:
            poll = select.poll()
            poll.register(output, select.POLLIN)
            while not ended and poll.poll(timeout * 1000):
                piece = output.read(_PIECE)
                ended = not piece
                yield from (piece,) if piece else ()
        finally:
            ended = _waited(process, None, time.monotonic() + timeout if ended else 0.0) and ended
        if not ended:
            raise CommandFailed(f"{' '.join(argv)}: produced no output for {timeout:g} s")
        _judge(argv, process.returncode, codes, _text(error))
        return Completed(process.returncode, "", _text(error))


@frozen(eq=False)
class Background:
    """A program that runs beside us, with nothing to read.

    poll(2) finds ``descriptor`` readable once it has ended. It is the first of a process group.
    """

    pid: int
    descriptor: int
    _output: IO[bytes]
    _error: IO[bytes]

    def end(self) -> Completed:
        """Return how it ended, waiting for that. It is called once."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.descriptor)
        with self._output, self._error:
            code = os.waitstatus_to_exitcode(status)
            return Completed(code, _text(self._output), _text(self._error))

    def handed_over(self) -> str:
        """Return what `taken_over` takes in the program that replaces this one (execve(2))."""
        kept = self._output.fileno(), self._error.fileno()
        for descriptor in kept:
            os.set_inheritable(descriptor, True)
        return " ".join(map(str, (self.pid, *kept)))

    def kill(self) -> None:
        """Kill it, with all that it runs."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def begun(argv: Sequence[str]) -> Background:
    """Run a program beside us. ``argv`` begins with its path. Raise `CommandFailed`."""
    try:
        with ExitStack() as stack:
            output, error = (stack.enter_context(_file(name)) for name in ("out", "err"))
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, error.fileno(), 2),
            ]
            pid = os.posix_spawn(
                argv[0],
                [*argv],
                {**os.environ},
                file_actions=actions,
                setpgroup=0,
                setsigmask=(),  # we may have blocked some
            )
            made = Background(pid, os.pidfd_open(pid), output, error)
            stack.pop_all()
            return made
    except OSError as failure:  # also where no descriptor is left
        raise CommandFailed(f"{argv[0]}: cannot be run: {failure.strerror}") from None


def taken_over(text: str) -> Background:
    """Return what ran beside the program that this one has replaced; see `Background`."""
    pid, output, error = map(int, text.split())
    for descriptor in (output, error):
        os.set_inheritable(descriptor, False)
    return Background(pid, os.pidfd_open(pid), os.fdopen(output, "r+b"), os.fdopen(error, "r+b"))


class Following:
    """A program that runs on, and whose output is taken as it comes.

    It must end by itself once nobody reads what it prints: nobody else ends it where this process
    is killed.
    """

    def __init__(self, argv: Sequence[str], *, environment: Mapping[str, str] = _SAME) -> None:
        """Start it. Raise `CommandFailed` where it cannot be run."""
        self._argv = argv
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._output = os.fdopen(reading, "rb", buffering=0)
        self._poll = select.poll()
        self._poll.register(reading, select.POLLIN)
        try:
            with os.fdopen(writing, "wb") as sink, Path(os.devnull).open("r+b", 0) as nothing:
                self._process = _started(argv, nothing, sink, nothing, environment)
        except CommandFailed:
            self._output.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that is readable once there is output, or the program has ended."""
        return self._output.fileno()

    def take(self, most: int) -> bytes:
        """Take so many bytes of output at most; none where there are none.

        Raise `CommandFailed` once the program has ended, and all was taken.
        """
        pieces: list[bytes] = []
        while most > 0 and self._poll.poll(0):
            piece = self._output.read(min(most, _PIECE))
            if piece:
                pieces.append(piece)
                most -= len(piece)
            elif pieces:
                break
            else:
                if self._process.returncode is None:
                    _waited(self._process, None, time.monotonic() + _ENDING)
                _judge(self._argv, self._process.returncode, (), "")
        return b"".join(pieces)

    def close(self) -> None:
        """End it."""
        self._output.close()
        self._process.kill()
        self._process.wait()


def search_path() -> str:
    """Return PATH with the directories of the system's programs, which cron and users lack."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _file(name: str) -> IO[bytes]:
    """Make a file in memory, where a full disk is no matter."""
    return os.fdopen(os.memfd_create(name), "w+b")


@contextmanager
def _ended(
    argv: Sequence[str],
    given: str | Iterable[str],
    codes: Sequence[int],
    timeout: float,
    environment: Mapping[str, str],
) -> Iterator[tuple[int, IO[bytes], IO[bytes]]]:
    """Run a program to its end, and give its code and what it printed."""
    deadline = time.monotonic() + timeout
    with ExitStack() as stack:
        # Files, not pipes: what the program leaves running would hold a pipe open.
        output, error = (stack.enter_context(_file(name)) for name in ("out", "err"))
        if isinstance(given, str):
            source, feed = stack.enter_context(_file("in")), None
            source.write(given.encode())
            source.seek(0)
        else:
            ends = zip(os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK), ("rb", "wb"), strict=True)
            source, sink = (stack.enter_context(os.fdopen(*end, buffering=0)) for end in ends)
            os.set_blocking(source.fileno(), True)
            feed = partial(_feed, sink, given)
        process = _started(argv, source, output, error, environment)
        source.close()
        if not _waited(process, feed, deadline):
            raise CommandFailed(f"{' '.join(argv)}: did not end within {timeout:g} s")
        _judge(argv, process.returncode, codes, _text(error).strip() or _text(output))
        yield process.returncode, output, error


def _judge(argv: Sequence[str], code: int, codes: Sequence[int], said: str) -> None:
    if code not in codes:
        how = f"failed with exit code {code}" if code >= 0 else f"was killed by signal {-code}"
        raise CommandFailed(": ".join(filter(None, (" ".join(argv), how, said.strip()))))


def _started(
    argv: Sequence[str],
    source: IO[bytes],
    output: IO[bytes],
    error: IO[bytes],
    environment: Mapping[str, str],
) -> "subprocess.Popen[bytes]":
    import subprocess  # noqa: PLC0415 - costs milliseconds, and most commands run no program

    try:
        return subprocess.Popen(
            argv,
            stdin=source,
            stdout=output,
            stderr=error,
            close_fds=False,  # all of ours are closed on exec, but for the lock (`host.lock`)
            env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": search_path(), **environment},
        )
    except FileNotFoundError:
        raise CommandFailed(
            f"{argv[0]}: program not found", "install the package that contains it"
        ) from None
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or failure
        raise CommandFailed(f"{argv[0]}: cannot be run: {reason}") from None


def _waited(
    process: "subprocess.Popen[bytes]", feed: Callable[[int, float], None] | None, deadline: float
) -> bool:
    """Feed it, wait for its end, and notice it at once: `Popen.wait` sleeps in between."""
    try:
        descriptor = os.pidfd_open(process.pid)
        try:
            if feed:
                feed(descriptor, deadline)
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(_left(deadline)))
        finally:
            os.close(descriptor)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _feed(sink: IO[bytes], pieces: Iterable[str], process: int, deadline: float) -> None:
    """Write the pieces, until the program reads no more of them, ends, or has no time left."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(sink, select.POLLOUT)
    with sink, suppress(BrokenPipeError):
        for piece in pieces:
            rest = memoryview(piece.encode())
            while rest:
                try:
                    rest = rest[os.write(sink.fileno(), rest) :]
                except BlockingIOError:
                    ready = [descriptor for descriptor, _ in poll.poll(_left(deadline))]
                    if process in ready or not ready:
                        return


def _left(deadline: float) -> float:
    """Return the milliseconds until then."""
    return max(0.0, deadline - time.monotonic()) * 1000


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
