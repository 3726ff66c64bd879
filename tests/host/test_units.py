"""The systemd units: as shipped, valid, sandboxed; and their installation."""

import re
import sqlite3
from pathlib import Path

import pytest
from attrs import evolve
from harness import ROOT, Place
from pytest_mock import MockerFixture
from systemd import exposure, without_systemd

from reconciler import BackendPlugin, Needs, SourcePlugin
from reconciler.config import services, tables
from reconciler.config.setup import Setup
from reconciler.execute import CommandFailed, run
from reconciler.host import installing, sandbox, unit_files, units
from reconciler.host.feed_units import FeedUnit
from reconciler.host.sandbox import Asked, Sandbox
from reconciler.host.units import Services

SHIPPED = ROOT / "conf" / "systemd"


def test_the_shipped_units_are_what_init_renders(mocker: MockerFixture) -> None:
    """Their text stands in the code alone: for the shipped configuration, and for any feed."""
    mocker.patch.object(sandbox, "check")  # it is shipped to another place than this
    needed = services.services(Setup(str(ROOT / "conf" / "treason.toml")))
    rendered = units.texts(units.COMMAND, tables.DEFAULT, needed)
    with_feeds = units.texts(
        units.COMMAND, tables.DEFAULT, evolve(needed, feeds=(FeedUnit("any"),))
    )
    rendered |= {name: text for name, text in with_feeds.items() if "@" in name}
    shipped = {
        str(path.relative_to(SHIPPED)): path.read_text()
        for path in SHIPPED.rglob("*")
        if path.is_file()
    }
    assert shipped == rendered


@pytest.mark.parametrize(
    "services",
    [
        Services(),
        Services(reading=Sandbox(groups=frozenset({"adm", "tty"}))),
        Services(early=True),
        Services(resident=False),
        Services(
            Sandbox(root=True, writable=frozenset({Path("/etc/a b"), Path("/run")})),
            Sandbox(frozenset({"CAP_CHOWN"}), root=True, writable=frozenset({Path("/etc/a b")})),
        ),
        Services(reading=Sandbox(loopback=True)),
    ],
    ids=["kmsg", "groups", "early", "timer only", "root", "loopback"],
)
def test_systemd_finds_nothing_wrong_with_them(tmp_path: Path, services: Services) -> None:
    """`systemd-analyze verify` says nothing."""
    texts = units.texts("/bin/true", tables.DEFAULT, services)
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = sorted(str(path) for path in tmp_path.glob("treason*"))
    done = run(["systemd-analyze", "verify", *found])
    assert done.output + done.error == ""


@pytest.mark.parametrize(
    ("name", "source", "most"),
    [
        ("treason.service", "kmsg", 1.4),
        ("treason.service", "journal", 1.1),
        ("treason-pass.service", "kmsg", 1.4),
        ("treason.service", "sockets", 1.5),
        ("treason-pass.service", "sockets", 1.4),
        ("treason-restore.service", "kmsg", 1.1),
    ],
)
def test_the_exposure_is_small(
    place: Place, systemctl: list[list[str]], name: str, source: str, most: float
) -> None:
    """As `systemd-analyze security` counts; lower is better."""
    place.configure(main=f'sources = ["{source}"]')
    assert place.treason("init", "--systemd").code == 0
    unit = unit_files.DIRECTORY / name
    assert exposure(unit) <= most


@pytest.mark.parametrize(("way", "granted"), [("auto", True), ("bpf", True), ("dump", False)])
def test_only_the_daemon_gets_what_wakes_a_source(
    place: Place, systemctl: list[list[str]], way: str, *, granted: bool
) -> None:
    """And only where the source is configured, and may be woken so."""
    lines = {
        "AmbientCapabilities=CAP_NET_ADMIN CAP_BPF CAP_PERFMON",
        "CapabilityBoundingSet=CAP_NET_ADMIN CAP_BPF CAP_PERFMON",
        "LimitMEMLOCK=8M",
        "SystemCallFilter=bpf capset",
    }
    place.configure(f'[source.sockets]\nway = "{way}"', main='sources = ["sockets"]')
    assert place.treason("init", "--systemd").code == 0
    for path in unit_files.DIRECTORY.glob("*.service"):
        found = lines.intersection(path.read_text().splitlines())
        assert found == (lines if granted and path.name == "treason.service" else set())
    place.configure(f'[source.sockets]\nway = "{way}"', main='sources = ["dmesg"]')
    assert place.treason("init", "--systemd").code == 0
    assert "BPF" not in (unit_files.DIRECTORY / "treason.service").read_text()


def test_who_connects_to_this_machine_reaches_nothing_else(tmp_path: Path) -> None:
    """IPv4 is there then, for the loopback alone, and only for the services that read."""

    def asked(plugin: SourcePlugin | BackendPlugin, *, loopback: bool) -> Asked:
        return Asked("it", plugin, Needs(loopback=loopback))

    source = SourcePlugin("toy", lambda _settings: None, capabilities=("CAP_SYSLOG",))  # type: ignore[arg-type, return-value]  # it is not made
    backend = BackendPlugin("toy", lambda _settings: None)  # type: ignore[arg-type, return-value]  # likewise
    with_it, without = (
        units.texts("/bin/true", tables.DEFAULT, Services.of(services))
        for services in (
            [asked(source, loopback=True), asked(backend, loopback=False)],
            [asked(source, loopback=False), asked(backend, loopback=False)],
        )
    )
    more = "RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET\n"
    for name in ("treason.service", "treason-pass.service"):
        assert more in with_it[name]
        assert "IPAddressDeny=any\nIPAddressAllow=localhost\n" in with_it[name]
    assert "AF_NETLINK" in without["treason.service"]  # by it sockets are asked about
    assert "PrivateNetwork" not in without["treason.service"]  # or there were none of the machine
    assert with_it["treason-restore.service"] == without["treason-restore.service"]
    for text in (*without.values(), with_it["treason-restore.service"]):
        assert "AF_INET" not in text
        assert "IPAddressAllow" not in text
    unit = tmp_path / "treason.service"
    unit.write_text(with_it["treason.service"])
    assert exposure(unit) <= 1.7


@pytest.fixture
def systemctl(tmp_path: Path, mocker: MockerFixture) -> list[list[str]]:
    """A directory for units, and the commands that systemctl would get."""
    return without_systemd(tmp_path, mocker)


def test_init_installs_and_undo_removes(place: Place, systemctl: list[list[str]]) -> None:
    """The units name the configuration; the stored bans stay."""
    place.treason("ban", "192.0.2.7")
    result = place.treason("init", "--systemd")
    assert result.code == 0, result.err
    for name, does in (
        ("treason.service", "run"),
        ("treason-pass.service", "reconcile --scheduled"),
    ):
        service = (unit_files.DIRECTORY / name).read_text()
        assert f"-m reconciler --config {place.config} {does} --no-create\n" in service
    assert (unit_files.DIRECTORY / "nftables.service.d" / "treason.conf").is_file()
    assert systemctl == [
        ["systemctl", "daemon-reload"],
        ["systemctl", "restart", "--no-block", "treason.service"],
        ["systemctl", "enable", "treason.service"],
        ["systemctl", "enable", "treason.timer", "treason-restore.service"],
        ["systemctl", "restart", "treason.timer"],
        ["systemctl", "start", "treason.service"],
    ]
    systemctl.clear()
    undone = place.treason("init", "--systemd", "--undo")
    assert undone.code == 0
    assert list(unit_files.DIRECTORY.iterdir()) == []
    assert systemctl == [
        ["systemctl", "disable", "--now", "treason.timer"],
        ["systemctl", "disable", "--now", "treason.service"],
        ["systemctl", "disable", "treason-restore.service"],
        ["systemctl", "daemon-reload"],
    ]
    assert place.treason("list").out.startswith("192.0.2.7\t")


def installed() -> set[str]:
    """Return the names of the units."""
    return {path.name for path in unit_files.DIRECTORY.glob("treason*")}


def test_without_the_daemon_the_timer_runs_each_minute(
    place: Place, systemctl: list[list[str]]
) -> None:
    """And one goes over into the other: the daemon is stopped after the timer has begun."""
    assert place.treason("init", "--systemd", "--timer-only").code == 0
    assert installed() == {"treason-pass.service", "treason.timer", "treason-restore.service"}
    timer = unit_files.DIRECTORY / "treason.timer"
    assert "OnCalendar=minutely\n" in timer.read_text()
    assert not [argv for argv in systemctl if "treason.service" in argv]
    assert place.treason("config", "check", "--units").code == 0
    assert place.treason("init", "--systemd").code == 0
    assert "OnCalendar=*:0/10\n" in timer.read_text()
    assert "treason.service" in installed()
    systemctl.clear()
    result = place.treason("init", "--systemd", "--timer-only")
    daemon = unit_files.DIRECTORY / "treason.service"
    assert f"{daemon}: removed, nothing needs it any more\n" in result.out
    assert "treason.service" not in installed()
    started = systemctl.index(["systemctl", "restart", "treason.timer"])
    stopped = systemctl.index(["systemctl", "disable", "--now", "treason.service"])
    assert started < stopped
    assert systemctl[-1] == ["systemctl", "daemon-reload"]
    place.configure(main='sources = ["journal"]')
    due = place.treason("config", "check", "--units")
    assert due.code == 1
    assert "run: treason init --systemd --timer-only\n" in due.out


def test_an_old_installation_becomes_one_with_the_daemon(
    place: Place, systemctl: list[list[str]]
) -> None:
    """Its treason.service was the pass; it is due, and is replaced without being asked twice."""
    assert place.treason("init", "--systemd", "--timer-only").code == 0
    once, daemon = (unit_files.DIRECTORY / f"treason{name}.service" for name in ("-pass", ""))
    once.rename(daemon)
    with sqlite3.connect(place.database) as database:
        moved = "UPDATE marks SET object = ? WHERE object = ?"
        database.execute(moved, (str(daemon), str(once)))
    database.close()
    due = place.treason("config", "check", "--units")
    assert due.code == 1
    named = due.out.partition(": not")[0].split(", ")
    assert {"treason.service", "treason-pass.service"} <= {*named}
    result = place.treason("init", "--systemd")
    assert result.code == 0, result.err
    assert " run --no-create\n" in daemon.read_text()
    assert " reconcile --scheduled --no-create\n" in once.read_text()
    assert place.treason("config", "check", "--units").code == 0


def test_a_daemon_that_does_not_start_is_told(
    place: Place, systemctl: list[list[str]], mocker: MockerFixture
) -> None:
    """In two lines; the timer was started before."""

    def refuse(argv: list[str], **_: object) -> None:
        systemctl.append(argv)
        if argv == ["systemctl", "start", "treason.service"]:
            raise CommandFailed("systemctl start treason.service: ended with 1")

    mocker.patch.object(installing, "run", side_effect=refuse)
    result = place.treason("init", "--systemd")
    assert result.code == 1
    assert result.err == (
        "treason: systemctl start treason.service: ended with 1\n"
        "  systemd goes on trying, the timer enforces meanwhile: journalctl -u treason.service\n"
    )
    assert ["systemctl", "restart", "treason.timer"] in systemctl


def test_timer_only_is_about_the_units(place: Place) -> None:
    """Alone it means nothing."""
    result = place.treason("init", "--timer-only")
    assert (result.code, "--timer-only goes with --systemd" in result.err) == (64, True)


def test_they_wait_for_the_mounts_and_create_no_database(
    place: Place, systemctl: list[list[str]]
) -> None:
    """Of what links lead to as well; each unit that reconciles."""
    real = place.path / "real"
    real.mkdir()
    place.config.rename(real / "treason.toml")
    place.config.symlink_to(real / "treason.toml")
    result = place.treason("init", "--systemd")
    assert result.code == 0, result.err
    for name in ("treason.service", "treason-pass.service", "treason-restore.service"):
        text = (unit_files.DIRECTORY / name).read_text()
        [mounts] = re.findall(r"^RequiresMountsFor=(.*)$", text, re.MULTILINE)
        assert mounts.split() == [
            *map(str, (place.config, real / "treason.toml", place.path)),
            str(place.path.parent / "private" / place.path.name),
        ]
        assert " --no-create" in text


def test_what_saved_rules_need_is_made_before_them(
    place: Place, systemctl: list[list[str]]
) -> None:
    """With the backend ipset only; without it the unit goes again."""
    early = unit_files.DIRECTORY / "treason-early.service"
    place.configure(main='backends = ["ipset"]')
    assert place.treason("init", "--systemd").code == 0
    text = early.read_text()
    assert "Before=netfilter-persistent.service iptables.service ip6tables.service\n" in text
    assert "ConditionPathExists=!/etc/iptables/ipsets\n" in text
    assert "reconcile --scheduled --no-create --no-scan\n" in text
    at_boot = ["treason-restore.service", early.name]
    assert ["systemctl", "enable", "treason.timer", *at_boot] in systemctl
    place.configure(main='backends = ["iptables"]')
    result = place.treason("init", "--systemd")
    assert f"{early}: removed" in result.out
    assert not early.exists()
    place.configure(main='backends = ["ipset"]')
    place.treason("init", "--systemd")
    assert place.treason("init", "--systemd", "--undo").code == 0
    assert ["systemctl", "disable", early.name] in systemctl
    assert not early.exists()


@pytest.mark.parametrize(
    ("key", "there", "table"),
    [
        ("database", "STATE", "treason"),
        ("lock", "RUNTIME", "treason"),
        ("socket", "RUNTIME", "run"),
    ],
)
def test_own_files_must_be_where_the_services_may_write(
    place: Place, systemctl: list[list[str]], key: str, there: str, table: str
) -> None:
    """The refusal names the place and the table; the daemon's socket is one of them."""
    elsewhere = place.path / "elsewhere" / key
    place.config.write_text(
        re.sub(
            f"^{key} = .*", f'{key} = "{elsewhere}"', place.config.read_text(), flags=re.MULTILINE
        )
    )
    result = place.treason("init", "--systemd")
    assert result.code == 1
    assert result.err == (
        f"treason: {elsewhere}: the sandboxed service may only write to {getattr(sandbox, there)}\n"
        f"  move it to {place.path / key}, and set that path in [{table}]\n"
    )
    assert (systemctl, list(unit_files.DIRECTORY.iterdir())) == ([], [])


@pytest.mark.parametrize("wrong", ["STATE", "RUNTIME", "executable"])
def test_what_the_sandbox_could_not_reach_is_refused(
    wrong: str, place: Place, systemctl: list[list[str]], mocker: MockerFixture, tmp_path: Path
) -> None:
    """Nothing is written, and the remedy is told."""
    if wrong == "executable":
        mocker.patch.object(sandbox, "HIDDEN", (Path("/root"),))
        mocker.patch.object(sandbox, "installation", return_value={Path("/root/venv/bin/python")})
    else:
        mocker.patch.object(sandbox, wrong, Path("/var/lib/other"))
    result = place.treason("init", "--systemd")
    assert result.code == 1
    assert "the sandboxed service" in result.err
    assert (systemctl, list(unit_files.DIRECTORY.iterdir())) == ([], [])


def test_odd_paths_are_quoted() -> None:
    """As systemd reads them: spaces, quotes and per cent signs."""
    texts = units.texts("/bin/true", Path('/etc/a b%/"c".toml'))
    assert (
        'ExecStart=/bin/true --config "/etc/a b%%/\\"c\\".toml" run --no-create\n'
        in texts["treason.service"]
    )
    assert 'ConditionPathExists=/etc/a b%%/"c".toml\n' in texts["treason.service"]


def test_systemd_puts_no_variable_into_a_path() -> None:
    """It would start with another configuration; where it only looks for one it puts none."""
    service = units.texts("/bin/true", Path("/etc/${HOME}/t.toml"))["treason.service"]
    assert 'ExecStart=/bin/true --config "/etc/$${HOME}/t.toml" run' in service
    assert "ConditionPathExists=/etc/${HOME}/t.toml\n" in service


def test_without_systemd_nothing_is_made(
    place: Place, mocker: MockerFixture, tmp_path: Path
) -> None:
    """The refusal names the line for cron."""
    mocker.patch.object(unit_files, "DIRECTORY", tmp_path / "none")
    before = place.snapshot()
    result = place.treason("init", "--systemd")
    assert result.code == 1
    assert re.search(r"\* \* \* \* \* root /\S+ .*reconcile", result.err)
    assert place.snapshot() == before


def test_the_units_allow_what_the_backends_need(place: Place, systemctl: list[list[str]]) -> None:
    """The matches of iptables ask the kernel about sets through a raw socket; nftables does not."""
    place.configure(main='backends = ["ipset"]')
    assert place.treason("init", "--systemd").code == 0
    for name in ("treason.service", "treason-restore.service"):
        text = (unit_files.DIRECTORY / name).read_text()
        assert re.search(r"^AmbientCapabilities=CAP_NET_ADMIN.* CAP_NET_RAW\b", text, re.MULTILINE)
        assert "AF_NETLINK AF_INET AF_INET6" in text
        assert "CAP_NET_RAW" not in (SHIPPED / name).read_text()


@pytest.mark.parametrize(
    ("sources", "capabilities", "groups"),
    [
        ('["kmsg"]', " CAP_SYSLOG", []),
        ('["dmesg"]', " CAP_SYSLOG", []),
        ('["journal"]', "", ["SupplementaryGroups=systemd-journal"]),
        ('["journal:/var/log/journal", "file:/var/log/kern.log"]', "",
         ["SupplementaryGroups=adm systemd-journal"]),
        ('["kmsg", "journal"]', " CAP_SYSLOG", ["SupplementaryGroups=systemd-journal"]),
        ("[]", "", []),
    ],
)  # fmt: skip
def test_the_units_allow_what_the_sources_need(
    place: Place, systemctl: list[list[str]], sources: str, capabilities: str, groups: list[str]
) -> None:
    """The kernel's buffer and its device only for who reads them; what enforces reads nothing."""
    place.configure(main=f"sources = {sources}")
    assert place.treason("init", "--systemd").code == 0
    service, restore = (
        (unit_files.DIRECTORY / name).read_text().splitlines()
        for name in ("treason.service", "treason-restore.service")
    )
    assert f"AmbientCapabilities=CAP_NET_ADMIN{capabilities}" in service
    assert [line for line in service if line.startswith("SupplementaryGroups=")] == groups
    assert ("DeviceAllow=/dev/kmsg r" in service) == bool(capabilities)
    assert ("BindReadOnlyPaths=-/dev/kmsg" in service) == bool(capabilities)
    assert ("ProtectKernelLogs=yes" in service) == (not capabilities)
    assert "PrivateDevices=yes" in service
    assert "CapabilityBoundingSet=CAP_NET_ADMIN" in restore
    assert "PrivateDevices=yes" in restore
    assert not [line for line in restore if line.startswith("SupplementaryGroups=")]


def test_a_group_that_is_not_there_is_left_out(
    place: Place, systemctl: list[list[str]], mocker: MockerFixture
) -> None:
    """Or systemd would not start the service at all."""
    mocker.patch("grp.getgrnam", side_effect=KeyError)
    place.configure(main='sources = ["journal"]')
    assert place.treason("init", "--systemd").code == 0
    assert "SupplementaryGroups" not in (unit_files.DIRECTORY / "treason.service").read_text()
