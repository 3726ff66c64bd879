"""What backends know to be wrong around them, by the contract."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from backends.file import Settings as FileSettings
from backends.file.blocklist import File
from backends.ipset import Settings as IpsetSettings
from backends.ipset.backend import Ipset
from backends.iptables import Settings as IptablesSettings
from backends.iptables.backend import Iptables
from reconciler.execute import run
from reconciler.testing import DiagnosingContract, reach, state


def leave(self: Any) -> None:
    """Let the other variant hold a chain that this backend made."""
    run(["iptables-legacy", "-N", "TREASON"])
    run(["iptables-legacy", "-A", "TREASON", *self.rule])
    run(["iptables-legacy", "-I", "INPUT", "-j", "TREASON"])


def start_docker(_self: Any) -> None:
    """Make the chain that Docker makes."""
    run(["iptables", "-N", "DOCKER-USER"])


def settle_ufw(self: Any) -> None:
    """Let ufw empty what is there."""
    self.ufw.write_text("ENABLED=yes\nMANAGE_BUILTINS=yes\n")


class _Around(DiagnosingContract):
    """What both backends of iptables know."""

    flaws: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        "a chain of the other variant": leave,
        "Docker": start_docker,
        "ufw": settle_ufw,
    }

    @pytest.fixture(autouse=True)
    def _ufw(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Settings of ufw that the test writes."""
        self.ufw = tmp_path / "ufw"
        for name in ("UFW", "UFW_DEFAULTS"):
            monkeypatch.setattr(f"backends.xtables.diagnosing.{name}", self.ufw)


class TestIptables(_Around):
    """And that its chain is long."""

    rule = ("-s", "192.0.2.7", "-j", "DROP")
    flaws: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        **_Around.flaws,
        "a long chain": lambda self: self.grow(),
    }

    @pytest.fixture
    def diagnosing(self, host: None, monkeypatch: pytest.MonkeyPatch) -> Iptables:
        """The backend, with one ban; a thousand in one change are too many for a user."""
        monkeypatch.setattr("backends.iptables.backend.MANY", 100)
        self.made = Iptables(IptablesSettings())
        reach(self.made, state(["192.0.2.7"]))
        return self.made

    def grow(self) -> None:
        """Ban a hundred."""
        reach(self.made, state(f"203.0.113.{number}" for number in range(100)))


class TestIpset(_Around):
    """And that saved rules cannot be loaded."""

    rule = ("-m", "set", "--match-set", "treason4", "src", "-j", "DROP")
    flaws: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        **_Around.flaws,
        "saved rules": lambda self: self.save(),
    }

    @pytest.fixture
    def diagnosing(self, host: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ipset:
        """The backend, with one ban."""
        self.saved = tmp_path / "rules.v4"
        monkeypatch.setattr("backends.ipset.saved.RULES", (self.saved,))
        monkeypatch.setattr("backends.ipset.saved.SETS", ())
        made = Ipset(IpsetSettings())
        reach(made, state(["192.0.2.7"]))
        return made

    def save(self) -> None:
        """Save the rules without the sets."""
        self.saved.write_text(run(["iptables-save"]).output)


class TestFile(DiagnosingContract):
    """Its command is not there."""

    flaws: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        "no program": lambda self: self.program.unlink()
    }

    @pytest.fixture
    def diagnosing(self, tmp_path: Path) -> File:
        """A list with a command."""
        self.program = tmp_path / "reload"
        self.program.write_text("#!/bin/sh\n")
        self.program.chmod(0o755)
        return File(FileSettings(str(tmp_path / "list"), (str(self.program),)))


def test_a_chain_of_the_other_backend_is_none_of_ours(host: None) -> None:
    """The backend ipset may be in use beside, with the other variant: its chain asks sets."""
    backend = Iptables(IptablesSettings())
    reach(backend, state(["192.0.2.7"]))
    run(["ipset", "create", "treason4", "hash:ip"])
    run(["iptables-legacy", "-N", "TREASON"])
    run(["iptables-legacy", "-A", "TREASON", *TestIpset.rule])
    assert [*backend.diagnose()] == []


def test_docker_where_packets_come_first(host: None) -> None:
    """With the hook raw/PREROUTING nothing gets ahead of the jump."""
    backend = Iptables(IptablesSettings(hooks=("raw/PREROUTING",)))
    reach(backend, state(["192.0.2.7"]))
    run(["iptables", "-N", "DOCKER-USER"])
    assert [*backend.diagnose()] == []
