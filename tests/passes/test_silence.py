"""Sources that see nothing of the kernel."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from harness import Place
from pytest_mock import MockerFixture

from reconciler import Record, SourceUnreadable
from reconciler.passes.silence import silent


class Listener:
    """A source that says, or raises, what it is given."""

    def __init__(self, said: str | BaseException | None) -> None:
        self.said = said

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield nothing."""
        return iter(())

    def cursor(self) -> str | None:
        """Have none."""
        return None

    def silence(self) -> str | None:
        """Return or raise it."""
        if isinstance(self.said, BaseException):
            raise self.said
        return self.said


class Deaf:
    """A source that cannot tell."""

    read, cursor = Listener.read, Listener.cursor


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (None, {}),
        ("", {}),
        ("holds nothing:\n  look", {"it": "holds nothing: look"}),
        (SourceUnreadable("cannot read it", "run as root"), {"it": "cannot read it; run as root"}),
        (RuntimeError("bug"), {"it": "the plugin failed: RuntimeError: bug"}),
    ],
)
def test_each_reason_is_one_line(said: str | BaseException | None, told: dict[str, str]) -> None:
    """Whatever a plugin says or raises."""
    assert silent({"it": lambda: Listener(said)}) == told


def test_a_source_that_cannot_tell_is_not_asked() -> None:
    """Its silence means nothing."""
    assert silent({"it": Deaf}) == {}


def test_a_source_that_cannot_be_made_is_told() -> None:
    """As the others are."""

    def broken() -> Listener:
        raise ValueError("no such thing")

    assert silent({"it": broken}) == {"it": "the plugin failed: ValueError: no such thing"}


def test_who_interrupts_is_obeyed() -> None:
    """Only the person at the keyboard ends the command."""
    with pytest.raises(KeyboardInterrupt):
        silent({"it": lambda: Listener(KeyboardInterrupt())})


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"return_value": "holds nothing"}, "holds nothing"),
        ({"side_effect": SourceUnreadable("cannot read it", "do this")}, "cannot read it; do this"),
        ({"side_effect": RuntimeError("bug")}, "the plugin failed: RuntimeError: bug"),
    ],
)
def test_status_tells_it(
    said: dict[str, Any], told: str, place: Place, nft: Callable[..., str], mocker: MockerFixture
) -> None:
    """In JSON by the source's name; the exit code is about the backends alone."""
    mocker.patch("sources.kmsg.Kmsg.silence", **said)
    result = place.treason("status", "-o", "json")
    assert (result.code, result.json["silent"]) == (0, {"kmsg": told})
    assert f"silent source   kmsg: {told}\n" in place.treason("status").out


@pytest.mark.kmsg
def test_scan_tells_it_with_v(
    place: Place, kmsg: Callable[[str], None], mocker: MockerFixture
) -> None:
    """Of a source that could be read; the others have told already."""
    mocker.patch("sources.kmsg.Kmsg.silence", return_value="holds nothing")
    both = ("--source", "kmsg", "--source", "file:/nonexistent")
    assert "silent: kmsg: holds nothing\n" in place.treason("scan", "-v", *both).out
    assert "silent" not in place.treason("scan", *both).out
    assert "silent: file" not in place.treason("scan", "-v", *both).out
