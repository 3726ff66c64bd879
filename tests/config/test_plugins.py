"""Plugins: found one by one, the broken ones named, names never taken twice."""

import signal
import sys
import types
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from reconciler import BackendPlugin, SourcePlugin, hookimpl
from reconciler.config.plugins import Resolved, load


@pytest.fixture
def plugin() -> Iterator[Callable[..., EntryPoint]]:
    """Make an entry point of a module with the given hooks."""
    made: list[str] = []

    def make(name: str, **hooks: Callable[[], object]) -> EntryPoint:
        module = types.ModuleType(f"made_{name}")
        for hook, function in hooks.items():
            function.__name__ = hook
            setattr(module, hook, hookimpl(function))
        sys.modules[module.__name__] = module
        made.append(module.__name__)
        return EntryPoint(name, module.__name__, "treason")

    yield make
    for name in made:
        del sys.modules[name]


def nothing(_settings: object) -> Any:
    """Be a factory."""


def test_the_built_ins_are_found_by_their_entry_points() -> None:
    """They register as anybody's plugin does."""
    found = load()
    assert {"kmsg", "file"} <= set(found.sources)
    assert "nftables" in found.backends
    assert found.broken == ()


def test_one_broken_import_is_named_and_the_others_work(plugin: Callable[..., EntryPoint]) -> None:
    """An entry point without a module does not silence its neighbour."""
    good = plugin("good", treason_backends=lambda: [BackendPlugin("cloud", nothing)])
    found = load([EntryPoint("bad", "no_such_module", "treason"), good])
    assert set(found.backends) == {"cloud"}
    [said] = found.broken
    assert "'bad'" in said
    assert "No module named 'no_such_module'" in said


def test_a_hook_that_raises_is_named_and_the_others_work(plugin: Callable[..., EntryPoint]) -> None:
    """A failure inside a hook is that plugin's alone."""

    def fails() -> object:
        raise RuntimeError("no\nluck")

    good = plugin("good", treason_backends=lambda: [BackendPlugin("cloud", nothing)])
    found = load([plugin("bad", treason_backends=fails), good])
    assert set(found.backends) == {"cloud"}
    assert found.broken == ("plugin 'bad', hook treason_backends: RuntimeError: no luck",)


def test_a_misspelt_hook_is_found_at_start(plugin: Callable[..., EntryPoint]) -> None:
    """A hook that does not exist is named, and its plugin left out."""
    found = load([plugin("bad", treason_backend=lambda: None), plugin("good")])
    [said] = found.broken
    assert "'bad'" in said
    assert "treason_backend" in said


def test_a_hook_that_gives_something_else_is_named(plugin: Callable[..., EntryPoint]) -> None:
    """Only descriptors of the right kind count."""
    found = load([plugin("bad", treason_backends=lambda: [SourcePlugin("x", nothing), None])])
    assert found.backends == {}
    assert len(found.broken) == 2
    assert all("is not a BackendPlugin" in said for said in found.broken)


def test_nobody_can_use_a_name_that_two_provide(plugin: Callable[..., EntryPoint]) -> None:
    """Nobody's plugin wins by accident; both are named, and all others work."""
    both = [
        plugin(n, treason_backends=lambda: [BackendPlugin("cloud", nothing)]) for n in ("a", "b")
    ]
    other = plugin("c", treason_backends=lambda: [BackendPlugin("other", nothing)])
    found = load([*both, other])
    assert set(found.backends) == {"other"}
    assert found.contested["backend", "cloud"].what == (
        "'cloud' is provided by two plugins: 'a' and 'b'"
    )
    assert found.broken == (found.contested["backend", "cloud"].what,)


@pytest.mark.parametrize(
    "raised", [SystemExit(0), KeyboardInterrupt(), GeneratorExit(), BaseException("odd")]
)
def test_whatever_ends_an_import_is_that_plugins_failure(
    raised: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an entry point is loaded nothing that it raises ends the program."""
    (tmp_path / "ends_at_import.py").write_text(f"raise {raised!r}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    [said] = load([EntryPoint("bad", "ends_at_import", "treason")]).broken
    assert said.startswith(f"plugin 'bad' (ends_at_import): {type(raised).__name__}")


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_whatever_ends_a_hook_is_that_plugins_failure(
    kind: type[BaseException], plugin: Callable[..., EntryPoint]
) -> None:
    """To ask what an entry point provides is a part of loading it."""

    def ends() -> object:
        raise kind

    good = plugin("good", treason_backends=lambda: [BackendPlugin("cloud", nothing)])
    found = load([plugin("bad", treason_backends=ends), good])
    assert set(found.backends) == {"cloud"}
    assert found.broken == (f"plugin 'bad', hook treason_backends: {kind.__name__}",)


def test_a_person_ends_the_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a module is imported is no failure of that module."""
    (tmp_path / "slow_import.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # behind `&` it is ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            load([EntryPoint("slow", "slow_import", "treason")])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), ValueError("odd")])
def test_where_the_interrupt_is_ignored_nobody_ends_the_loading(
    raised: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with nohup, or behind a shell's ``&``; programs that a plugin starts ignore it, too."""
    (tmp_path / "ignoring_import.py").write_text(
        "import os, signal, subprocess, sys\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "child = 'import signal; print(signal.getsignal(signal.SIGINT).name)'\n"
        "assert subprocess.check_output([sys.executable, '-c', child]) == b'SIG_IGN\\n'\n"
        f"raise {raised!r}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        [said] = load([EntryPoint("bad", "ignoring_import", "treason")]).broken
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
        sys.modules.pop("ignoring_import", None)
    assert said.startswith(f"plugin 'bad' (ignoring_import): {type(raised).__name__}")


@pytest.mark.parametrize("damage", ["[treason]\nfoo\n", b"\xff\xfe"])
def test_a_damaged_list_of_entry_points_stops_only_its_distribution(
    damage: str | bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named; all others are found, each once."""
    info = tmp_path / "bad-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1\n")
    file = info / "entry_points.txt"
    file.write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    monkeypatch.syspath_prepend(str(tmp_path))
    found = load()
    assert {"kmsg", "file"} <= set(found.sources)
    assert found.contested == {}
    [said] = found.broken
    assert said.startswith(f"distribution {info}: ")


def test_what_one_process_has_resolved_another_one_loads() -> None:
    """By module and, if the entry point says so, by a name in it; nothing else is searched."""
    found = load()
    wanted = [each for each in found.resolved if each.name in {"source-kmsg", "backend-file"}]
    again = load(wanted)
    assert set(again.sources) == {"kmsg"}
    assert set(again.backends) == {"file"}
    assert Resolved("x", "reconciler.model:BOTH").load() == frozenset({4, 6})
