"""Packets that pass beside 10,000 bans: a flood from somebody who is not banned."""

import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from bench.inputs import addresses
from bench.logs import lines
from bench.measure import Failed, Sample, program
from bench.run import Bench, Subject
from bench.station import Station
from reconciler.errors import TreasonError
from reconciler.execute import run
from reconciler.host.netns import HOST4, WITNESS4, Wire

WORK = "packets that pass"
NOBODY = "no bans"
BANS: Final = 10_000
_PORT: Final = "9999"
_SECONDS: Final = 1.0
_PATIENCE: Final = 0.5
_SOURCE: Final = Path(__file__).parent.parent / "flood.c"


def measure(bench: Bench) -> None:
    """Set up each firewall in a host of its own, with a cable to a peer; they take turns."""
    flood = bench.directory / "flood"
    run([program("gcc"), "-O2", "-o", str(flood), str(_SOURCE)])
    hosts: dict[str, tuple[str, Callable[[Station], None]]] = {NOBODY: ("nftables", _nothing)}
    for name in ("nftables", "ipset", "iptables-nft", "iptables-legacy"):
        hosts[f"treason, {name}"] = (name, _treason)
    for name in ("nft", "legacy"):
        hosts[f"original script, iptables-{name}"] = ("nftables", partial(_original, name))
    with ExitStack() as stack:
        subjects = []
        for name, (backend, make) in hosts.items():
            station = Station(bench.directory, backend, bench.database(BANS))
            stack.enter_context(station)
            try:
                make(station)
            except TreasonError as error:
                bench.note(f"{WORK}: {name}: {error}")
                continue
            wire = _wire(station)
            stack.callback(_unplug, station, wire)
            turn = partial(_flood, str(flood), station, wire)
            if name == NOBODY:
                subjects.append(Subject(name, 0, turn))
            else:
                subjects.append(Subject(name, BANS, turn, (NOBODY, 0)))
        bench.compare(WORK, subjects, rounds=5)


def _nothing(_: Station) -> None:
    """Leave the firewall empty."""


def _treason(station: Station) -> None:
    station.treason("reconcile", "--no-scan")


def _original(variant: str, station: Station) -> None:
    """Make the chain that the script would make, but at once."""
    rules = lines(f"-A TREASON -s {address}/32 -j DROP" for address in addresses(BANS))
    head = "*filter\n:TREASON - [0:0]\n-A INPUT -j TREASON\n-A TREASON -s 172.0.0.0/8 -j ACCEPT\n"
    script = station.path / "rules"
    script.write_text(f"{head}{rules}COMMIT\n")
    station.run([f"iptables-{variant}-restore", "--noflush", str(script)])


def _wire(station: Station) -> Wire:
    with station.entered():
        return Wire([])


def _unplug(station: Station, wire: Wire) -> None:
    with station.entered():
        wire.close()


def _flood(flood: str, station: Station, wire: Wire) -> Sample:
    """Send as much as goes for a second, and count what arrives a second."""
    receive = [*_on(1), flood, "receive", _PORT, str(_SECONDS + _PATIENCE)]
    with station.entered():
        receiver = subprocess.Popen(receive, stdout=subprocess.PIPE, text=True)
    try:
        if receiver.stdout is None or receiver.stdout.readline() != "ready\n":
            raise Failed("flood: the receiver does not start")
        with wire.peers.entered():
            run([*_on(0), flood, "send", WITNESS4, HOST4, _PORT, str(_SECONDS)])
        rate, _ = receiver.communicate()
    finally:
        receiver.kill()
        receiver.wait()
    return {"packets": float(rate)}


def _on(core: int) -> list[str]:
    """Return what keeps a program on a core of its own, where there are two."""
    return ["taskset", "-c", str(core)] if {0, 1} <= os.sched_getaffinity(0) else []
