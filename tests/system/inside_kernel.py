"""What a booted kernel with dynamic debug tests of itself: the first boot, and the one after it."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

from shrinker import answered, shrink, tunnel

from sources.kmsg import Kmsg

REPORT = Path("/dev/ttyS1")
CONTROL = Path("/proc/dynamic_debug/control")
OFFENDERS = {"198.51.100.7": 8080, "198.51.100.8": 8081, "2001:db8:51::7": 8081}
"""With the port that each attacks: the second listener takes both families."""
FIRST = next(iter(OFFENDERS))
BYSTANDER = "198.51.100.9"
OURS = {4: "198.51.100.1", 6: "2001:db8:51::1"}
PIECE = b"x" * 100_000
EXPECTED = "all as expected"


def say(text: str) -> None:
    """Write a line of the report."""
    with REPORT.open("a") as report:
        report.write(f"{text}\n")


def treason(*words: str) -> str:
    """Run a command that must succeed."""
    done = subprocess.run(["treason", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout


def state() -> str:
    """What the program says of the kernel's message."""
    told = json.loads(treason("status", "-o", "json"))
    assert told["silent"] == {}, told
    return str(told["kernel_message"])


def flags() -> set[str]:
    """The flags of the places that print it, as the kernel lists them."""
    return set(re.findall(r"(?m)^net/ipv4/tcp_timer\.c:\S+ \S+ (=\S+) ", CONTROL.read_text()))


def serve(listener: socket.socket) -> None:
    """Send each who connects more than a window holds."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=connection.sendall, args=(PIECE,), daemon=True).start()


def server(peer: str) -> tuple[str, int]:
    """Return the address that a peer attacks."""
    return OURS[6 if ":" in peer else 4], OFFENDERS.get(peer, 8080)


def lines() -> list[str]:
    """The messages about shrunk windows in the buffer, with their facility."""
    found = Kmsg().read(None, ["unexpectedly shrunk window", "Probing zero-window"])
    return [f"facility {record.facility}: {record.text}" for record in found]


def first_boot() -> None:
    """Off at first; turned on, the genuine message leads to a ban, and to addped packets."""
    say(treason("init").rstrip())
    assert (state(), flags()) == ("off", {"=_"})
    assert "as root, turn it on: treason init --kernel-message" in treason("scan", "-v")
    listeners = [
        socket.create_server(("0.0.0.0", 8080)),
        socket.create_server(("::", 8081), family=socket.AF_INET6, dualstack_ipv6=True),
    ]
    for listener in listeners:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    with tunnel(f"{OURS[4]}/24", f"{OURS[6]}/64") as device:
        shrink(device, FIRST, server(FIRST))
        assert lines() == [], "a message that is off was printed"
        say(treason("init", "--kernel-message").rstrip())
        assert (state(), flags()) == ("on", {"=p"})
        for peer in OFFENDERS:
            assert answered(device, peer, server(peer)), peer
            shrink(device, peer, server(peer))
        assert answered(device, BYSTANDER, server(BYSTANDER))
        for line in lines():
            say(line)
        assert all(line.startswith("facility 0: ") for line in lines())
        say(treason("reconcile").rstrip())
        banned = json.loads(treason("list", "-o", "json"))["bans"]
        assert {ban["network"] for ban in banned} == set(OFFENDERS), banned
        for peer in OFFENDERS:
            assert not answered(device, peer, server(peer)), peer
        assert answered(device, BYSTANDER, server(BYSTANDER))
        say("the packets of those are dropped, those of others pass")
    say(EXPECTED)


def lost_records() -> None:
    """Overflow the buffer between two passes, and under a reader: the losses are exact."""
    Path("/proc/sys/kernel/printk_devkmsg").write_text("on\n")  # no limit for writers
    treason("scan")
    last = newest()
    flood()
    oldest = next(iter(Kmsg().read(None, ()))).sequence
    told = treason("scan")
    assert f"{(oldest or 0) - last - 1} records lost: overwritten" in told, (last, oldest, told)
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


def newest() -> int:
    """Return the number of the last record."""
    *_, last = Kmsg().read(None, ())
    return last.sequence or 0


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
