"""Files of the system: what somebody else wrote is neither replaced nor removed."""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Place, see_through
from pytest_mock import MockerFixture

from reconciler.errors import StoreError, TreasonError
from reconciler.host import installing, kernel_message, sandbox, unit_files
from reconciler.host.kernel_message import Kernel, turn_off, turn_on
from reconciler.store.marks import Marks

MINE = "[Service]\nExecStart=/usr/local/bin/my-own treason\n"
REFUSED = """\
treason: {}: it was not written by `treason init`, so it is left as it is
  move it away (systemctl edit keeps changes beside it), or: treason {} --adopt
"""
UNITS = (
    "treason.service",
    "treason-pass.service",
    "treason.timer",
    "nftables.service.d/treason.conf",
)


@pytest.fixture
def directory(tmp_path: Path, mocker: MockerFixture) -> Path:
    """A directory for units; systemctl does nothing, and we are root."""
    directory = tmp_path / "units"
    (directory / "nftables.service.d").mkdir(parents=True)
    for name in ("STATE", "RUNTIME"):
        mocker.patch.object(sandbox, name, tmp_path)
    mocker.patch.object(unit_files, "DIRECTORY", directory)
    see_through(tmp_path, mocker)
    mocker.patch.object(sys, "executable", "/opt/treason/bin/python")
    mocker.patch("os.geteuid", return_value=0)
    mocker.patch.object(installing, "run")
    return directory


def test_what_a_link_leads_to_is_never_overwritten(place: Place, directory: Path) -> None:
    """A masked unit is a link to /dev/null; adopted, the unit takes the place of the link alone."""
    others = place.path / "others"
    others.write_text(MINE)
    unit = directory / "treason.service"
    unit.symlink_to(others)
    assert place.treason("init", "--systemd").code == 1
    assert unit.is_symlink()
    result = place.treason("init", "--systemd", "--adopt")
    assert (result.code, others.read_text()) == (0, MINE)
    assert not unit.is_symlink()
    assert " run " in unit.read_text()
    assert place.treason("init", "--systemd", "--undo").code == 0
    assert sorted(each.name for each in directory.iterdir()) == []


def files(directory: Path) -> dict[str, str]:
    """Return the text of every unit."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_text() for path in found}


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_that_was_not_written_stays(place: Place, directory: Path, name: str) -> None:
    """Nothing else is written beside it, and it is not removed; --adopt replaces it."""
    (directory / name).write_text(MINE)
    for command in (["init", "--systemd"], ["init", "--systemd", "--undo"]):
        refused = place.treason(*command)
        assert refused.code == 1
        assert refused.err == REFUSED.format(directory / name, " ".join(command))
        assert files(directory) == {name: MINE}
    assert place.treason("init", "--systemd", "--adopt").code == 0
    assert MINE not in files(directory).values()
    assert place.treason("init", "--systemd", "--undo").code == 0
    assert files(directory) == {}


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_that_somebody_changed_stays(place: Place, directory: Path, name: str) -> None:
    """Until it is as it was, or adopted."""
    assert place.treason("init", "--systemd").code == 0
    right = files(directory)
    with (directory / name).open("a") as unit:
        unit.write("# by hand\n")
    changed = files(directory)
    for undo in ([], ["--undo"]):
        refused = place.treason("init", "--systemd", *undo)
        assert refused.code == 1
        assert "somebody has changed it since `treason init`" in refused.err
        assert files(directory) == changed
    (directory / name).write_text(right[name])
    assert place.treason("init", "--systemd").code == 0
    assert place.treason("init", "--systemd", "--undo").code == 0
    assert files(directory) == {}


def test_what_we_wrote_for_another_configuration_is_replaced(place: Place, directory: Path) -> None:
    """And a unit that is no longer needed is removed, as long as it is ours."""
    place.configure(main='backends = ["ipset"]')
    assert place.treason("init", "--systemd").code == 0
    place.configure(main='sources = ["journal"]')
    early = directory / "treason-early.service"
    text = early.read_text()
    early.write_text(MINE)
    assert place.treason("init", "--systemd").code == 1
    assert early.read_text() == MINE
    early.write_text(text)
    assert place.treason("init", "--systemd").code == 0
    assert not early.exists()
    assert "systemd-journal" in (directory / "treason.service").read_text()


def test_what_is_equal_needs_no_mark(place: Place, directory: Path) -> None:
    """The database may be another one since."""
    assert place.treason("init", "--systemd").code == 0
    before = files(directory)
    with sqlite3.connect(place.database) as database:
        database.execute("DELETE FROM marks")
    database.close()
    assert place.treason("init", "--systemd").code == 0
    assert files(directory) == before


def test_without_a_mark_no_unit_is_written(
    place: Place, directory: Path, mocker: MockerFixture
) -> None:
    """Or it could not be replaced or removed later."""
    mocker.patch.object(Marks, "keep", side_effect=StoreError("the disk is full", "free some"))
    result = place.treason("init", "--systemd")
    assert (result.code, files(directory)) == (1, {})
    assert "the disk is full" in result.err


def dynamic(path: Path, flags: str) -> Kernel:
    """A kernel with dynamic debug, as files; an order makes the flags what it says."""
    line = (
        "net/ipv4/tcp_timer.c:500 [tcp_timer]tcp_retransmit_timer ={}"
        ' "Peer %pI4:%u/%u unexpectedly shrunk window %u:%u (repaired)"\n'
    )

    def write(control: Path, order: str) -> None:
        control.write_text(line.format("p" if order.endswith("=p") else "_"))

    kernel = Kernel("6.1.0", path / "proc", path / "debug", path / "tmpfiles.d", write)
    kernel.control.parent.mkdir(parents=True)
    kernel.tmpfiles.mkdir()
    kernel.control.write_text(line.format(flags))
    return kernel


@pytest.mark.parametrize("turn", [turn_on, turn_off])
def test_what_somebody_lets_systemd_do_at_boot_stays(
    tmp_path: Path, mocker: MockerFixture, turn: Callable[[Kernel], Iterator[str]]
) -> None:
    """A file of our name in tmpfiles.d is not ours by that; the kernel is not switched either."""
    mocker.patch("os.geteuid", return_value=0)
    kernel = dynamic(tmp_path, "_")
    before = kernel.control.read_text()
    kernel.persistent.write_text("d /run/treason 0700 me me\n")
    with pytest.raises(TreasonError, match="was not written by `treason init`"):
        list(turn(kernel))
    assert kernel.persistent.read_text() == "d /run/treason 0700 me me\n"
    assert kernel.control.read_text() == before


def test_what_was_written_for_another_kernel_is_ours(tmp_path: Path, mocker: MockerFixture) -> None:
    """It was controlled in debugfs before Linux 5.7."""
    mocker.patch("os.geteuid", return_value=0)
    kernel = dynamic(tmp_path, "_")
    old = f"{kernel_message.Kernel('5.4', kernel.proc, kernel.debugfs).control}"
    assert list(turn_on(kernel))
    text = kernel.persistent.read_text()
    kernel.persistent.write_text(text.replace(str(kernel.control), old))
    assert list(turn_on(kernel))
    assert kernel.persistent.read_text() == text
    kernel.persistent.write_text(text.replace(str(kernel.control), old))
    assert list(turn_off(kernel))
    assert not kernel.persistent.exists()
