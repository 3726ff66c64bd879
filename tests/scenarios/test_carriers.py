"""One genuine record of the kernel, on every carrier at once."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import REAL_ROOT, Place

from reconciler.execute import run
from reconciler.host.netns import Wire
from sources.kmsg import Kmsg

RULE = r"""
[[rule]]
name = "martian"
pattern = 'IPv4: martian source \S+ from (?P<address>\S+), on dev \S+'
confirm = "never"
"""
PEER = "198.51.100.78"
WAIT = 20


@pytest.fixture
def martian(kmsg: Callable[[str], None], wire: Callable[..., Wire]) -> str:
    """A record that the kernel wrote about a packet from an address that cannot be."""
    cable = wire(PEER)
    for setting in ("all/log_martians", "all/rp_filter", "host0/rp_filter"):
        Path(f"/proc/sys/net/ipv4/conf/{setting}").write_text("1")
    run(["ip", "route", "del", "default", "dev", "host0"])
    run(["ip", "route", "add", "192.0.2.0/24", "dev", "host0"])
    for _ in range(2 * WAIT):  # the kernel limits how often it tells
        cable.arriving([PEER])
        if told := [r for r in Kmsg().read(None, [f"from {PEER},"]) if r.trusted]:
            return told[-1].text
        threading.Event().wait(0.5)
    raise AssertionError("the kernel does not tell of martians")


@pytest.mark.kmsg
@pytest.mark.skipif(not REAL_ROOT, reason="only root can mount, and start a journald")
def test_a_record_counts_once_whichever_carriers_bring_it(martian: str, place: Place) -> None:
    """By /dev/kmsg, dmesg, a log of what dmesg printed, and a real journald's journal."""
    log = place.path / "kern.log"
    log.write_text(run(["dmesg", "--kernel", "--color=never"]).output)
    place.configure(RULE)
    script = place.path / "inside.py"
    script.write_text(INSIDE)
    argv = ["unshare", "--mount", sys.executable, *map(str, (script, martian, place.config, log))]
    environment = {**os.environ, "OUTSIDE": str(Path("/proc/self/ns/mnt").readlink())}
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=3 * WAIT, env=environment
    )
    assert done.returncode == 0, done.stderr
    readings = json.loads(done.stdout)["sources"]
    assert [reading["error"] for reading in readings] == [None] * 4
    first, *others = readings
    assert first["offences"] > 0
    assert PEER in first["bans"]
    assert [(each["offences"], each["bans"]) for each in others] == [(0, [])] * 3
    assert {each["known"] for each in others} == {first["offences"]}


INSIDE = r'''
"""Start a journald that sees no other's files, and scan once it has the record."""

import os
import subprocess
import sys
import time
from pathlib import Path

text, config, log = sys.argv[1:]
assert os.readlink("/proc/self/ns/mnt") != os.environ["OUTSIDE"]
for place in ("/run", "/var/log"):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place], check=True)
Path("/run/systemd/journal").mkdir(parents=True)
daemon = subprocess.Popen(["/lib/systemd/systemd-journald"], stderr=subprocess.DEVNULL)
try:
    deadline = time.monotonic() + 20
    look = ["journalctl", "--quiet", "--output=cat", "_TRANSPORT=kernel"]
    while text not in subprocess.run(look, capture_output=True, text=True).stdout:
        assert time.monotonic() < deadline, "journald did not store the record"
        time.sleep(0.1)
    sources = [f"--source={name}" for name in ("kmsg", "dmesg", f"file:{log}", "journal")]
    treason = [sys.executable, "-m", "reconciler", "--config", config]
    sys.exit(subprocess.run([*treason, "scan", "-o", "json", *sources]).returncode)
finally:
    daemon.kill()
    daemon.wait()
'''
