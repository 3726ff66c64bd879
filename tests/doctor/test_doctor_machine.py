"""What the checks look at."""

import shlex
from pathlib import Path

from doctors import machine
from harness import Place

from reconciler.config.setup import Setup
from reconciler.doctor.machine import opened
from reconciler.errors import StoreError


def test_a_database_that_cannot_be_read(place: Place) -> None:
    """The machine is given all the same, and says why."""
    place.database.mkdir()
    with opened(Setup(str(place.config))) as seen:
        assert seen.store is None
        assert "not a regular file" in str(seen.refused)
        assert seen.stored(lambda store: store.identity, "nothing") == "nothing"


def test_what_cannot_be_asked_has_a_stand_in(place: Place) -> None:
    """So that one check does not stop the others."""

    def fails(_store: object) -> str:
        raise StoreError("damaged")

    with opened(Setup(str(place.config))) as seen:
        assert seen.stored(fails, "nothing") == "nothing"


def test_commands_are_for_a_shell(tmp_path: Path, place: Place) -> None:
    """Whatever the configuration's name is."""
    strange = Setup(str(tmp_path / "a b; c.toml"))
    seen = type(machine(place))(strange)
    words = shlex.split(seen.command("unban", "--", "x'y"))
    assert words == ["treason", "--config", str(tmp_path / "a b; c.toml"), "unban", "--", "x'y"]
    assert type(seen)(Setup(None)).command("resume") == "treason resume"


def test_what_a_backend_does_is_known(place: Place) -> None:
    """Whether packets are dropped here."""
    assert machine(place).drops_packets
    place.configure(f'[backend.file]\npath = "{place.path}/list"', main='backends = ["file"]')
    assert not machine(place).drops_packets
