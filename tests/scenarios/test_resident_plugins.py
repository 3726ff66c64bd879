"""A daemon beside plugins that fail in whatever they are asked: it goes on without them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Place
from residents import drops, running, until

Nft = Callable[..., str]

FAILING = ("hasty", "undecided", "deaf", "strange", "lost", "unread")
TOLD = (
    "no fileno",
    "no hold",
    "no repair",
    "no descriptor",
    "Bad file descriptor",
    "when it is due",
)
STEPS = ("fileno", "hold", "add", "changed", "repair", "close")

SOURCES = '''
"""Sources that fail, each in one way of its own."""

from attrs import frozen

from reconciler import SourcePlugin, hookimpl


class Quiet:
    """Has nothing to say."""

    def __init__(self, settings):
        self.settings = settings

    def read(self, cursor, needles):
        return iter(())

    def cursor(self):
        return None


class Waking(Quiet):
    """Can be waited for, it says."""

    def fileno(self):
        return 0

    def close(self):
        raise RuntimeError("it does not close")


class Hasty(Quiet):
    """Is due at once, again and again."""

    def due(self):
        return -1


class Undecided(Quiet):
    """Cannot tell when it is due."""

    def due(self):
        raise RuntimeError("it does not know")


class Deaf(Waking):
    """Has no descriptor."""

    def fileno(self):
        raise RuntimeError("it has no descriptor")


class Strange(Waking):
    """Has a descriptor that is none."""

    def fileno(self):
        return "3"


class Lost(Waking):
    """Has a descriptor that nobody has open."""

    def fileno(self):
        return 999


class Unread(Waking):
    """Cannot be read once it is waited for."""

    def read(self, cursor, needles):
        raise RuntimeError("it does not read")


KINDS = (Hasty, Undecided, Deaf, Strange, Lost, Unread)


@hookimpl
def treason_sources():
    return [SourcePlugin(kind.__name__.lower(), kind) for kind in KINDS]
'''

BACKENDS = '''
"""Backends in memory whose reflexes fail, each in one way of its own."""

from reconciler import BackendPlugin, hookimpl
from reconciler.testing import Memory


def failing(step):
    class Failing(Memory):
        def reflexes(self):
            made = super().reflexes()

            def fail(*_arguments):
                raise RuntimeError(f"no {step}")

            setattr(made, step, fail)
            return made

    return lambda settings: Failing()


@hookimpl
def treason_backends():
    steps = ("fileno", "hold", "add", "changed", "repair", "close")
    return [BackendPlugin(f"no-{step}", failing(step)) for step in steps]
'''


def install(directory: Path, **modules: str) -> None:
    """Write a distribution of plugins."""
    info = directory / "failing-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: failing\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[treason]\n" + "".join(f"{name} = {name}\n" for name in modules)
    )
    for name, text in modules.items():
        (directory / f"{name}.py").write_text(text)


def test_plugins_that_fail_end_no_daemon(
    place: Place, nft: Nft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are named; others' offenders are dropped, and what is taken away is put back."""
    install(tmp_path / "plugins", failing_sources=SOURCES, failing_backends=BACKENDS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugins"))
    place.configure(
        "[source.file]\ntrusted = true",
        main=f"sources = {[f'file:{place.path}/kern.log', *FAILING]}\n"
        f"backends = {['nftables', *(f'no-{step}' for step in STEPS)]}",
    )
    with running(place, "-v", awake=False) as daemon:
        until(lambda: all(each in daemon.error for each in TOLD), "all are named")
        daemon.offend("203.0.113.7")
        until(lambda: drops("203.0.113.7"))
        nft("flush set inet treason banned4")
        until(lambda: drops("203.0.113.7"))
        assert "failing_sources.py" in daemon.error, "-v says where"
        assert daemon.stop() == 0
