"""Units by what systemd says of them; on a machine without it nothing is said."""

from pathlib import Path

import pytest
from doctors import machine, whats
from harness import Place

from reconciler.doctor import installed
from reconciler.execute import CommandFailed
from reconciler.host import unit_files
from reconciler.host.units import Services

_WELL = {"LoadState": "loaded", "ActiveState": "active", "NeedDaemonReload": "no"}


def shown(name: str, **told: str) -> str:
    """Return what `systemctl show` prints of a unit."""
    rows = {"Id": name, **_WELL, "UnitFileState": "enabled", **told}
    return "".join(f"{key}={value}\n" for key, value in rows.items())


@pytest.mark.parametrize(
    ("text", "words", "remedy"),
    [
        (
            shown("treason.timer", UnitFileState="disabled"),
            "treason.timer is not enabled",
            "systemctl enable --now treason.timer",
        ),
        (
            shown("treason-restore.service", UnitFileState="disabled"),
            "treason-restore.service is not enabled",
            "systemctl enable treason-restore.service",
        ),
        (
            shown("treason.timer", ActiveState="inactive"),
            "treason.timer does not run",
            "systemctl start treason.timer",
        ),
        (
            shown("treason.service", LoadState="masked"),
            "treason.service is masked",
            "systemctl unmask treason.service",
        ),
        (
            shown("treason.service", NeedDaemonReload="yes"),
            "treason.service has changed on disk",
            "systemctl daemon-reload",
        ),
        (
            shown("treason-pass.service", ActiveState="failed", UnitFileState="static"),
            "treason-pass.service has failed",
            "see the reason: journalctl -u {0}; then: systemctl restart {0}".format(
                "treason-pass.service"
            ),
        ),
        (
            shown("treason.service", LoadState="bad-setting"),
            "treason.service is not loaded: bad-setting",
            "treason init --systemd",
        ),
        (
            shown("treason-feed@x.timer", UnitFileState="disabled"),
            "treason-feed@x.timer is not enabled",
            "systemctl enable --now treason-feed@x.timer",
        ),
        (
            shown("treason-feed@x.timer", ActiveState="inactive"),
            "treason-feed@x.timer does not run",
            "systemctl start treason-feed@x.timer",
        ),
        (
            shown("treason-feed@x.service", ActiveState="failed", UnitFileState="static"),
            "treason-feed@x.service has failed",
            "see the reason: journalctl -u {0}; then: systemctl restart {0}".format(
                "treason-feed@x.service"
            ),
        ),
    ],
    ids=lambda text: "" if "\n" in text else text.replace(" ", "-"),
)
def test_a_unit_that_does_not_do_its_work(text: str, words: str, remedy: str) -> None:
    """It is named, with the command; what is well beside it is not."""
    well = shown("treason-early.service") + "\n" + shown("treason.service")
    [found] = installed.judge(f"{text}\n{well}", "treason init --systemd")
    assert words in found.what
    assert found.remedy == remedy


def test_a_pass_by_a_timer_is_not_always_active() -> None:
    """Its service rests between two passes, and is not enabled by itself; nor is a feed's."""
    told = "\n".join(
        shown(name, ActiveState="inactive", UnitFileState="static")
        for name in ("treason-pass.service", "treason-feed@x.service")
    )
    assert [*installed.judge(told, "")] == []


def test_no_unit_at_all(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is systemd, and cron makes no pass either; without systemd nobody knows."""
    monkeypatch.setattr(unit_files, "DIRECTORY", tmp_path / "units")
    seen = machine(place, root=tmp_path)
    assert whats(installed.check, seen) == []
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    [found] = installed.check(seen)
    assert found.what.startswith("no unit of treason's is enabled")
    assert found.remedy == f"treason --config {place.config} init --systemd"
    (tmp_path / "etc/cron.d").mkdir(parents=True)
    (tmp_path / "etc/cron.d/treason").write_text("* * * * * root treason reconcile\n")
    assert whats(installed.check, seen) == []


def test_units_of_another_version(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are named, and made anew by the command."""
    units = tmp_path / "units"
    units.mkdir()
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    monkeypatch.setattr(unit_files, "DIRECTORY", units)
    monkeypatch.setattr(installed, "services", lambda _setup: Services())
    monkeypatch.setattr(installed, "run", lambda _argv: pytest.fail("asked"))
    monkeypatch.setattr(installed, "CommandFailed", pytest.fail.Exception)
    for path, text in unit_files.rendered(place.config, Services()).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    seen = machine(place, root=tmp_path)
    assert whats(installed.check, seen) == []
    (units / "treason.timer").write_text("[Timer]\nOnCalendar=daily\n")
    [found] = installed.check(seen)
    assert found.what.startswith("treason.timer is not as it should be")
    assert found.remedy == f"treason --config {place.config} init --systemd"


def test_what_a_package_ships_is_not_in_use_by_that(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is enabled until `init`; then systemd is asked about what is to run."""
    units, shipped = tmp_path / "units", tmp_path / "shipped"
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (units / "timers.target.wants").mkdir(parents=True)
    shipped.mkdir()
    names = ("treason.service", "treason.timer", "treason-pass.service", "treason-restore.service")
    for name in (*names, "treason-feed@.service"):
        (shipped / name).touch()
    asked: list[str] = []

    def show(argv: list[str]) -> object:
        asked.extend(argv[3:])
        raise CommandFailed("no systemd")

    monkeypatch.setattr(unit_files, "DIRECTORY", units)
    monkeypatch.setattr(unit_files, "SHIPPED", shipped)
    monkeypatch.setattr(installed, "run", show)
    monkeypatch.setattr(installed, "_due", lambda _machine: [])
    seen = machine(place, root=tmp_path)
    [found] = installed.check(seen)
    assert found.what.startswith("no unit of treason's is enabled")
    assert found.remedy == f"treason --config {place.config} init --systemd"
    assert asked == []
    timer = units / "timers.target.wants" / "treason.timer"
    timer.symlink_to("/nowhere/treason.timer")
    assert whats(installed.check, seen) == []
    assert asked == [*names]
    asked.clear()
    (units / "treason.timer").touch()  # as without the daemon
    assert whats(installed.check, seen) == []
    assert asked == [*names[1:]]


def test_what_reads_the_feeds(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its units are asked about, and who is to run them must exist."""
    units = tmp_path / "units"
    units.mkdir()
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    for name in ("treason.timer", "treason-feed@.service"):
        (units / name).write_text("")
    asked: list[str] = []

    def show(argv: list[str]) -> object:
        asked.extend(argv[3:])
        raise CommandFailed("no systemd")

    monkeypatch.setattr(unit_files, "DIRECTORY", units)
    monkeypatch.setattr(installed, "run", show)
    monkeypatch.setattr(installed, "_due", lambda _machine: [])
    assert whats(installed.check, machine(place, root=tmp_path)) == []
    place.configure('[feed.x]\ntype = "list"\npath = "/srv/list"')
    asked.clear()
    seen = machine(place, root=tmp_path)
    assert whats(installed.check, seen) == [
        "the user treason-feed-x, the group treason-feed do not exist"
    ]
    assert asked == ["treason.timer", "treason-feed@x.timer", "treason-feed@x.service"]
    for name in ("pwd.getpwnam", "grp.getgrnam"):
        monkeypatch.setattr(name, str)
    assert whats(installed.check, seen) == []
