"""Units beside those that a package ships: which are written, which are enabled, and back again."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve
from harness import Place
from pytest_mock import MockerFixture
from systemd import Systemd, with_package

from reconciler.config.services import services
from reconciler.config.setup import Setup
from reconciler.execute import CommandFailed
from reconciler.host import installing, sandbox, unit_files, units
from reconciler.host.feed_units import FeedUnit

NFTABLES = "nftables.service.d/treason.conf"
RENEWED = "treason's units are up to date\n"
RESIDENT = {"treason.service", "treason.timer", "treason-restore.service"}


@pytest.fixture
def systemd(place: Place, tmp_path: Path, mocker: MockerFixture) -> Systemd:
    """A machine where the package was installed, and nothing else was done."""
    place.configure()
    systemd = with_package(tmp_path, mocker)
    mocker.patch("pwd.getpwnam", str)
    mocker.patch("grp.getgrnam", str)
    ship(place)
    return systemd


def ship(place: Place, version: str = "") -> None:
    """Let the package have the units of the configuration that is there now, and of any feed."""
    setup = Setup(str(place.config))
    needed = services(setup)
    feeds = evolve(needed, feeds=(FeedUnit("any"),))
    mounts = [place.config]
    texts = units.texts(units.COMMAND, place.config, needed, mounts)
    more = units.texts(units.COMMAND, place.config, feeds, mounts)
    texts |= {name: text for name, text in more.items() if "@" in name}
    for name, text in texts.items():
        if name != NFTABLES:
            (unit_files.SHIPPED / name).write_text(text + version)


def own() -> set[str]:
    """Return the files that are written where an administrator's are."""
    found = (path for path in unit_files.DIRECTORY.rglob("*") if path.parent.suffix != ".wants")
    return {str(path.relative_to(unit_files.DIRECTORY)) for path in found if not path.is_dir()}


def init(place: Place, *more: str) -> str:
    """Install the units; return what is told."""
    result = place.treason("init", "--systemd", *more)
    assert result.code == 0, result.err
    return result.out


def enabled_where(systemd: Systemd) -> dict[str, str]:
    """Return the last part of the directory of each enabled unit."""
    return {name: Path(where).name for name, where in systemd.enabled().items()}


def test_what_the_package_ships_is_not_written(place: Place, systemd: Systemd) -> None:
    """It is enabled and started; what beside nftables.service would be in force is written."""
    assert own() == set()
    assert not unit_files.in_use()
    told = init(place)
    assert own() == {NFTABLES}
    assert enabled_where(systemd) == dict.fromkeys(RESIDENT, "shipped")
    assert {"treason.service", "treason.timer"} <= systemd.running
    assert "treason.service: enabled and started\n" in told
    assert place.treason("config", "check", "--units").code == 0
    assert init(place)
    assert own() == {NFTABLES}


def test_undo_disables_what_is_shipped(place: Place, systemd: Systemd) -> None:
    """And removes what was written; the package's files stay. Twice is fine."""
    before = {path.name: path.read_text() for path in unit_files.SHIPPED.iterdir()}
    init(place)
    told = init(place, "--undo")
    assert "treason.service: disabled and stopped\n" in told
    assert "treason-restore.service: disabled\n" in told
    assert (own(), systemd.enabled(), systemd.running) == (set(), {}, set())
    assert [*unit_files.DIRECTORY.iterdir()] == []
    assert {path.name: path.read_text() for path in unit_files.SHIPPED.iterdir()} == before
    assert "disabled" not in init(place, "--undo")


def test_the_timer_alone_and_back(place: Place, systemd: Systemd) -> None:
    """Its timer is another than the package's; the shipped daemon is stopped and disabled."""
    init(place)
    told = init(place, "--timer-only")
    assert "treason.service: disabled and stopped\n" in told
    assert own() == {NFTABLES, "treason.timer"}
    assert enabled_where(systemd) == {
        "treason.timer": "units",
        "treason-restore.service": "shipped",
    }
    assert "treason.service" not in systemd.running
    assert unit_files.timer_only()
    assert place.treason("config", "check", "--units").code == 0
    told = init(place)
    assert f"{unit_files.DIRECTORY}/treason.timer: removed" in told
    assert own() == {NFTABLES}
    assert enabled_where(systemd) == dict.fromkeys(RESIDENT, "shipped")
    assert "treason.service" in systemd.running
    assert not unit_files.timer_only()


def test_another_configuration_and_back(place: Place, systemd: Systemd) -> None:
    """Units with other rights go before the package's, and are removed once nothing differs."""
    init(place)
    place.configure(main='sources = ["journal"]')
    assert place.treason("config", "check", "--units").code == 1
    init(place)
    assert own() == {NFTABLES, "treason.service", "treason-pass.service"}
    assert enabled_where(systemd) == {
        "treason.service": "units",
        "treason.timer": "shipped",
        "treason-restore.service": "shipped",
    }
    systemd.called.clear()
    place.configure()
    init(place)
    assert own() == {NFTABLES}
    assert enabled_where(systemd) == dict.fromkeys(RESIDENT, "shipped")
    assert not [argv for argv in systemd.called if "disable" in argv]
    assert "treason.service" in systemd.running


def test_what_a_package_lacks_is_written(place: Place, systemd: Systemd) -> None:
    """The unit for saved rules is in none, and goes again with the backend that needs it."""
    place.configure(main='backends = ["ipset"]')
    init(place)
    assert "treason-early.service" in own()
    assert "treason-early.service" in systemd.enabled()
    place.configure()
    init(place)
    assert own() == {NFTABLES}
    assert {*systemd.enabled()} == RESIDENT


def configure_feeds(place: Place, *names: str) -> None:
    """Configure feeds of a list that all may read."""
    listed = place.path.with_name(f"{place.path.name}.list")
    listed.touch()
    tables = (f'[feed.{name}]\ntype = "list"\npath = "{listed}"\n' for name in names)
    place.configure("".join(tables))


def test_a_feed_is_read_by_what_is_shipped(place: Place, systemd: Systemd) -> None:
    """By its template; who enforces has other groups. Once it is gone, its timer is disabled."""
    configure_feeds(place, "one")
    init(place)
    services = {"treason.service", "treason-pass.service", "treason-restore.service"}
    assert own() == {NFTABLES, *services}
    assert enabled_where(systemd)["treason-feed@one.timer"] == "shipped"
    place.configure()
    init(place)
    assert own() == {NFTABLES}
    assert {*systemd.enabled()} == RESIDENT


def another(place: Place, mocker: MockerFixture, systemd: Systemd) -> Path:
    """Install the units by a wheel's program, beside the package or before it."""
    program = place.path / "opt" / "treason"
    program.parent.mkdir()
    program.touch(mode=0o755)
    mocker.patch.object(sandbox, "program", return_value=program)
    init(place)
    assert own() == {NFTABLES, *RESIDENT, "treason-pass.service"}
    assert enabled_where(systemd) == dict.fromkeys(RESIDENT, "units")
    assert f"ExecStart={program} " in (unit_files.DIRECTORY / "treason.service").read_text()
    return program


def test_from_a_wheel_to_the_package_and_back(
    place: Place, systemd: Systemd, mocker: MockerFixture
) -> None:
    """One command changes over, and leaves nothing of the other; what was enabled stays enabled."""
    program = another(place, mocker, systemd)
    mocker.patch.object(sandbox, "program", return_value=Path(units.COMMAND))
    assert init(place, "--renew") == (
        f"{unit_files.DIRECTORY}/treason.service runs another treason, so no unit is renewed;"
        f" to change over: {units.COMMAND} init --systemd\n"
    )
    systemd.called.clear()
    init(place)
    assert own() == {NFTABLES}
    assert enabled_where(systemd) == dict.fromkeys(RESIDENT, "shipped")
    assert not [argv for argv in systemd.called if "disable" in argv]
    mocker.patch.object(sandbox, "program", return_value=program)
    init(place)
    assert own() == {NFTABLES, *RESIDENT, "treason-pass.service"}
    assert enabled_where(systemd) == dict.fromkeys(RESIDENT, "units")


def test_renewing_takes_nothing_from_the_package(
    place: Place, systemd: Systemd, mocker: MockerFixture
) -> None:
    """A wheel's program leaves enabled units of the package as they are, and says whose."""
    init(place)
    mocker.patch.object(sandbox, "program", return_value=place.path / "treason")
    assert init(place, "--renew") == (
        f"{unit_files.SHIPPED}/treason.service runs another treason, so no unit is renewed;"
        f" to change over: {place.path}/treason init --systemd\n"
    )
    assert own() == {NFTABLES}
    assert enabled_where(systemd) == dict.fromkeys(RESIDENT, "shipped")


def test_bin_is_the_same_directory(place: Place, systemd: Systemd, mocker: MockerFixture) -> None:
    """The package's program is known also by the name by which PATH may find it."""
    program = Path(units.COMMAND)
    (place.path / "b").symlink_to(program.parent)
    mocker.patch.object(sandbox, "program", return_value=place.path / "b" / program.name)
    init(place)
    assert own() == {NFTABLES}


def test_a_masked_unit_is_not_taken_over(place: Place, systemd: Systemd) -> None:
    """It is refused, until it is adopted: the mask goes, and the package's unit is in force."""
    mask = unit_files.DIRECTORY / "treason.service"
    mask.symlink_to("/dev/null")
    assert place.treason("init", "--systemd").code == 1
    assert mask.is_symlink()
    init(place, "--adopt")
    assert own() == {NFTABLES}
    assert "treason.service" in systemd.running


def test_a_changed_copy_of_a_shipped_unit_stays(place: Place, systemd: Systemd) -> None:
    """As one that init wrote."""
    init(place)
    copy = unit_files.DIRECTORY / "treason-pass.service"
    copy.write_text("[Service]\nExecStart=/bin/true\n")
    for command in ([], ["--undo"]):
        refused = place.treason("init", "--systemd", *command)
        assert (refused.code, "was not written by" in refused.err) == (1, True)
    assert copy.read_text() == "[Service]\nExecStart=/bin/true\n"
    assert "treason-pass.service" in place.treason("config", "check", "--units").out


def upgrade(place: Place, systemd: Systemd) -> None:
    """Unpack other units, as a newer package does; what runs goes on."""
    ship(place, "# newer\n")
    systemd.called.clear()


def restarted(systemd: Systemd) -> set[str]:
    """Return what was told to start again if it runs."""
    asked = (argv[2:] for argv in systemd.called if argv[1] == "try-restart")
    return {name for names in asked for name in names if name != "--no-block"}


def started(systemd: Systemd) -> list[list[str]]:
    """Return the commands that would start what does not run, or enable what is not enabled."""
    return [argv for argv in systemd.called if argv[1] in {"start", "restart", "enable"}]


def test_what_runs_is_renewed(place: Place, systemd: Systemd, mocker: MockerFixture) -> None:
    """Written anew, and restarted; what was written already is not written again."""
    place.configure(main='sources = ["journal"]')
    init(place)
    systemd.called.clear()
    assert init(place, "--renew") == f"{RENEWED}treason.timer, treason.service: restarted\n"
    texts = units.texts
    mocker.patch.object(
        units, "texts", lambda *words: {k: f"{t}# newer\n" for k, t in texts(*words).items()}
    )
    for path in unit_files.SHIPPED.iterdir():
        path.write_text(f"{path.read_text()}# newer\n")
    assert init(place, "--renew") == (
        f"{unit_files.DIRECTORY}/treason.service: written\n"
        f"{unit_files.DIRECTORY}/treason-pass.service: written\n"
        f"{unit_files.DIRECTORY}/{NFTABLES}: written\n"
        f"{RENEWED}treason.timer, treason.service: restarted\n"
    )
    assert restarted(systemd) == {"treason.timer", "treason.service"}
    assert ["systemctl", "daemon-reload"] in systemd.called
    assert started(systemd) == []
    assert {*systemd.enabled()} == RESIDENT


@pytest.mark.parametrize("enabled", [True, False])
def test_what_was_stopped_stays_so(place: Place, systemd: Systemd, *, enabled: bool) -> None:
    """As a package stops it before it unpacks, or by hand, or disabled as well."""
    init(place)
    systemd.running.clear()
    if not enabled:
        systemd.run(["systemctl", "disable", "treason.service"])
    before = systemd.enabled()
    systemd.called.clear()
    assert init(place, "--renew") == RENEWED
    assert systemd.enabled() == before
    assert ("treason.service" in before) is enabled
    assert (systemd.running, restarted(systemd), started(systemd)) == (set(), set(), [])


def test_a_mask_stays_when_units_are_renewed(place: Place, systemd: Systemd) -> None:
    """The others are renewed."""
    init(place)
    mask = unit_files.DIRECTORY / "treason.service"
    mask.symlink_to("/dev/null")
    systemd.running.discard("treason.service")
    systemd.called.clear()
    assert init(place, "--renew") == f"{RENEWED}treason.timer: restarted\n"
    assert mask.readlink() == Path("/dev/null")
    assert not [
        argv for argv in systemd.called if "treason.service" in argv[2:] and argv[1] != "is-active"
    ]
    assert {*systemd.enabled()} == RESIDENT


def test_the_timer_alone_is_renewed_as_such(place: Place, systemd: Systemd) -> None:
    """No daemon comes by it."""
    init(place, "--timer-only")
    systemd.called.clear()
    assert init(place, "--renew") == f"{RENEWED}treason.timer: restarted\n"
    assert own() == {NFTABLES, "treason.timer"}
    assert {*systemd.enabled()} == {"treason.timer", "treason-restore.service"}


def test_a_new_feed_is_not_begun_by_renewing(place: Place, systemd: Systemd) -> None:
    """Its units are written; an old one that is gone is stopped, and one that runs is restarted."""
    configure_feeds(place, "one", "two")
    init(place)
    configure_feeds(place, "two", "three")
    told = init(place, "--renew")
    assert "treason-feed@one.timer: disabled and stopped" in told
    feeds = {name for name in systemd.enabled() if "@" in name}
    assert feeds == {"treason-feed@two.timer"}
    assert "treason-feed@three.timer" not in systemd.running
    assert "treason-feed@two.timer" in restarted(systemd)


def test_where_nothing_is_enabled_nothing_is_renewed(place: Place, systemd: Systemd) -> None:
    """No database is begun either."""
    assert init(place, "--renew") == "no unit of treason's is enabled, so none is renewed\n"
    assert (own(), systemd.called, place.database.exists()) == (set(), [], False)


def test_where_systemd_does_not_run_nothing_is_renewed(place: Place, systemd: Systemd) -> None:
    """As in a chroot; nobody waits for it."""
    init(place)
    systemd.called.clear()
    installing.RUNNING.rmdir()
    assert init(place, "--renew") == "systemd does not run here, so no unit is renewed\n"
    assert systemd.called == []


def test_renewing_does_not_replace_what_somebody_changed(place: Place, systemd: Systemd) -> None:
    """It is told which, and nothing is restarted."""
    init(place)
    drop_in = unit_files.DIRECTORY / NFTABLES
    drop_in.write_text("# mine\n")
    systemd.called.clear()
    refused = place.treason("init", "--systemd", "--renew")
    assert refused.code == 1
    assert f"{drop_in}: somebody has changed it since" in refused.err
    assert (drop_in.read_text(), systemd.called) == ("# mine\n", [])
    assert init(place, "--renew", "--adopt").startswith(f"{drop_in}: written\n")


def test_a_daemon_that_does_not_come_back_is_told(
    place: Place, systemd: Systemd, mocker: MockerFixture
) -> None:
    """As when it is installed; the timer runs."""
    init(place)

    def refuse(argv: list[str], **options: object) -> object:
        if argv == ["systemctl", "try-restart", "treason.service"]:
            raise CommandFailed("systemctl try-restart treason.service: ended with 1")
        return systemd.run(argv, **options)

    mocker.patch.object(installing, "run", side_effect=refuse)
    result = place.treason("init", "--systemd", "--renew")
    assert (result.code, "journalctl -u treason.service" in result.err) == (1, True)
    assert "treason.timer" in systemd.running


def test_renewing_begins_no_database(place: Place, systemd: Systemd) -> None:
    """Where it is lost, that is told."""
    init(place)
    place.database.unlink()
    assert place.treason("init", "--systemd", "--renew").code == 1
    assert not place.database.exists()


@pytest.mark.parametrize(
    "more", [["--timer-only"], ["--undo"], ["--observe"], ["--new-database"], ["--kernel-message"]]
)
def test_renewing_goes_with_nothing_else(place: Place, more: list[str]) -> None:
    """It would not be clear what comes first."""
    assert place.treason("init", "--systemd", "--renew", *more).code == 64
    assert place.treason("init", "--renew").code == 64


def test_a_unit_that_was_forgotten_in_the_database_is_removed(
    place: Place, systemd: Systemd
) -> None:
    """One in the administrator's place that says what the package's says is nobody's loss."""
    text = (unit_files.SHIPPED / "treason.service").read_text()
    (unit_files.DIRECTORY / "treason.service").write_text(text)
    init(place)
    assert own() == {NFTABLES}
    with closing(sqlite3.connect(place.database)) as database:
        marks = [row[0] for row in database.execute("SELECT object FROM marks")]
    assert marks == [str(unit_files.DIRECTORY / NFTABLES)]


def test_renewing_follows_units_to_where_they_stand_now(place: Place, systemd: Systemd) -> None:
    """Systemd is led to the file that is in force, here and there."""
    init(place)
    place.configure(main='sources = ["journal"]')
    init(place, "--renew")
    assert enabled_where(systemd)["treason.service"] == "units"
    place.configure()
    init(place, "--renew")
    assert enabled_where(systemd) == dict.fromkeys(RESIDENT, "shipped")


def test_a_timer_of_ones_own_does_not_stop_the_daemon(place: Place, systemd: Systemd) -> None:
    """As `systemctl edit --full` makes one: what is enabled says that there is a daemon."""
    init(place)
    timer = (unit_files.SHIPPED / "treason.timer").read_text()
    (unit_files.DIRECTORY / "treason.timer").write_text(f"{timer}# mine\n")
    assert not unit_files.timer_only()
    told = place.treason("config", "check", "--units").out
    assert told.endswith("run: treason init --systemd\n")


def test_a_link_to_nowhere_makes_place_for_the_shipped_unit(place: Place, systemd: Systemd) -> None:
    """Or systemd would find none."""
    (unit_files.DIRECTORY / "treason.service").symlink_to(place.path / "nowhere")
    init(place)
    assert own() == {NFTABLES}
    assert enabled_where(systemd) == dict.fromkeys(RESIDENT, "shipped")
