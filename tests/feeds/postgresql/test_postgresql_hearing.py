"""What notifications are worth."""

import pytest

from feeds.postgresql.hearing import POOLED, UNTOLD, Ear
from feeds.postgresql.session import Notification

OWN, OTHER = 1, 2


def ear(read: int = 10) -> Ear:
    """Return one whose member has read so far, by a session that listens."""
    made = Ear()
    made.begin(read)
    made.judge(read, 0, 0.0)
    return made


def told(*payloads: object, pid: int = OTHER) -> list[Notification]:
    """Return notifications."""
    return [Notification(pid, str(payload).encode()) for payload in payloads]


def test_true() -> None:
    """A tick that was not read is to be read; and then nothing is odd."""
    made = ear()
    made.hear(told(11), OWN)
    assert made.has_more
    made.judge(11, 11, 1.0)
    assert (made.has_more, made.heard, made.empty, made.muted) == (False, 11, 0, 0.0)


def test_read_before_it_was_told() -> None:
    """A tick that was read already wakes nobody, and is true once."""
    made = ear()
    made.judge(12, 12, 1.0)
    made.hear(told(11, 12), OWN)
    assert (made.has_more, made.empty) == (False, 0)
    made.hear(told(12), OWN)
    assert made.empty == 1


def test_own() -> None:
    """What this member published itself wakes nobody."""
    made = ear()
    made.hear(told(11, pid=OWN), OWN)
    assert (made.has_more, made.empty) == (False, 0)


@pytest.mark.parametrize("payload", ["", "x", "-1", "1.5", "9" * 19, 3, 10, "１２"])
def test_senseless(payload: object) -> None:
    """What is no tick, or an old one, is counted, and need not be read for."""
    made = ear()
    made.hear(told(payload), OWN)
    assert (made.has_more, made.empty) == (False, 1)


def test_forged() -> None:
    """A tick that is not there is read for once, and then nothing is heard for a second."""
    made = ear()
    made.hear(told(10**17), OWN)
    assert made.has_more
    made.judge(10, 0, 7.0)
    assert (made.has_more, made.empty, made.muted) == (False, 1, 8.0)


def test_forged_among_true() -> None:
    """Where anything was true, nothing is kept from being heard."""
    made = ear()
    made.hear(told("x", 11, 10**17), OWN)
    made.judge(11, 11, 7.0)
    assert (made.empty, made.muted) == (2, 0.0)


def test_flood() -> None:
    """However many come, few are kept, and all are counted."""
    made = ear()
    made.hear(told(*range(10**6, 10**6 + 5_000)), OWN)
    made.judge(10, 0, 7.0)
    assert made.empty == 5_000


def test_deaf() -> None:
    """What others did was not told in time: that is known by the next look, until one is told."""
    made = ear()
    made.judge(12, 11, 1.0)
    assert (made.is_unsure, made.deaf) == (True, "")
    made.judge(12, 0, 7.0)
    assert (made.is_unsure, made.deaf) == (False, UNTOLD)
    made.hear(told(13), OWN)
    made.judge(13, 13, 8.0)
    assert made.deaf == ""


def test_told_late() -> None:
    """What was told after it was read was told."""
    made = ear()
    made.judge(12, 12, 1.0)
    made.hear(told(12), OWN)
    made.judge(12, 0, 9.0)
    assert (made.is_unsure, made.deaf) == (False, "")


def test_before_listening() -> None:
    """What was there before LISTEN nobody tells; a reason why nothing is told stays."""
    made = Ear()
    made.begin(3)
    made.deaf = POOLED
    made.judge(10, 9, 0.0)
    assert not made.is_unsure
    made.judge(11, 11, 1.0)
    made.judge(11, 0, 9.0)
    assert made.deaf == POOLED
