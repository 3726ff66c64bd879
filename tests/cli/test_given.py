"""Networks that commands are given: on the line, in files, on standard input."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Place

from reconciler.cli import given

LIST = "\ufeff# hostile\r\n192.0.2.1\r\n\n  2001:db8::/32  # a whole network\n192.0.2.1\n#\n"

each = pytest.mark.parametrize(
    "command", [["ban"], ["unban"], ["whitelist", "add"], ["whitelist", "remove"]]
)


@pytest.fixture
def listed(place: Place) -> Path:
    """Write a list with a byte order mark, comments, blank lines, and a repetition."""
    path = place.path / "list.txt"
    path.write_text(LIST)
    return path


def banned(place: Place) -> list[str]:
    """Return what is banned."""
    return [row["network"] for row in place.treason("list", "-o", "json").json["bans"]]


def pipe_in(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let standard input hold these bytes."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))


def test_a_list_is_banned_from_a_file(place: Place, listed: Path) -> None:
    """Each network once, beside those on the line."""
    result = place.treason("ban", "192.0.2.9", "--file", str(listed))
    assert (result.code, result.err) == (0, "")
    assert next(line.split(":")[0] for line in result.out.splitlines()) == "192.0.2.9"
    assert banned(place) == ["192.0.2.1", "192.0.2.9", "2001:db8::/32"]


@pytest.mark.parametrize("arguments", [["-"], ["--file", "-"]])
def test_a_list_is_banned_from_standard_input(
    arguments: list[str], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its usual name."""
    pipe_in(LIST.encode(), monkeypatch)
    assert place.treason("ban", *arguments).code == 0
    assert banned(place) == ["192.0.2.1", "2001:db8::/32"]


def test_the_other_commands_take_lists_too(place: Place, listed: Path) -> None:
    """What was banned is unbanned, what was whitelisted removed."""
    place.treason("ban", "--file", str(listed))
    assert place.treason("unban", "--file", str(listed)).out.count(": unbanned\n") == 2
    assert banned(place) == []
    assert place.treason("whitelist", "add", "--file", str(listed)).code == 0
    assert len(place.treason("whitelist", "list").out.splitlines()) == 2
    assert place.treason("whitelist", "remove", "--file", str(listed)).code == 0
    assert place.treason("whitelist", "list").out == ""


def test_one_refused_line_bans_nobody(place: Place, listed: Path) -> None:
    """The line is named, and how to ban the others."""
    listed.write_text("192.0.2.1\n\nexample.com\n10.0.0.0/7\n")
    before = place.snapshot()
    result = place.treason("ban", "--file", str(listed))
    assert (result.code, result.out) == (1, "")
    assert f"{listed}:3: 'example.com' is not an IP address or network (and 1 more" in result.err
    assert "--skip-invalid takes the others" in result.err
    assert place.snapshot() == before


def test_a_line_without_end_is_not_printed_whole(place: Place) -> None:
    """As a file of another kind may have."""
    (place.path / "other").write_text("x" * 1_000_000)
    result = place.treason("ban", "--file", str(place.path / "other"))
    assert (result.code, len(result.err) < 500) == (1, True)


def test_refused_lines_are_skipped_and_named(place: Place, listed: Path) -> None:
    """Not a network, too wide, exempt: each with its line, and the others are banned."""
    place.configure('[whitelist]\nnetworks = ["198.51.100.0/24"]')
    listed.write_bytes(b"192.0.2.1\nexample.com\n10.0.0.0/7\n198.51.100.7\n\xff\xfe\n192.0.2.2\n")
    result = place.treason("ban", "--file", str(listed), "--skip-invalid")
    assert result.code == 0
    assert [line.split(" ")[3] for line in result.err.splitlines()] == [
        f"{listed}:{number}:" for number in (2, 3, 4, 5)
    ]
    assert banned(place) == ["192.0.2.1", "192.0.2.2"]


def test_a_list_of_which_all_is_refused_is_an_error(place: Place, listed: Path) -> None:
    """Nothing was banned, so nothing went well."""
    listed.write_text("a\nb\n")
    before = place.snapshot()
    result = place.treason("ban", "--file", str(listed), "--skip-invalid")
    assert (result.code, "(and 1 more refused)" in result.err) == (1, True)
    assert "--skip-invalid" not in result.err
    assert place.snapshot() == before


def test_force_skips_no_text_that_is_not_a_network(place: Place) -> None:
    """It lifts the limits alone."""
    assert place.treason("ban", "--force", "x", "10.0.0.0/7").code == 1
    assert banned(place) == []
    assert place.treason("ban", "--force", "--skip-invalid", "x", "10.0.0.0/7").code == 0
    assert banned(place) == ["10.0.0.0/7"]


@pytest.mark.parametrize("content", ["", "# nothing\n\n"])
def test_an_empty_list_is_an_error(
    content: str, place: Place, listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was to write it has failed, most likely."""
    listed.write_text(content)
    assert f"{listed}: holds no networks" in place.treason("ban", "--file", str(listed)).err
    pipe_in(content.encode(), monkeypatch)
    result = place.treason("unban", "-")
    assert (result.code, "standard input: holds no networks" in result.err) == (1, True)


def test_what_cannot_be_read_is_an_error(
    place: Place, listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing, a directory, a device, too large, or closed."""
    for path in ("/nonexistent", "/", "/dev/zero"):
        result = place.treason("ban", "192.0.2.7", "--file", path)
        assert (result.code, f"{path}: cannot read the networks: " in result.err) == (1, True)
    monkeypatch.setattr(given, "_MOST", 64)
    listed.write_text("192.0.2.1\n" * 20)
    assert "it holds more than" in place.treason("ban", "--file", str(listed)).err
    pipe_in(listed.read_bytes(), monkeypatch)
    assert "it holds more than" in place.treason("ban", "-").err
    monkeypatch.setattr("sys.stdin", None)
    assert "standard input: cannot read the networks: it is closed" in place.treason("ban", "-").err
    assert banned(place) == []


@each
def test_a_list_in_another_encoding_is_told(
    command: list[str], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as networks that are none."""
    pipe_in("192.0.2.1\n".encode("utf-16"), monkeypatch)
    result = place.treason(*command, "-", "--skip-invalid")
    assert (result.code, result.out) == (1, "")
    assert "standard input: is not text in UTF-8, so names no networks\n  save it" in result.err


@each
def test_a_command_without_any_network_is_wrong_use(command: list[str], place: Place) -> None:
    """As a missing argument always was."""
    result = place.treason(*command)
    assert (result.code, "Missing argument 'NETWORK...'" in result.err) == (64, True)


def test_a_pipe_is_read_by_a_process_of_its_own(place: Place) -> None:
    """As a shell starts it."""
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "--config", str(place.config), "ban", "-"],
        input="192.0.2.1\n# no more\n", text=True, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == "192.0.2.1: banned permanently\n"
