"""What a booted kernel with dynamic debug tests of itself: the first boot, and the one after it."""

import json
import os
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path

from attacked import play, say, treason
from told import by_the_kernel

from sources.kmsg import Kmsg

CONTROL = Path("/proc/dynamic_debug/control")
EXPECTED = "all as expected"


def state() -> str:
    """What the program says of the kernel's message."""
    told = json.loads(treason("status", "-o", "json"))
    assert told["silent"] == {}, told
    return str(told["kernel_message"])


def flags() -> set[str]:
    """The flags of the places that print it, as the kernel lists them."""
    return set(re.findall(r"(?m)^net/ipv4/tcp_timer\.c:\S+ \S+ (=\S+) ", CONTROL.read_text()))


def first_boot() -> None:
    """With the message off at first, then on: an act of attackers each."""
    say(treason("init").rstrip())
    assert (state(), flags()) == ("off", {"=_"})
    assert "as root, turn it on: treason init --kernel-message" in treason("scan", "-v")
    well = play(1, state="off")
    say(treason("init", "--kernel-message").rstrip())
    assert (state(), flags()) == ("on", {"=p"})
    if play(2, state="on") and well:
        say(EXPECTED)


def lost_records() -> None:
    """Overflow the buffer between two passes, and under a reader: the losses are exact."""
    Path("/proc/sys/kernel/printk_devkmsg").write_text("on\n")  # no limit for writers
    before = ends()[1]
    treason("scan")
    after = ends()[1]
    flood()
    first, told, then = ends()[0], treason("scan"), ends()[0]
    lost = re.search(r"(\d+) records lost: overwritten", told)
    assert lost is not None, told
    # One number where nobody else writes, but the journal does when it is overrun.
    exact = range(first - after - 1, then - before)
    assert int(lost[1]) in exact, (exact, told)
    say(told.rstrip())
    source = Kmsg()
    reading = source.read(None, ())
    first = next(reading).sequence or 0
    flood()
    read = 1 + sum(1 for _ in reading)
    missing = int((source.cursor() or "").partition(":")[2]) - first + 1 - read
    [note] = source.notes()
    assert missing > 0
    assert note.startswith(f"{missing} records lost"), (missing, note)
    say(f"under a reader: {note}")


def ends() -> tuple[int, int]:
    """Return the numbers of the first and the last record."""
    first, *_, last = (record.sequence or 0 for record in Kmsg().read(None, ()))
    return first, last


def flood() -> None:
    """Write far more than the buffer holds."""
    with Path("/dev/kmsg").open("wb", buffering=0) as kmsg:  # each write is a record
        kmsg.writelines(f"<6>flood: {number} {'x' * 80}\n".encode() for number in range(20_000))


def second_boot() -> None:
    """The message is on again, by systemd-tmpfiles; undone, it is off."""
    assert (state(), flags()) == ("on", {"=p"})
    told = treason("scan")
    assert "was restarted since the last pass" in told, told
    say("after a reboot it is on again")
    say(treason("init", "--kernel-message", "--undo").rstrip())
    assert (state(), flags()) == ("off", {"=_"})
    lost_records()
    if by_the_kernel():
        say(EXPECTED)


def main() -> None:
    """Find out which boot this is, and end it."""
    reboot = False
    start = time.monotonic()
    try:
        if Path("/etc/tmpfiles.d/treason.conf").exists():
            second_boot()
        else:
            first_boot()
            reboot = True
    except BaseException:  # noqa: BLE001 - it goes into the report
        say(f"failed after {time.monotonic() - start:.0f} s:\n{traceback.format_exc()}")
    os.sync()
    subprocess.run(["systemctl", "reboot" if reboot else "poweroff"], check=False)
    sys.exit(0)


if __name__ == "__main__":
    main()
