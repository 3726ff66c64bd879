"""All checks together: each in a module of its own, with a test of its own."""

from pathlib import Path

import pytest
from doctors import machine
from harness import ROOT, Place

from reconciler.config.setup import Setup
from reconciler.doctor.examine import CHECKS, examine, look

MODULES = {path.stem for path in (ROOT / "reconciler" / "doctor").glob("[a-z]*.py")}


def test_each_check_is_a_module() -> None:
    """And every module but what all need is one."""
    used = [check.__module__.rpartition(".")[2] for check in CHECKS.values()]
    assert sorted(used) == sorted(MODULES - {"examine", "machine", "quick"})


@pytest.mark.parametrize("module", sorted(MODULES))
def test_each_module_has_a_test(module: str) -> None:
    """Of its name."""
    assert (Path(__file__).parent / f"test_doctor_{module}.py").exists()


def test_every_finding_says_who_found_it(place: Place) -> None:
    """In the order of the checks."""
    place.configure(main="sources = []\nbackends = []")
    place.path.chmod(0o700)
    place.treason("ban", "192.0.2.7")
    assert [each.check for each in look(machine(place))] == ["configuration", "configuration"]
    assert examine(Setup(str(place.config))).checks == tuple(CHECKS)
