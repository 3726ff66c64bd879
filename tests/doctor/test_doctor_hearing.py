"""Sources that cannot be read, or hear nothing."""

from doctors import machine, whats
from harness import SEED, Place

from reconciler.doctor import hearing


def test_a_log_that_is_not_there(place: Place) -> None:
    """It is named with the reason and the way out; one that has the kernel's lines is heard."""
    log = place.path / "kern.log"
    place.configure(f'[source.file]\npath = "{log}"\ntrusted = true', main='sources = ["file"]')
    [found] = hearing.check(machine(place))
    assert found.what.startswith(f"file sees no message of the kernel: cannot read {str(log)!r}: ")
    assert found.remedy == "name a readable log file"
    log.write_text("Aug 28 13:16:32 host sshd[7]: nothing of the kernel's\n")
    [found] = hearing.check(machine(place))
    assert "has no recent line of the kernel" in found.what
    log.write_text(SEED)
    assert whats(hearing.check, machine(place)) == []
