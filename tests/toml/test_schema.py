"""Settings of plugins: every way in which an author may declare them."""

from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from reconciler.toml.schema import Refused, fill, internal, plain


@attrs.frozen
class Inner:
    """A table in a table."""

    zone: str


def upper(text: object) -> str:
    """Convert."""
    return str(text).upper()


@attrs.frozen
class Settings:
    """What authors write."""

    token: str
    _region: str = "here"
    retries: int = attrs.field(default=3, validator=attrs.validators.ge(0))
    ratio: float = 0.5
    directory: Path = Path("/")
    tags: list[str] = attrs.field(factory=list)
    pairs: tuple[int, ...] = ()
    limit: int | str | None = None
    headers: dict[str, str] = attrs.field(factory=dict)
    inner: Inner | None = None
    upper: str = attrs.field(default="x", converter=upper)
    cache: dict[str, int] = attrs.field(factory=dict, init=False)
    top: int = attrs.field(default=9, converter=int)

    @top.validator
    def _above(self, _attribute: object, value: int) -> None:
        if value < self.retries:
            raise ValueError("top lies below retries")


def test_every_declaration_is_filled() -> None:
    """Aliases, paths, collections, unions, tables and converters."""
    table = {
        "token": "t", "region": "there", "ratio": 1, "directory": "/x", "tags": ["a"],
        "pairs": [1, 2], "limit": "none", "headers": {"a": "b"}, "inner": {"zone": "z"},
        "upper": "abc", "top": "7",
    }  # fmt: skip
    made = fill(Settings, table)
    assert made == Settings(
        "t", "there", 3, 1.0, Path("/x"), ["a"], (1, 2), "none", {"a": "b"}, Inner("z"), "ABC", 7
    )


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "token: is missing"),
        ({"token": 3}, "token: must be a string, not a whole number"),
        ({"token": "t", "cache": {}}, "unknown key 'cache'"),
        ({"token": "t", "_region": "x"}, "unknown key '_region'; did you mean 'region'?"),
        ({"token": "t", "retries": -1}, "retries: 'retries' must be >= 0: -1"),
        ({"token": "t", "top": "x"}, "top: invalid literal for int() with base 10: 'x'"),
        ({"token": "t", "top": "1"}, "top lies below retries"),
        ({"token": "t", "tags": [1]}, "tags: must be a string, not a whole number"),
        ({"token": "t", "limit": 1.5}, "limit: must be a string, not a number"),
        (
            {"token": "t", "inner": {"zoen": "z"}},
            "[inner] unknown key 'zoen'; did you mean 'zone'?",
        ),
    ],
)
def test_every_mistake_is_named(table: dict[str, object], said: str) -> None:
    """With the key, and with the table that it stands in."""
    with pytest.raises(Refused) as refused:
        fill(Settings, table)
    assert said in map(str, refused.value.problems)


@attrs.frozen
class Partly:
    """A setting, and what the program adds to it."""

    name: str = "a"
    found: tuple[int, ...] = internal(())


def test_what_the_program_sets_itself_is_no_key() -> None:
    """It is neither read nor written, and the program may set it."""
    with pytest.raises(Refused, match="unknown key 'found'"):
        fill(Partly, {"found": [1]})
    assert plain(attrs.evolve(fill(Partly, {"name": "b"}), found=(1,))) == {"name": "b"}


@attrs.frozen
class Waiting:
    """A setting that is a time."""

    lasting: timedelta = timedelta(seconds=10)


def test_a_timedelta_is_a_duration_that_ends() -> None:
    """Written as everywhere; what is none is refused in words."""
    assert fill(Waiting, {"lasting": "2m"}) == Waiting(timedelta(minutes=2))
    assert fill(Waiting, {}) == Waiting()
    for wrong in ("permanent", "0s", "soon", 10, None):
        with pytest.raises(Refused) as refused:
            fill(Waiting, {"lasting": wrong})
        assert str(refused.value).startswith("lasting: ")
