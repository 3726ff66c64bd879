"""Whether the daemon, where there is one, answers and can do its work."""

from collections.abc import Iterator

from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine
from reconciler.host.units import DAEMON


def check(machine: Machine) -> Iterator[Finding]:
    """Yield what hinders it."""
    how = machine.resident.status()
    if silence := machine.resident.silence:
        what, _, hint = silence.partition("\n")
        yield Finding(
            what,
            "as long as it cannot be asked, nothing is removed from the firewall",
            hint.strip() or f"systemctl restart {DAEMON}",
        )
    if how is None:
        return
    why = "what it enforces at once otherwise waits for the timer"
    for trouble in how.troubles:
        what, _, hint = trouble.partition("\n")
        yield Finding(
            f"the daemon is in trouble: {what}",
            why,
            hint.strip()
            or f"what it said of it: journalctl -u {DAEMON}; then: systemctl reload {DAEMON}",
        )
    if how.still is not None:
        yield Finding(
            f"the daemon {how.rests}", "it keeps nothing in force", machine.command("resume")
        )
    for pid in how.held:
        yield Finding(f"the daemon is held by process {pid}", why, f"wait for it, or: kill {pid}")
