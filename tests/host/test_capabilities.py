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
