"""Which capabilities a process has, and which it hands on."""

import subprocess
import sys

import pytest

from reconciler.host.capabilities import held

GRANTED = "+net_admin,+net_raw,+syslog,+dac_override"

HAND_ON = """\
import os, sys
from reconciler.host import capabilities
capabilities.lower(sys.argv[2:])
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
TELL = """\
from reconciler.host import capabilities
print(*capabilities.held())
"""


def handed_on(*lowered: str, user: int = 65534) -> set[str]:
    """Return what the next program of a user has, to whom a unit grants some."""
    bounds = f"-all,{GRANTED}"
    command = ["setpriv", f"--reuid={user}", "--clear-groups", f"--inh-caps={bounds}"]
    command += [f"--ambient-caps={bounds}", f"--bounding-set={bounds}", sys.executable]
    command += ["-c", HAND_ON, TELL, *lowered]
    return {*subprocess.check_output(command, text=True).split()}


def test_what_is_lowered_is_not_handed_on() -> None:
    """The rest is, and so is what files need; a name that no kernel knows is none."""
    granted = {"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYSLOG", "CAP_DAC_OVERRIDE"}
    assert handed_on() == granted
    assert handed_on("CAP_SYSLOG", "CAP_NEW") == granted - {"CAP_SYSLOG"}
    assert handed_on("CAP_DAC_OVERRIDE", "CAP_NET_ADMIN") == granted


def test_root_keeps_what_its_unit_allows() -> None:
    """Its commands may need it."""
    assert "CAP_SYSLOG" in handed_on("CAP_SYSLOG", user=0)


def test_all_are_held_where_nothing_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc nothing is lacking."""
    monkeypatch.setattr("pathlib.Path.read_text", _refused)
    assert {"CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"} <= held()


def _refused(*_: object) -> str:
    raise FileNotFoundError


ATTACHED = """\
import os, subprocess, sys
from reconciler.host import capabilities
tell = [sys.executable, "-c", sys.argv[1]]
names = sys.argv[2:]
with capabilities.withheld(names):
    print(subprocess.check_output(tell, text=True).strip())
print(*capabilities.held())
print(capabilities.drop(names))
print(*capabilities.held())
print(subprocess.check_output(tell, text=True).strip())
"""


def attached(*names: str, user: int = 65534) -> list[set[str]]:
    """Return what a child, it and a child have before and after a process has dropped some."""
    bounds = "-all,+dac_override,+bpf,+perfmon"  # one to find Python by
    command = ["setpriv", f"--reuid={user}", "--clear-groups", "--no-new-privs"]
    command += [f"--inh-caps={bounds}", f"--ambient-caps={bounds}", f"--bounding-set={bounds}"]
    command += [sys.executable, "-c", ATTACHED, TELL, *names]
    lines = subprocess.check_output(command, text=True).splitlines()
    return [{*line.split()} for line in lines]


@pytest.mark.parametrize("user", [65534, 0])
def test_what_is_dropped_comes_never_back(user: int) -> None:
    """Neither to it nor to its children, be it root; a name that no kernel knows is none."""
    child, before, dropped, after, next_child = attached("CAP_BPF", "CAP_PERFMON", user=user)
    every = {"CAP_DAC_OVERRIDE", "CAP_BPF", "CAP_PERFMON"}
    assert before == every
    assert dropped == {"True"}
    assert after == next_child == {"CAP_DAC_OVERRIDE"}
    if user:
        assert child == {"CAP_DAC_OVERRIDE"}


def test_what_passes_need_is_not_dropped() -> None:
    """Whoever asks for it."""
    assert attached("CAP_DAC_OVERRIDE")[3] == {"CAP_DAC_OVERRIDE", "CAP_BPF", "CAP_PERFMON"}
