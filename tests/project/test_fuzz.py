"""The fuzz of the parsers: its reference is right, it reaches offences, and it finds mistakes."""

import json
import re
import subprocess
import sys

import pytest
import reference
from attrs import evolve
from harness import DATA, ROOT
from reference import Disagreement
from targets import TARGETS

from reconciler.blocklist import entries
from reconciler.bpf import btf
from reconciler.detection import detect
from reconciler.model import Record
from reconciler.network import Network
from sources import export, kmsg, shapes, times
from sources.file import earlier, lines, reading, spread

FUZZ = ROOT / "tests" / "fuzz"
SAMPLES = [json.loads(line) for line in (DATA / "kernel-messages.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample["why"]))
def test_the_reference_reads_the_samples(sample: dict[str, object]) -> None:
    """It accuses whom each sample says, and vouches for nothing else."""
    peer = reference.line(str(sample["text"]), trusted=True)
    found = [
        {key: getattr(peer, key) for key in ("address", "peer_port", "local_port", "count")}
        for peer in [peer]
        if peer and peer.trusted
    ]
    assert isinstance(sample["expect"], list)
    assert found == [{k: v for k, v in each.items() if k != "form"} for each in sample["expect"]]


def fuzz(name: str, runs: int) -> int:
    """Try inputs on a parser, the same ones each time; give the offences that were found."""
    return sum(TARGETS[name].check(TARGETS[name].changed(b"", seed, 4096)) for seed in range(runs))


@pytest.mark.parametrize("name", TARGETS)
def test_every_parser_agrees_with_the_reference(name: str) -> None:
    """Also where there are offences."""
    assert fuzz(name, 500) > 10


REACHED = {
    "a colour": ("line", b"\x1b["),
    "json-seq": ("line", b"\x1e{"),
    "json-sse": ("line", b"data: {"),
    "blanks in JSON": ("line", b"\t: "),
    "a list of bytes": ("line", b'"MESSAGE": ['),
    "short-monotonic": ("line", b"                ] web1 kernel: "),
    "short-delta": ("line", b" >] web1 kernel: "),
    "another language": ("line", "11月 28 20:52:14 2026] ".encode()),
    "its comma": ("line", b"[  +0,000093] "),
    "no year": ("line", b"Feb 29 13:16:32 web1 kernel: "),
    "json-pretty": ("file", b"{\n\t"),
    "verbose": ("file", b"Sat 2026-11-28 20:52:14.123456 UTC [s=1;"),
    "verbose in colours": ("file", b"\x1b[0;1;39m    MESSAGE="),
    "another host": ("file", b"Aug 28 13:16:32 web2 kernel: "),
    "no host": ("file", b"Aug 28 13:16:33 kernel: ["),
    "a caller": ("file", b"][   T1] "),
    "an equal number": ("file", b"7,5,1500001,-;"),
    "an equal time of day": ("file", b"2026-11-28T19:52:14,123456+00:00 "),
    "no time after the one before": ("line", b"[<    0.000000>] "),
    "export": ("file", b"__CURSOR="),
    "an equal time": ("document", b'"time": 1.5,'),
}


@pytest.mark.parametrize("shape", REACHED)
def test_every_shape_is_reached(shape: str) -> None:
    """An input that has it has an offence, too; a log of several lines begins with it."""
    name, marker = REACHED[shape]
    inputs = (TARGETS[name].changed(b"", seed, 4096) for seed in range(5000))
    begins = name == "file" and marker[:1] not in {b"\x1b", b"]"}
    fits = bytes.startswith if begins else bytes.__contains__
    assert any(fits(data, marker) and TARGETS[name].check(data) for data in inputs)


def _trusting(record: Record | None) -> Record | None:
    return record and evolve(record, trusted=True)


def _unstamped(line: str) -> str:
    """Leave out the stamp before ``message repeated``."""
    return re.sub(r"\[ *[0-9.]+\] (?=message repeated)", "", line)


KMSG, RESUME, LINE, EPOCH = shapes.kmsg, lines.resume, shapes.parse, times.epoch
ORIGIN = shapes.origin
ANY_FLAG = rb"([0-9]+),([0-9]+),([0-9]+),[^;]*;([^\n]*)"
MISTAKES: dict[str, tuple[str, object, str, object]] = {
    "mapped addresses": ("network", Network, "parse", Network.exact),
    "facilities": ("line", shapes, "kmsg", lambda line: _trusting(KMSG(line))),
    "trust": ("line", shapes, "parse", lambda line, **_: LINE(line, trusted=True)),
    "pieces": ("kmsg", kmsg, "_RECORD", ANY_FLAG),
    "tails": ("file", reading, "resume", lambda stream, offset, _: RESUME(stream, offset, 0)),
    "lengths": ("journal", export, "_LENGTH", 7),
    "impossible peers": ("message", detect, "_NOBODY", ()),
    "colours": ("line", shapes, "_COLOUR", re.compile("\x1b")),
    "hosts": ("line", shapes, "_HOSTED", re.compile(r"(?:(?P<host>\S+) )?kernel: (?P<text>.*)")),
    "years": ("line", shapes, "epoch", lambda text, now: EPOCH(text, now + 1e8)),
    "continuations": ("file", earlier, "_LINEWISE", {"dmesg"}),
    "continuations of dmesg": ("file", earlier, "_LINEWISE", {"kmsg", "syslog"}),
    "numbers of records": ("file", earlier, "_LINEWISE", {"dmesg", "syslog"}),
    "no time between": ("file", shapes, "_AT_ONCE", re.compile("$")),
    "hosts of records": ("file", shapes, "origin", lambda line: evolve(ORIGIN(line), host=None)),
    "callers": ("file", shapes, "origin", lambda line: evolve(ORIGIN(line), caller=None)),
    "colours over lines": ("file", spread, "_COLOUR", re.compile(b"$")),
    "repetitions": ("line", shapes, "parse", lambda line, **how: LINE(_unstamped(line), **how)),
    "translated peers": ("message", detect, "within", lambda address: address),
    "what was read before": ("file", reading, "_before", lambda *_: b""),
    "times in a document": ("document", shapes, "_seconds", lambda _: None),
    "netmasks": ("blocklist", entries, "_NETMASKS", {}),
    "host bits": ("blocklist", entries, "_MASKS", {4: [b"\xff" * 4] * 33, 6: [b"\xff" * 16] * 129}),
    "mapped lists": ("blocklist", entries, "_MAPPED", b"nothing"),
    "bit fields": ("btf", btf, "_FLAG", 0),
    "other names for a type": ("btf", btf, "_SAME", {8, 9, 10, 11}),
    "unnamed unions": ("btf", btf, "_UNION", 4),
    "seams": ("paths", reading, "_parts", lambda needle: [needle]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that is a little wrong does not agree for long."""
    name, owner, attribute, wrong = MISTAKES[mistake]
    monkeypatch.setattr(owner, attribute, wrong)
    with pytest.raises(Disagreement):
        fuzz(name, 5000)


def test_an_unknown_parser_is_refused() -> None:
    """It is named."""
    done = subprocess.run(
        [sys.executable, FUZZ, "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no such parser: nonsense" in done.stderr


@pytest.mark.slow
def test_twenty_seconds_find_nothing() -> None:
    """Guided by the lines of the product that the inputs reach, in the same order each time."""
    pytest.importorskip("atheris", reason="pip install atheris; it has wheels for x86_64")
    done = subprocess.run(
        [sys.executable, FUZZ, "--seconds", "2", "--seed", "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 1 + len(TARGETS)
