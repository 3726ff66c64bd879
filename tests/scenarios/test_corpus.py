"""Every message of the corpus, reconciled from each source and in every shape."""

import json
import os
from collections.abc import Callable

import pytest
from harness import DATA, Place
from journals import JournalFiles

from reconciler import Record
from sources import shapes
from sources.kmsg import Kmsg

SAMPLES = [json.loads(line) for line in (DATA / "kernel-messages.jsonl").read_text().splitlines()]


def messages() -> list[Record]:
    """Return what the kernel said in the samples, each once."""
    read = (shapes.parse(sample["text"], trusted=True) for sample in SAMPLES)
    said = [each for each in read if each and each.trusted and each.text and each.repeated == 1]
    return [*{each.text: each for each in said}.values()]


PEERS = {
    expected["address"]
    for sample in SAMPLES
    if (record := shapes.parse(sample["text"], trusted=True)) and record.repeated == 1
    for expected in sample["expect"]
}


def json_of(stamp: float, text: str) -> dict[str, str]:
    """Return an entry of the journal."""
    return {
        "__CURSOR": f"s=1;i=1;b={'1' * 32};m=1;t={round(stamp * 1e6):x};x=1",
        "_TRANSPORT": "kernel",
        "SYSLOG_FACILITY": "0",
        "SYSLOG_IDENTIFIER": "kernel",
        "_BOOT_ID": "1" * 32,
        "_SOURCE_MONOTONIC_TIMESTAMP": str(round(stamp * 1e6)),
        "MESSAGE": text,
    }


def verbose(stamp: float, text: str) -> str:
    """Return an entry as journalctl's verbose shows it."""
    entry = json_of(stamp, text)
    fields = "".join(f"    {key}={value}\n" for key, value in entry.items() if key[1] != "_")
    return f"Sat 2026-11-28 20:52:14.123456 UTC [{entry['__CURSOR']}]\n{fields}"


def exported(stamp: float, text: str) -> str:
    """Return an entry as journalctl exports it."""
    return "".join(f"{key}={value}\n" for key, value in json_of(stamp, text).items()) + "\n"


def dmesg_json(stamp: float, text: str) -> str:
    """Return a whole document of dmesg."""
    member = (
        f'         "pri": 4,\n         "time": {stamp:.6f},\n         "msg": {json.dumps(text)}\n'
    )
    return f'{{\n   "dmesg": [\n      {{\n{member}      }}\n   ]\n}}\n'


SHAPES: dict[str, Callable[[float, str], str]] = {
    "bare": lambda _, text: f"{text}\n",
    "dmesg": lambda stamp, text: f"[{stamp:12.6f}] {text}\n",
    "dmesg -T": lambda _, text: f"[Sat Nov 28 20:52:14 2026] {text}\n",
    "dmesg -T in Chinese": lambda _, text: f"[六 11月 28 20:52:14 2026] {text}\n",
    "dmesg -T in Vietnamese": lambda _, text: f"[T7 Thg 11 28 20:52:14 2026] {text}\n",
    "dmesg -e in Russian": lambda _, text: f"[ноя28 20:52] {text}\n",
    "dmesg -d in Czech": lambda stamp, text: f"[{stamp:12.6f} <    0,000093>] {text}\n",
    "dmesg -H in German": lambda _, text: f"[  +0,000093] {text}\n",
    "dmesg -x": lambda stamp, text: f"kern  :warn  : [{stamp:12.6f}] {text}\n",
    "dmesg -r": lambda stamp, text: f"<4>[{stamp:12.6f}] {text}\n",
    "dmesg in colours": lambda stamp, text: (
        f"\x1b[32m[{stamp:12.6f}] \x1b[0m\x1b[1m{text}\x1b[0m\n"
    ),
    "dmesg --json": dmesg_json,
    "kmsg": lambda stamp, text: f"4,{round(stamp)},{round(stamp * 1e6)},-;{text}\n",
    "syslog": lambda stamp, text: f"Nov 28 20:52:14 web1 kernel: [{stamp:12.6f}] {text}\n",
    "syslog, RFC 3339": lambda _, text: f"2026-11-28T20:52:14.5+01:00 web1 kernel: {text}\n",
    "syslog, RFC 5424": lambda _, text: f"<4>1 2026-11-28T20:52:14Z web1 kernel - - - {text}\n",
    "short-monotonic": lambda stamp, text: f"[{stamp:12.6f}] web1 kernel: {text}\n",
    "short-delta": lambda stamp, text: f"[{stamp:12.6f} <    0.000001 >] web1 kernel: {text}\n",
    "short-full": lambda _, text: f"Sat 2026-11-28 20:52:14 UTC web1 kernel: {text}\n",
    "short-unix": lambda _, text: f"1795901309.124382 web1 kernel: {text}\n",
    "json": lambda stamp, text: json.dumps(json_of(stamp, text)) + "\n",
    "json, tight": lambda stamp, text: (
        json.dumps(json_of(stamp, text), separators=(",", ":")) + "\n"
    ),
    "json-seq": lambda stamp, text: "\x1e" + json.dumps(json_of(stamp, text)) + "\n",
    "json-sse": lambda stamp, text: "data: " + json.dumps(json_of(stamp, text)) + "\n\n",
    "json-pretty": lambda stamp, text: json.dumps(json_of(stamp, text), indent="\t") + "\n",
    "verbose": verbose,
    "export": exported,
}


def banned(place: Place, *arguments: str) -> list[str]:
    """Reconcile, and return who was banned; nothing may fail, and no line be overlooked."""
    done = place.treason("reconcile", "-o", "json", *arguments)
    assert (done.code, done.err) == (0, "")
    [reading] = done.json["sources"]
    assert (reading["error"], reading["notes"]) == (None, [])
    return sorted(reading["bans"])


@pytest.fixture
def place(place: Place) -> Place:
    """A place whose backend is a file."""
    text = '[source.file]\ntrusted = true\n[trust]\nconfirm = "never"'  # see test_believing.py
    place.configure(text, main=f'backends = ["file:{place.path}/list"]')
    return place


@pytest.mark.parametrize("shape", SHAPES)
def test_a_log_bans_exactly_the_peers(place: Place, shape: str) -> None:
    """Whatever printed it."""
    log = place.path / "log"
    lines = (SHAPES[shape](n + 0.25, each.text) for n, each in enumerate(messages()))
    log.write_text("".join(lines))
    assert banned(place, "--source", f"file:{log}") == sorted(PEERS)


def test_the_journal_bans_exactly_the_peers(place: Place) -> None:
    """In files that the real journalctl reads."""
    journal = JournalFiles(place.path / "journal")
    journal.write(*(each.text for each in messages()))
    assert banned(place, "--source", f"journal:{journal.path}") == sorted(PEERS)


@pytest.mark.kmsg
@pytest.mark.usefixtures("kmsg")
def test_what_dmesg_prints_bans_exactly_the_peers(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dmesg that prints the corpus stands in for the real one."""
    program = place.path / "dmesg"
    shown = [SHAPES["dmesg -x"](n + 0.25, each.text) for n, each in enumerate(messages())]
    program.write_text("#!/bin/sh\ncat <<'END'\n" + "".join(shown) + "END\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{place.path}{os.pathsep}{os.environ['PATH']}")
    assert banned(place, "--source", "dmesg") == sorted(PEERS)


def test_the_kernels_buffer_bans_exactly_the_peers(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records as the device gives them, one a read; only the kernel can write such."""
    records = [SHAPES["kmsg"](n, each.text).encode() for n, each in enumerate(messages())]
    monkeypatch.setattr(Kmsg, "_records", lambda _: iter(records))
    assert banned(place, "--source", "kmsg") == sorted(PEERS)
