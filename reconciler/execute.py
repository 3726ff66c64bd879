"""The one place that runs other programs: from argument lists, within a time limit."""

import os
import select
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fcntl import F_SETPIPE_SZ, fcntl
from functools import partial
from typing import IO, TYPE_CHECKING, Final

from attrs import frozen

from reconciler.errors import TreasonError

if TYPE_CHECKING:
    import subprocess

_PIECE: Final = 1 << 17
"""Bytes of output that are given at once, and some more to the end of the line."""

_PIPE: Final = 1 << 20
"""Bytes that a program may be ahead of who reads what it prints (as much as a user may have)."""

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
