"""What of the server's refusals passes by itself, so that it is asked again each second."""

import pytest

from feeds.postgresql.failures import Lost, is_down


@pytest.mark.parametrize(
    "text",
    [
        "FATAL:  the database system is starting up",
        "FATAL:  the database system is shutting down",
        "FATAL:  the database system is in recovery mode",
        "FATAL:  the database system is not yet accepting connections",
        "FATAL:  the database system is not accepting connections",
        "connection to server failed: Connection refused",
    ],
)
def test_a_server_that_comes_back_is_asked_soon(text: str) -> None:
    """Each of these is what a server says between its crash and its recovery (postmaster.c)."""
    assert is_down(Lost(text))


def test_a_wrong_password_does_not_pass_by_itself() -> None:
    """So it is asked ever more seldom."""
    assert not is_down(Lost('FATAL:  password authentication failed for user "one"'))
