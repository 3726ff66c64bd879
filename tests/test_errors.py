"""What plugins raise, told in words whatever it is."""

import pytest

from reconciler.errors import BackendError, SourceUnreadable, describe, guarded, said


class Unsaid(BackendError):
    """An error whose author forgot its base class."""

    def __init__(self, what: str) -> None:
        self.cause = what


class Odd(Exception):
    """An error whose text raises what ends programs."""

    def __str__(self) -> str:
        raise SystemExit(0)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (BackendError("what", "hint"), "what\n  hint"),
        (
            RuntimeError("two\nlines"),
            "it: the plugin failed: RuntimeError: two lines\n  -v shows where",
        ),
        (KeyError(), "it: the plugin failed: KeyError\n  -v shows where"),
        (Unsaid("x"), "Unsaid, whose text cannot be read"),
        (SourceUnreadable(OSError(2, "x")), "SourceUnreadable, whose text cannot be read"),  # type: ignore[arg-type]  # that is the mistake
        (Odd(), "it: the plugin failed: Odd: Odd, whose text cannot be read\n  -v shows where"),
    ],
)
def test_every_error_has_words(error: Exception, told: str) -> None:
    """Also those that cannot be made a text."""
    assert describe(error, "it") == told


def test_a_decoding_error_is_told_whole() -> None:
    """Only attrs' validators pass along more than their text."""
    with pytest.raises(UnicodeDecodeError) as caught:
        b"\xff".decode()
    assert "invalid start byte" in said(caught.value)
    assert said(ValueError("must be x", object(), 3)) == "ValueError: must be x"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_ends_the_program_is_nobodys_failure(kind: type[BaseException]) -> None:
    """Also in a group of what several tasks raised; a note says where it came from."""

    def work() -> str:
        raise kind

    def grouped() -> str:
        raise BaseExceptionGroup("tasks", [ValueError(), BaseExceptionGroup("more", [kind()])])

    with pytest.raises(kind) as ended:
        guarded(work, str, "it")
    assert ended.value.__notes__ == ["it"]
    with pytest.raises(kind):
        guarded(grouped, str, "it")


def test_any_other_exception_is_a_failure() -> None:
    """Also one that no `Exception` is."""

    def work() -> str:
        raise BaseException("odd")  # noqa: TRY002 - plugins raise whatever they like

    assert guarded(work, repr, "it") == "BaseException('odd')"
