"""What is printed where: results alone on standard output, what is logged on standard error."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Place

Nft = Callable[..., str]

NOISY = """\
import atexit, ctypes, os, subprocess, sys, threading, time
from reconciler import BackendPlugin, Observed, hookimpl

print("at import")
ctypes.CDLL(None).printf(b"from C\\n")


def tick():
    for _ in range(200):
        print("by a thread", flush=True)
        time.sleep(0.001)


threading.Thread(target=tick).start()
atexit.register(print, "at exit")
atexit.register(sys.__stdout__.write, "at exit\\n")


class Noisy:
    def observe(self):
        print("by print")
        os.write(1, b"by its number\\n")
        sys.__stdout__.write("by the first stream\\n")
        subprocess.run(["echo", "by a child"])
        return Observed()

    def render(self, plan):
        return ""

    def apply(self, plan):
        pass

    def teardown(self):
        pass


@hookimpl
def treason_backends():
    return [BackendPlugin("noisy", lambda settings: Noisy())]
"""


def install(site: Path, name: str, text: str) -> None:
    """Make a distribution with one plugin of that name, as pip would."""
    info = site / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[treason]\n{name} = {name}\n")
    (site / f"{name}.py").write_text(text)


def treason(place: Place, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line with the plugins in ``site``."""
    return subprocess.run(
        [sys.executable, "-m", "reconciler", "--config", str(place.config), *arguments],
        env={**os.environ, "PYTHONPATH": str(place.path / "site"), **more},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_no_plugin_spoils_the_json(place: Place) -> None:
    """However it prints, whenever: standard output holds one JSON document, and nothing else."""
    install(place.path / "site", "noisy", NOISY)
    names = ("--no-scan", "--check", "--backend", "noisy")
    done = treason(place, "reconcile", *names, "-o", "json", PYTHONUNBUFFERED="")
    assert json.loads(done.stdout)["result"] == "in sync"
    said = (
        "at import",
        "by print",
        "by its number",
        "by the first stream",
        "by a child",
        "at exit",
        "from C",
        "by a thread",
    )
    for words in said:
        assert words in done.stderr
    for command in (("status",), ("scan", "--source", f"file:{os.devnull}"), ("plugins",)):
        json.loads(treason(place, *command, "-o", "json").stdout)


@pytest.mark.parametrize("code", [0, 1, 2, 64])
def test_no_exit_of_a_plugin_passes_for_a_result(code: int, place: Place) -> None:
    """The pass was not made, whatever code the plugin chose."""
    text = NOISY.replace('        print("by print")\n', f"        sys.exit({code})\n")
    install(place.path / "site", "noisy", text)
    done = treason(place, "reconcile", "--no-scan", "--check", "--backend", "noisy")
    assert done.returncode == 1
    assert "treason: noisy ended the program before the work was done\n" in done.stderr


def test_the_check_of_the_configuration_names_broken_plugins_in_use(place: Place) -> None:
    """One that cannot be imported, one of two of a name, and a table for nobody."""
    install(place.path / "site", "bad", "raise OSError('no luck')")
    for name in ("one", "two"):
        install(place.path / "site", name, NOISY)
    place.configure("[backend.stray]\nkey = 1\n", main='backends = ["cloud", "noisy", "nftables"]')
    done = treason(place, "config", "check")
    assert done.returncode == 1
    for words in ("unknown backend 'cloud'", "provided by two plugins", "unknown backend 'stray'"):
        assert words in done.stdout


def test_a_warning_is_said_once_in_a_pass(place: Place, nft: Nft) -> None:
    """Though the files are read before the lock and behind it."""
    install(place.path / "site", "bad", "raise OSError('no luck')")
    place.configure('[[rule]]\nname = "ufw-block"\nsources = ["feed"]\n')
    told = treason(place, "reconcile", "--source", f"file:{os.devnull}").stderr
    assert told.count("unknown source 'feed'") == 1
    assert told.count("treason: warning: plugin 'bad'") == 1


@pytest.mark.parametrize("broken", ["import no_such_module", "raise SystemExit(0)", "1 //"])
def test_plugins_that_nobody_uses_stop_nothing(broken: str, place: Place, nft: Nft) -> None:
    """A broken one, and two of one name: they are named, and the pass is made."""
    install(place.path / "site", "bad", broken)
    for name in ("one", "two"):
        install(place.path / "site", name, NOISY)
    place.treason("ban", "192.0.2.7")
    done = treason(place, "reconcile", "--no-scan")
    assert done.returncode == 0, done.stderr
    assert "treason: warning: plugin 'bad' (bad): " in done.stderr
    assert "treason: warning: 'noisy' is provided by two plugins" in done.stderr
    assert "192.0.2.7" in nft("list set inet treason banned4")


def test_a_broken_plugin_that_is_used_stops_only_itself(place: Place, nft: Nft) -> None:
    """Its backend, its source, its tables and a rule for it fail or are warned of."""
    install(place.path / "site", "bad", "raise OSError('no luck')")
    place.configure(
        '[backend.cloud]\nkey = 1\n[[rule]]\nname = "ufw-block"\nsources = ["feed"]\n',
        main='backends = ["cloud", "nftables"]\nsources = ["feed"]',
    )
    treason(place, "ban", "192.0.2.7")
    done = treason(place, "reconcile")
    assert done.returncode == 1
    assert "treason: unknown backend 'cloud'\n  broken: plugin 'bad' (bad): OSError: no luck" in (
        done.stderr
    )
    assert "treason: unknown source 'feed'" in done.stderr
    assert "192.0.2.7" in nft("list set inet treason banned4")


def test_twice_v_logs_each_step(place: Place, nft: Nft) -> None:
    """Readings, decisions and batches, with size and time; once tells how long the lock took."""
    log = place.path / "kern.log"
    log.write_text("TCP: Treason uncloaked! Peer 192.0.2.7:1/80 shrinks window 1:2. Repaired.\n")
    arguments = ("reconcile", "--source", f"file:{log}")
    quiet = treason(place, "-v", *arguments).stderr
    assert re.fullmatch(r"treason: info: lock \S+/lock taken after [0-9.]+ s\n", quiet)
    nft("flush ruleset")
    log.write_text(log.read_text().replace("192.0.2.7", "192.0.2.8"))
    for verbose in (("-vv",), ("-v", "-v")):
        place.database.unlink()
        treason(place, "init", "--new-database")
        told = treason(place, *arguments, *verbose).stderr
        assert f"treason: debug: file:{log}: ban 192.0.2.8 until None: TCP: " in told
        assert f"treason: debug: file:{log}: 1 offences, 1 new bans\n" in told
        assert re.search(r"debug: batch of \d+ messages, \d+ bytes: done in [0-9.]+ ms\n", told)
        nft("flush ruleset")
    assert treason(place, *arguments).stderr == ""


def test_priorities_stand_ahead_where_the_journal_reads(place: Place) -> None:
    """Each line by itself, and only if standard error itself is the journal's stream."""
    with (place.path / "stream").open("w+") as stream:
        here = os.fstat(stream.fileno())
        command = [sys.executable, "-m", "reconciler", "--config", str(place.config)]
        for journal in (f"{here.st_dev}:{here.st_ino}", f"{here.st_dev}:1", ""):
            subprocess.run(
                [*command, "ban", "192.0.2.300"], stderr=stream, check=False,
                env={**os.environ, "JOURNAL_STREAM": journal},
            )  # fmt: skip
        stream.seek(0)
        lines = stream.read().splitlines()
    first, second = lines[:2]
    assert first.startswith("<3>treason: '192.0.2.300'")
    assert second.startswith("<3>  ")
    assert lines[2:] == [first.removeprefix("<3>"), second.removeprefix("<3>")] * 2


def test_a_program_that_logs_by_itself_gets_what_it_asks_for() -> None:
    """Everything, through `logging`, as long as it does not run the command line."""
    code = (
        "import logging; logging.basicConfig(level=10, format='%(name)s %(message)s');"
        "from reconciler.log import Log; Log('scan').debug('%d read', 3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "treason.scan 3 read\n"
