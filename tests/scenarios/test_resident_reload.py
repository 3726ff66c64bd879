"""The daemon whose files change: at once where that lets somebody pass, else behind a while."""

import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from harness import Place
from residents import LINE, Resident, configure, drops, in_force, running, told, until

from reconciler import Network
from reconciler.host.netns import Wire
from reconciler.store.store import open_store

PEER, OTHER = "198.51.100.77", "203.0.113.5"
LISTED = f'networks = ["{PEER}"]\n'
NOBODY = "networks = []\n"

Cable = Callable[..., Wire]
Nft = Callable[..., str]


def in_place(path: Path, text: str) -> None:
    """Empty the file, and write it."""
    path.write_text(text)


def renamed(path: Path, text: str) -> None:
    """Write another file, and put it there."""
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


def made_anew(path: Path, text: str) -> None:
    """Delete the file, then make it."""
    path.unlink(missing_ok=True)
    path.write_text(text)


def link_swapped(path: Path, text: str) -> None:
    """Let a link lead to another file."""
    real = path.with_name(f"real-{time.monotonic_ns()}")
    real.write_text(text)
    link = path.with_name("link")
    link.symlink_to(real)
    link.replace(path)


def like_a_config_map(path: Path, text: str) -> None:
    """Let the link to a directory, by which all links lead, be another one."""
    directory = path.with_name(f"..{time.monotonic_ns()}")
    directory.mkdir()
    (directory / path.name).write_text(text)
    link = path.with_name("..data_tmp")
    link.symlink_to(directory.name)
    link.replace(path.with_name("..data"))
    if not path.is_symlink():
        path.unlink(missing_ok=True)
        path.symlink_to(f"..data/{path.name}")


@pytest.mark.parametrize("way", [in_place, renamed, made_anew, link_swapped, like_a_config_map])
def test_who_is_whitelisted_passes_at_once(
    place: Place, wire: Cable, way: Callable[[Path, str], None]
) -> None:
    """However the file is written; who is taken out of it is dropped again after a while."""
    cable = wire(PEER, OTHER)
    configure(place)
    whitelist = place.path / "whitelist.toml"
    place.treason("ban", PEER, OTHER)
    with running(place) as daemon:
        for _ in range(2):
            until(lambda: drops(PEER, OTHER))
            way(whitelist, LISTED)
            until(lambda: cable.arriving([PEER, OTHER]) == {PEER})
            until(lambda: not drops(PEER))
            way(whitelist, NOBODY)
            until(lambda: not cable.arriving([PEER]))
        assert "again and again" not in daemon.error


def test_a_directory_may_be_replaced(place: Place, wire: Cable) -> None:
    """With the configuration in it."""
    cable = wire(PEER)
    configure(place)
    etc = place.path / "etc"
    etc.mkdir()
    place.config.rename(etc / "treason.toml")
    place.config.symlink_to(etc / "treason.toml")
    place.treason("ban", PEER)
    with running(place):
        until(lambda: drops(PEER))
        new = place.path / "new"
        shutil.copytree(etc, new)
        (new / "whitelist.toml").write_text(LISTED)
        etc.rename(place.path / "old")
        new.rename(etc)
        until(lambda: cable.arriving([PEER]))


def test_nobody_who_is_whitelisted_is_dropped_while_an_editor_writes(
    place: Place, wire: Cable, nft: Nft
) -> None:
    """It empties the file, and somebody flushes our set again and again meanwhile."""
    cable = wire(PEER)
    configure(place)
    assert place.treason("ban", PEER, OTHER, "203.0.113.9").code == 0
    configure(place, f'[whitelist]\nnetworks = ["{OTHER}"]\n')
    whitelist = place.path / "whitelist.toml"
    whitelist.write_text(LISTED)
    text = place.config.read_text()
    with running(place) as daemon:
        for _ in range(10):
            place.config.write_text("")
            whitelist.write_text("")
            nft("flush set inet treason banned4")
            daemon.offend(PEER, OTHER)
            assert cable.arriving([PEER]) == {PEER}
            assert not drops(PEER)
            assert not drops(OTHER)
            whitelist.write_text(LISTED)
            place.config.write_text(text)
        until(lambda: drops("203.0.113.9"))
        assert not drops(PEER)
        assert not drops(OTHER)


@pytest.mark.parametrize("table", ["whitelist.toml", "treason.toml"])
def test_a_repair_goes_by_the_files_as_they_are(
    place: Place, wire: Cable, nft: Nft, table: str
) -> None:
    """A foreign flush right behind the change never lets the daemon drop who is whitelisted."""
    cable = wire(PEER, OTHER)
    configure(place)
    before = place.config.read_text()
    place.treason("ban", PEER, OTHER)
    with running(place):
        until(lambda: not cable.arriving([PEER, OTHER]))
        if table == "whitelist.toml":
            renamed(place.path / table, LISTED)
        else:
            renamed(place.config, f"{before}[whitelist]\n{LISTED}")
        nft("flush set inet treason banned4")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert cable.arriving([PEER]) == {PEER}
        until(lambda: not cable.arriving([OTHER]))


def test_a_changed_configuration_is_taken_after_a_second_of_quiet(place: Place, host: None) -> None:
    """Nobody has to ask for it; as long as it is written, it is left alone."""
    configure(place)
    text = place.config.read_text()
    with running(place) as daemon:
        daemon.forget()
        last, gap = time.monotonic(), 0.0  # a busy machine may leave it alone by chance
        for number in range(8):
            place.config.write_text(f"{text}[policy]\nthreshold = {number + 2}\n")
            last, gap = time.monotonic(), max(gap, time.monotonic() - last)
            time.sleep(0.25)
        daemon.hears("RELOADING")
        reloaded = [each for each in daemon.told if each.startswith("RELOADING")]
        usec = int(reloaded[0].split("MONOTONIC_USEC=")[1].split()[0])
        assert usec / 1e6 - last >= 1.0 or gap > 0.9
        daemon.hears("READY")
        daemon.offend(PEER)
        daemon.offend(OTHER, port=1)
        for port in range(2, 12):
            daemon.offend(OTHER, port=port)
        until(lambda: drops(OTHER))
        assert not drops(PEER)


WRONG: dict[str, tuple[Callable[[Place], object], str]] = {
    "no TOML": (lambda p: p.config.write_text("[treason\n"), "not valid TOML"),
    "key": (lambda p: append(p, "[policy]\nthresholt = 1\n"), "thresholt"),
    "value": (lambda p: append(p, "[policy]\nthreshold = 0\n"), "threshold"),
    "plugin": (lambda p: replaced(p, "file:", "nosuch:"), "nosuch"),
    "whitelist": (lambda p: listed(p, b'networks = ["300.1.2.3"]\n'), "300.1.2.3"),
    "no UTF-8": (lambda p: listed(p, b"\xff\xfe"), "UTF-8"),
    "directory": (lambda p: (p.path / "whitelist.toml").mkdir(), "whitelist.toml"),
    "everybody's": (lambda p: p.config.chmod(0o666), "every user may write"),
    "gone": (lambda p: p.config.unlink(), "not found"),
    "too much": (lambda p: append(p, "#" * (1 << 24)), "treason.toml"),
}


def pending(place: Place) -> int:
    """Return how many networks are not stored yet, as the status tells."""
    return int(told(place)["pending"])


def append(place: Place, text: str) -> None:
    """Write at the end of the configuration."""
    with place.config.open("a") as file:
        file.write(text)


def replaced(place: Place, old: str, new: str) -> None:
    """Write another word for one."""
    place.config.write_text(place.config.read_text().replace(old, new))


def listed(place: Place, text: bytes) -> None:
    """Write the whitelist."""
    (place.path / "whitelist.toml").write_bytes(text)


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_one_is_refused_in_one_line(place: Place, host: None, kind: str) -> None:
    """Nobody has to ask; the old one stays in force until it is mended, and then all is well."""
    configure(place)
    text = place.config.read_text()
    wrong, told = WRONG[kind]
    with running(place) as daemon:
        daemon.forget()
        wrong(place)
        os.utime(place.path)
        if kind == "everybody's":  # a mode is no change of what it says
            daemon.send(signal.SIGHUP)
        until(lambda: "treason: not reloaded" in daemon.error, daemon.error)
        lines = [each for each in daemon.error.splitlines() if "not reloaded" in each]
        assert len(lines) == 1
        assert told in lines[0]
        daemon.offend(PEER)
        until(lambda: drops(PEER))
        whitelist = place.path / "whitelist.toml"
        with suppress(FileNotFoundError):
            whitelist.rmdir() if whitelist.is_dir() else whitelist.unlink()
        place.config.write_text(text)
        place.config.chmod(0o600)
        if kind == "everybody's":
            daemon.send(signal.SIGHUP)
        until(lambda: "configuration: all is well again" in daemon.error, daemon.error)


def test_a_pass_that_failed_for_it_is_made_again_once_it_is_mended(place: Place, nft: Nft) -> None:
    """Not minutes later: nothing is wrong any more, and `status` says so."""
    configure(place)
    text = place.config.read_text()
    with running(place) as daemon:
        place.config.write_text("wrong")
        until(lambda: "treason: not reloaded" in daemon.error)
        nft("add element inet treason banned4 { 192.0.2.200 }")  # which only a pass takes out
        until(lambda: daemon.error.count("not valid TOML") > 1)
        failed = time.monotonic()
        place.config.write_text(text)
        until(lambda: "pass: all is well again" in daemon.error)
        assert time.monotonic() - failed < 8  # without this, it is made again after ten seconds
        until(lambda: place.treason("status").code == 0)


def test_signals_in_a_row_are_not_lost(place: Place, host: None) -> None:
    """Of two that come while a reload is under way, the configuration behind them is taken."""
    configure(place)
    with running(place) as daemon:
        text = place.config.read_text()
        for number in range(4):
            renamed(place.config, f"{text}[policy]\nthreshold = {5 - number}\n")
            daemon.send(signal.SIGHUP)
            daemon.send(signal.SIGHUP)
        daemon.forget()
        daemon.hears("woken by")
        daemon.offend(PEER)
        daemon.offend(OTHER, port=1)
        daemon.offend(OTHER, port=2)
        until(lambda: drops(OTHER))
        assert not drops(PEER)
        assert "not reloaded" not in daemon.error


def test_a_signal_during_the_first_pass(place: Place, host: None) -> None:
    """The daemon is ready behind it, and goes by what the files say."""
    configure(place)
    with (place.path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = place.start("run")
        control = place.path / "control"
        until(control.exists)
        configure(place, f"[whitelist]\n{LISTED}")
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        process.send_signal(signal.SIGHUP)
    try:
        until(lambda: place.treason("ban", OTHER).code == 0)
        with (place.path / "kern.log").open("a") as log:
            log.write(LINE.format(PEER, 1) + LINE.format("203.0.113.9", 1))
        until(lambda: drops("203.0.113.9"))
        assert drops(OTHER)
        assert not drops(PEER)
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_no_offender_is_lost_by_reloads(place: Place, host: None) -> None:
    """Nor do they wait for the passes that a reload makes: the reflexes go on."""
    configure(place)
    names = [f"198.51.{number // 250}.{number % 250 + 1}" for number in range(400)]
    with running(place) as daemon:
        text = place.config.read_text()
        with (place.path / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # no pass gets on meanwhile
            renamed(place.config, f"{text}[policy]\nban_for = '2h'\n")
            daemon.forget()
            daemon.send(signal.SIGHUP)
            daemon.hears("RELOADING")
            time.sleep(1)
            daemon.offend(*names[:200])
            until(lambda: drops(*names[:200]))
        for number in range(200, 400, 20):
            daemon.offend(*names[number : number + 20])
            daemon.send(signal.SIGHUP)
        until(lambda: drops(*names))
        until(lambda: pending(place) == 0)
    with open_store(place.database, write=False) as store:
        inside = store.offences.of([Network.parse("198.51.0.0/16")], 0)
    assert {str(each.address) for each in inside} == {*names}


def test_other_sources_go_on_where_they_were(place: Place, host: None) -> None:
    """A source that is added is read, one that stays is read from its cursor on."""
    configure(place)
    more = place.path / "more.log"
    more.touch()
    with running(place) as daemon:
        daemon.offend(PEER)
        until(lambda: drops(PEER))
        daemon.forget()
        configure(place)
        replaced(place, "kern.log", f'kern.log", "file:{more}')
        daemon.hears("READY")
        daemon.hears("more.log")
        more.write_bytes(daemon.log.read_bytes().replace(PEER.encode(), OTHER.encode()))
        until(lambda: drops(OTHER))
        daemon.offend("192.0.2.9")
        until(lambda: drops("192.0.2.9"))
        assert len(in_force()) == 3


def test_what_needs_a_restart_is_told(place: Place, host: None) -> None:
    """The socket stays where it was; the rest is taken, and another database followed."""
    configure(place)
    text = place.config.read_text()
    with running(place) as daemon:
        daemon.offend(PEER)
        until(lambda: drops(PEER))
        daemon.forget()
        renamed(place.config, text.replace("/control", "/other"))
        until(lambda: f"restart treason to use {place.path}/other" in daemon.error)
        daemon.hears("READY")
        daemon.offend(OTHER)
        until(lambda: drops(OTHER))
        renamed(place.config, text)
        until(lambda: "[run] socket: all is well again" in daemon.error)
        assert place.treason("ban", "203.0.113.9").code == 0
        assert drops("203.0.113.9")


def test_another_database_and_lock_are_followed(place: Place, host: None) -> None:
    """All that the sources still hold is read into it; commands find the daemon by it."""
    configure(place)
    with running(place) as daemon:
        daemon.offend(PEER)
        until(lambda: drops(PEER))
        text = place.config.read_text()
        daemon.forget()
        renamed(place.config, text.replace("/treason.db", "/new.db").replace("/lock", "/new"))
        daemon.hears("READY")
        daemon.hears("woken by")
        daemon.offend(OTHER)
        until(lambda: drops(PEER, OTHER))
        until(lambda: pending(place) == 0)
        assert len(place.treason("list", "-o", "json").json["bans"]) == 2


def test_a_backend_that_is_named_no_more_keeps_what_it_holds(place: Place, host: None) -> None:
    """It is said how to remove that."""
    configure(place)
    with running(place) as daemon:
        daemon.offend(PEER)
        until(lambda: drops(PEER))
        configure(place, main=f'backends = ["file:{place.path}/list"]')
        listed = place.path / "list"
        until(lambda: listed.exists() and PEER in listed.read_text())
        until(lambda: "treason teardown --backend nftables" in daemon.error)
        assert drops(PEER)


@pytest.mark.parametrize("gone", [False, True])
def test_a_reload_beside_a_database_that_is_gone_or_locked(
    place: Place, host: None, gone: bool
) -> None:
    """The new configuration is gone by at once; what is held goes on being kept in force."""
    configure(place)
    text = place.config.read_text()
    with running(place) as daemon:
        daemon.offend(PEER)
        until(lambda: drops(PEER))
        until(lambda: pending(place) == 0)
        with closing(sqlite3.connect(place.database, isolation_level=None)) as locked:
            if gone:
                place.database.rename(place.path / "away")
            else:
                locked.execute("BEGIN EXCLUSIVE")
            daemon.forget()
            renamed(place.config, f"{text}[policy]\nban_for = '2h'\n")
            daemon.hears("RELOADING")
            daemon.offend(OTHER)
            until(lambda: drops(PEER, OTHER))
        if gone:
            (place.path / "away").rename(place.database)
        until(lambda: pending(place) == 0)


def granting(*names: str) -> list[str]:
    """Return what runs a program as a unit's user, who has these and may use all files."""
    bounds = ",".join(["-all", "+net_admin", "+dac_override", *(f"+{name}" for name in names)])
    sets = [f"--{each}={bounds}" for each in ("inh-caps", "ambient-caps", "bounding-set")]
    return ["setpriv", "--reuid=65534", "--clear-groups", *sets]


def may_read_kernel_messages(daemon: Resident) -> bool:
    """Whether it has CAP_SYSLOG (34 in linux/capability.h)."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return bool(int(status.split("CapEff:")[1].split()[0], 16) >> 34 & 1)


def with_kmsg(place: Place) -> None:
    """Let it read the kernel's messages as well."""
    configure(place)
    replaced(place, "sources = [", 'sources = ["kmsg", ')


def test_what_only_a_start_gives_restarts_it(place: Place, host: None) -> None:
    """It keeps what the configuration needs; for more, the service manager starts it anew."""
    configure(place)
    place.treason("ban", OTHER)
    with running(place, by=granting("syslog", "net_raw")) as daemon:
        assert not may_read_kernel_messages(daemon)
        with_kmsg(place)
        assert daemon.process.wait(20) == 1
        assert daemon.error.count("needs CAP_SYSLOG") == 1
        assert drops(OTHER)
    with running(place, by=granting("syslog")) as daemon:
        assert may_read_kernel_messages(daemon)
        configure(place)
        daemon.forget()
        daemon.hears("READY")
        assert "grant" not in daemon.error


def test_what_the_unit_does_not_grant_ends_nothing(place: Place, host: None) -> None:
    """It says what is to be done, goes on with the rest, and reloads without an end."""
    with_kmsg(place)
    with running(place, by=granting()) as daemon:
        assert "the unit does not grant CAP_SYSLOG: treason init --systemd" in daemon.error
        daemon.forget()
        daemon.send(signal.SIGHUP)
        daemon.hears("READY")
        daemon.offend(PEER)
        until(lambda: drops(PEER))
        configure(place)
        until(lambda: "capabilities: all is well again" in daemon.error)


def test_without_a_service_manager_it_is_refused(place: Place, host: None) -> None:
    """In one line; nobody would start the daemon again."""
    configure(place)
    place.treason("ban", OTHER)
    errors = place.path / "errors"
    command = [sys.executable, "-P", "-m", "reconciler", "--config", str(place.config), "run"]
    with errors.open("wb") as sink:
        process = subprocess.Popen([*granting("syslog"), *command], stderr=sink)
    try:
        until(lambda: drops(OTHER))
        until((place.path / "control").exists)
        with_kmsg(place)
        until(lambda: "needs CAP_SYSLOG" in errors.read_text())
        assert "restart treason" in errors.read_text()
        place.treason("ban", PEER)
        until(lambda: drops(PEER))
    finally:
        process.terminate()
        assert process.wait(20) == 0
