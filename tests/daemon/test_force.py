"""What is kept in force: of backends that are taken out of the configuration."""

from typing import Any, NoReturn

from attrs import define, field

from reconciler.daemon.force import Force
from reconciler.daemon.loop import Loop
from reconciler.errors import BackendUnreadable


@define(slots=False)
class Daemon:
    """Knows what is wrong."""

    loop: Loop = field(factory=Loop)
    wrong: dict[str, str] = field(factory=dict)

    def trouble(self, subject: str, text: str) -> None:
        """Note what is wrong."""
        self.wrong[subject] = text

    def compare(self, *_: object) -> None:
        """Compare nothing."""


def test_what_is_closed_is_wrong_no_more() -> None:
    """Nobody could mend what was wrong with a backend that is not configured any more."""

    def broken() -> NoReturn:
        raise BackendUnreadable("it is gone")

    daemon: Any = Daemon()
    force = Force({"memory": broken}, daemon)
    force.begin()
    assert "it is gone" in daemon.wrong["memory"]
    force.close()
    assert daemon.wrong == {"memory": ""}
