"""The loop: descriptors, times and signals."""

import os
import select
import signal
import time

from reconciler.daemon.loop import Loop, Signals


def test_it_calls_for_what_is_readable_and_for_what_is_due() -> None:
    """Each once, and stops when it is told to."""
    loop, called = Loop(), list[str]()
    read, write = os.pipe()
    os.write(write, b"x")

    def readable() -> None:
        called.append(os.read(read, 1).decode())

    def due() -> None:
        called.append("due")
        loop.stop()

    loop.watch(read, select.POLLIN, readable)
    loop.after(0.02, "one", due)
    loop.run()
    assert called == ["x", "due"]
    os.close(read)
    os.close(write)


def test_a_name_has_one_time() -> None:
    """`after` replaces it, `soon` only makes it sooner, `never` forgets it."""
    loop, called = Loop(), list[str]()
    loop.after(0.0, "one", lambda: called.append("first"))
    loop.after(0.01, "one", lambda: called.append("second"))
    loop.soon(9.0, "one", lambda: called.append("too late"))
    loop.after(0.0, "other", lambda: called.append("forgotten"))
    loop.never("other")
    loop.after(0.03, "end", loop.stop)
    loop.run()
    assert called == ["second"]


def test_what_is_forgotten_is_not_called() -> None:
    """Also where poll(2) has found it together with what forgets it."""
    loop, called = Loop(), list[int]()
    pairs = [os.pipe() for _ in range(2)]
    for read, write in pairs:
        os.write(write, b"x")

        def take(mine: int = read) -> None:
            called.append(mine)
            for each, _ in pairs:
                loop.forget(each)

        loop.watch(read, select.POLLIN, take)
    loop.after(0.01, "end", loop.stop)
    loop.run()
    assert len(called) == 1
    for pair in pairs:
        for each in pair:
            os.close(each)


def test_what_was_found_of_a_descriptor_is_not_told_of_the_next_one_by_its_number() -> None:
    """Who waits for a child by it, say, would wait for its end."""
    loop, called = Loop(), list[str]()
    pairs = [os.pipe() for _ in range(2)]
    silent, end = os.pipe()
    for read, write in pairs:
        os.write(write, b"x")

        def take(mine: int = read) -> None:
            called.append("first")
            [other] = {each for each, _ in pairs} - {mine}
            loop.forget(mine)
            loop.forget(other)
            os.dup2(silent, other)
            loop.watch(other, select.POLLIN, lambda: called.append("next"))

        loop.watch(read, select.POLLIN, take)
    loop.after(0.01, "end", loop.stop)
    loop.run()
    assert called == ["first"]
    for each in (*pairs[0], *pairs[1], silent, end):
        os.close(each)


def test_a_signal_is_called_from_the_loop() -> None:
    """The handler itself does nothing."""
    loop, called = Loop(), list[float]()
    before = signal.getsignal(signal.SIGUSR1)

    def taken() -> None:
        called.append(time.monotonic())
        loop.stop()

    try:
        Signals(loop, {signal.SIGUSR1: taken})
        os.kill(os.getpid(), signal.SIGUSR1)
        assert called == []
        loop.run()
        assert len(called) == 1
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, before)
