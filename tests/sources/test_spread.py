"""Records over several lines in a log: journalctl's json-pretty, verbose and export."""

import json
from pathlib import Path

import pytest

from sources.file import Settings
from sources.file.source import File

TEXTS = [f"Peer 192.0.2.{n}:1/2 unexpectedly shrunk window 3:4 (repaired)" for n in (1, 2)]
NEEDLE = "unexpectedly shrunk window"


def entry(text: str) -> dict[str, str]:
    """Return what the journal holds of a message of the kernel."""
    return {
        "__CURSOR": "s=1;i=2;b=3;m=4;t=644f00000;x=5",
        "_TRANSPORT": "kernel",
        "SYSLOG_FACILITY": "0",
        "SYSLOG_IDENTIFIER": "kernel",
        "MESSAGE": text,
    }


def verbose(text: str) -> str:
    """Write an entry as verbose does."""
    fields = "".join(f"    {key}={value}\n" for key, value in entry(text).items() if key[0] != "_")
    cursor = entry(text)["__CURSOR"]
    return f"Sat 2026-11-28 20:52:14.123456 UTC [{cursor}]\n    _TRANSPORT=kernel\n{fields}"


LOGS = {
    "json-pretty": "".join(json.dumps(entry(text), indent="\t") + "\n" for text in TEXTS),
    "verbose": "".join(map(verbose, TEXTS)),
    "export": "".join(
        "".join(f"{key}={value}\n" for key, value in entry(text).items()) + "\n" for text in TEXTS
    ),
}
LOGS |= {
    f"{shape} in colours": "".join(f"\x1b[1m{line}\x1b[0m\n" for line in LOGS[shape].splitlines())
    for shape in ("json-pretty", "verbose")
}


def read(log: Path, cursor: str | None = None) -> tuple[list[str], str | None]:
    """Return the trusted messages that are read, and the cursor behind them."""
    source = File(Settings(str(log), trusted=True))
    texts = [record.text for record in source.read(cursor, [NEEDLE]) if record.trusted]
    return texts, source.cursor()


@pytest.mark.parametrize("shape", LOGS)
def test_each_record_is_read_wherever_reading_stopped(shape: str, tmp_path: Path) -> None:
    """A program writes a log in pieces that end anywhere."""
    path, whole = tmp_path / "log", LOGS[shape]
    for at in range(len(whole) + 1):
        path.write_text(whole[:at])
        first, cursor = read(path)
        path.write_text(whole)
        rest, _ = read(path, cursor)
        whole_ones = [text for text in first + rest if text in TEXTS]
        assert list(dict.fromkeys(whole_ones)) == TEXTS, whole[:at][-30:]


@pytest.mark.parametrize("size", range(8185, 8195))
def test_an_export_goes_on_wherever_its_first_entry_ends(size: int, tmp_path: Path) -> None:
    """Files are read in blocks of 8192 bytes."""
    path = tmp_path / "export"
    head = "__CURSOR=s=1\nMESSAGE="
    path.write_text(f"{head}{'x' * (size - len(head) - 2)}\n\n")
    _, cursor = read(path)
    with path.open("a") as log:
        log.write(LOGS["export"])
    assert read(path, cursor)[0] == TEXTS


def test_an_entry_without_a_message_is_passed_over(tmp_path: Path) -> None:
    """Programs send such to the journal."""
    path = tmp_path / "export"
    path.write_text("__CURSOR=s=1\nCODE_LINE=1\n\n" + LOGS["export"])
    assert read(path)[0] == TEXTS


def test_a_log_that_does_not_begin_as_an_export_is_none(tmp_path: Path) -> None:
    """Whoever writes such a line at the place where reading stopped hides nothing."""
    path = tmp_path / "log"
    path.write_text("first\n")
    _, cursor = read(path)
    path.write_text("first\n__CURSOR=s=1\n" + "".join(f"{text}\n" for text in TEXTS))
    assert read(path, cursor)[0] == TEXTS
