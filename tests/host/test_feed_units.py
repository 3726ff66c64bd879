"""The units of feeds: what one may do, who reads it, and how they are installed and removed."""

import grp
import os
import re
from pathlib import Path

import pytest
from attrs import evolve
from harness import REAL_ROOT, ROOT, Place
from pytest_mock import MockerFixture
from systemd import exposure, without_systemd

from reconciler import Needs
from reconciler.config import feeds, tables
from reconciler.config.setup import Setup
from reconciler.errors import PluginError, TreasonError
from reconciler.execute import CommandFailed, run
from reconciler.feeds import outbox
from reconciler.feeds.outbox import Told
from reconciler.host import feed_units, installing, sandbox, unit_files, units
from reconciler.host.feed_units import FeedUnit
from reconciler.host.sandbox import Asked
from reconciler.host.units import Services
from reconciler.network import Network

NEEDY = FeedUnit(
    "y", 90, frozenset({"adm"}), publishes=True, secrets=("/etc/treason/y.key", "/root/100%-%h")
)
PRIVILEGED = ("treason.service", "treason-pass.service", "treason-restore.service")


@pytest.fixture(autouse=True)
def called(tmp_path: Path, mocker: MockerFixture) -> list[list[str]]:
    """A directory for units, and the commands that systemd would get."""
    return without_systemd(tmp_path, mocker)


def write(place: Place, *feeds: str, more: str = "") -> None:
    """Write a configuration with these feeds, each of a list that all may read."""
    listed = place.path.with_name(f"{place.path.name}.list")
    listed.write_text("192.0.2.1\n")
    tables = "".join(f'[feed.{feed}]\ntype = "list"\npath = "{listed}"\n' for feed in feeds)
    place.configure(tables + more)


def install(place: Place, *options: str) -> str:
    """Install the units, and return what is told."""
    result = place.treason("init", "--systemd", *options)
    assert result.code == 0, result.err
    return result.out


def refused(place: Place) -> str:
    """Return why nothing is installed; nothing is made either."""
    before = place.snapshot()
    result = place.treason("init", "--systemd")
    assert (result.code, place.snapshot()) == (1, before)
    assert result.err.count("\n") == 2
    return result.err


def names() -> set[str]:
    """Return the files that are there for feeds."""
    found = (str(p.relative_to(unit_files.DIRECTORY)) for p in unit_files.DIRECTORY.rglob("*"))
    return {path for path in found if "feed" in path}


def test_systemd_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    """`systemd-analyze verify` says nothing, whatever one needs."""
    both = Services(feeds=(FeedUnit("x"), NEEDY))
    for name, text in units.texts("/bin/true", tables.DEFAULT, both).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    instances = [unit for feed in both.feeds for unit in (feed.service, feed.timer)]
    done = run(["systemd-analyze", "verify", *(str(tmp_path / unit) for unit in instances)])
    assert done.output + done.error == ""


def test_the_exposure_is_small() -> None:
    """As `systemd-analyze security` counts; there is a network, and no capability."""
    service = ROOT / "conf/systemd/treason-feed@.service"
    assert exposure(service) <= 1.2
    lines = service.read_text().splitlines()
    assert "CapabilityBoundingSet=" in lines
    assert not [line for line in lines if line.startswith("AmbientCapabilities")]


@pytest.mark.parametrize("loopback", [False, True])
def test_who_enforces_reads_what_feeds_say_and_reaches_nobody(*, loopback: bool) -> None:
    """By their group alone: no address but this machine's own, and that for `sockets` only."""
    asked = [Asked("source 'toy'", None, Needs(loopback=loopback))]
    services = Services.of(asked, [FeedUnit("x")])
    texts = units.texts("/bin/true", tables.DEFAULT, services)
    for name in PRIVILEGED:
        assert "SupplementaryGroups=treason-feed\n" in texts[name]
        assert "IPAddressDeny=any\n" in texts[name]
        families = "AF_UNIX AF_NETLINK AF_INET" if loopback else "AF_UNIX AF_NETLINK"
        assert f"RestrictAddressFamilies={families}\n" in texts[name]
        allowed = re.findall("^IPAddressAllow=(.*)$", texts[name], re.MULTILINE)
        assert allowed == (["localhost"] if loopback else [])
    without = units.texts("/bin/true", tables.DEFAULT, Services.of(asked))
    assert "treason-feed" not in "".join((*without, *without.values()))


def test_one_feed_gets_what_it_needs() -> None:
    """The hour and no group are in the templates; a file beside them says what differs."""
    assert FeedUnit("x").texts() == {}
    texts = NEEDY.texts()
    assert texts["treason-feed@y.timer.d/treason.conf"].endswith("OnUnitInactiveSec=90\n")
    service = texts["treason-feed@y.service.d/treason.conf"].splitlines()
    assert service[:4] == [
        "[Service]",
        "SupplementaryGroups=adm",
        "LoadCredential=etc-treason-y.key:/etc/treason/y.key",
        "LoadCredential=root-100_25_2d_25h:/root/100%%-%%h",
    ]
    assert "BindReadOnlyPaths=-/var/lib/treason/outbox" in service


def test_the_places_are_the_same_everywhere() -> None:
    """Where the configuration looks for a feed's file is where its service writes."""
    assert feeds.STORES == feed_units.STORES
    assert (
        f"StateDirectory={feed_units.STORES.name}/%i\n"
        in (ROOT / "conf/systemd/treason-feed@.service").read_text()
    )


def test_init_installs_the_configured_feeds(place: Place, called: list[list[str]]) -> None:
    """Their users come first, and each is read at once, again and again."""
    write(place, "one", "two", more='refresh = "10m"\n')
    told = install(place)
    assert names() == {
        "treason-feed@.service",
        "treason-feed@.timer",
        "treason-feed@two.timer.d",
        "treason-feed@two.timer.d/treason.conf",
    }
    service = (unit_files.DIRECTORY / "treason-feed@.service").read_text()
    assert f"-m reconciler --config {place.config} feed run %i\n" in service
    assert unit_files.USERS.read_text() == (
        "g treason-feed -\n"
        'u treason-feed-one -:treason-feed "treason\'s feed one" /var/lib/treason-feed/one -\n'
        'u treason-feed-two -:treason-feed "treason\'s feed two" /var/lib/treason-feed/two -\n'
    )
    one, two = "treason-feed@one", "treason-feed@two"
    assert called[:2] == [
        ["systemd-sysusers", str(unit_files.USERS)],
        ["systemctl", "daemon-reload"],
    ]
    started = called.index(["systemctl", "enable", f"{one}.timer", f"{two}.timer"])
    assert called[started + 1 :] == [
        ["systemctl", "try-restart", "--no-block", f"{one}.service", f"{two}.service"],
        ["systemctl", "restart", f"{one}.timer", f"{two}.timer"],
        ["systemctl", "start", "treason.service"],
    ]
    assert f"{one}.timer, {two}.timer: enabled and started\n" in told
    assert place.treason("config", "check", "--units").code == 0


def test_a_feed_that_publishes_sees_what_is_to_be_told_from_the_beginning(place: Place) -> None:
    """Its service is let into a directory that is there when it starts; what is there stays."""
    write(place, "one", "two", more='publish = ["own"]\n')
    install(place)
    [told] = (place.path / "outbox").glob("*.db")
    assert told.name == "two.db"
    assert outbox.read(told, 0) == []
    assert [path.stat().st_mode & 0o777 for path in (told.parent, told)] == [0o755, 0o644]
    outbox.write(told, [Told(Network.parse("192.0.2.1"))], 1)
    install(place)
    assert len(outbox.read(told, 0)) == 1


def test_systemd_makes_the_users(tmp_path: Path) -> None:
    """Each is in the group, and is who its unit says."""
    (tmp_path / "etc").mkdir()
    path = tmp_path / "users.conf"
    longest = FeedUnit("abcdefghijklmnop-_")
    path.write_text(feed_units.users([FeedUnit("x"), longest]))
    run(["systemd-sysusers", f"--root={tmp_path}", str(path)])
    users = {row.split(":")[0]: row.split(":") for row in
             (tmp_path / "etc/passwd").read_text().splitlines()}  # fmt: skip
    group = re.findall("^treason-feed:x:([0-9]+):", (tmp_path / "etc/group").read_text())
    assert {user: [row[3]] for user, row in users.items()} == {
        "treason-feed-x": group,
        longest.user: group,
    }
    assert users["treason-feed-x"][5] == "/var/lib/treason-feed/x"


def test_a_feed_that_is_gone_is_stopped(place: Place, called: list[list[str]]) -> None:
    """Its file beside the templates goes, and the templates with the last feed."""
    write(place, "one", "two", more='refresh = "10m"\n')
    install(place)
    wants = unit_files.DIRECTORY / "timers.target.wants"
    wants.mkdir()
    for feed in ("one", "two"):  # as `systemctl enable` does
        (wants / f"treason-feed@{feed}.timer").symlink_to(tmp := place.path / "no such file")
        assert not tmp.exists()
    write(place, "one")
    due = place.treason("config", "check", "--units")
    assert {*due.out.partition(": not")[0].split(", ")} == {
        "treason-feed@two.timer.d/treason.conf", str(unit_files.USERS),
    }  # fmt: skip
    called.clear()
    told = install(place)
    assert ["systemctl", "disable", "--now", "treason-feed@two.timer"] in called
    assert ["systemctl", "stop", "treason-feed@two.service"] in called
    assert not [argv for argv in called if "disable" in argv and "treason-feed@one.timer" in argv]
    assert (
        "treason-feed@two.timer: disabled and stopped;"
        " /var/lib/treason-feed/two and its user stay\n" in told
    )
    assert names() == {
        "treason-feed@.service", "treason-feed@.timer",
        *(f"timers.target.wants/treason-feed@{feed}.timer" for feed in ("one", "two")),
    }  # fmt: skip
    write(place)
    install(place)
    assert names() == {f"timers.target.wants/treason-feed@{feed}.timer" for feed in ("one", "two")}
    assert not unit_files.USERS.exists()
    assert unit_files.USERS.parent.is_dir()


def test_undo_stops_and_removes_them(place: Place, called: list[list[str]]) -> None:
    """With all other units; by the list of what is enabled."""
    write(place, "one")
    install(place)
    wants = unit_files.DIRECTORY / "timers.target.wants"
    wants.mkdir()
    (wants / "treason-feed@one.timer").symlink_to(place.path / "no such file")
    called.clear()
    install(place, "--undo")
    assert called[:2] == [
        ["systemctl", "disable", "--now", "treason-feed@one.timer"],
        ["systemctl", "stop", "treason-feed@one.service"],
    ]
    assert {path.name for path in unit_files.DIRECTORY.iterdir()} == {"timers.target.wants"}
    assert not unit_files.USERS.exists()


def test_users_that_cannot_be_made_are_told(place: Place, mocker: MockerFixture) -> None:
    """Nothing is started without them."""

    def refuse(argv: list[str], **_: object) -> None:
        assert argv == ["systemd-sysusers", str(unit_files.USERS)]
        raise CommandFailed("systemd-sysusers: is not installed")

    mocker.patch.object(installing, "run", side_effect=refuse)
    write(place, "one")
    result = place.treason("init", "--systemd")
    assert result.code == 1
    assert result.err == (
        "treason: systemd-sysusers: is not installed\n"
        f"  each feed needs the user of its own that {unit_files.USERS} names\n"
    )


def test_users_of_somebody_elses_are_left(place: Place) -> None:
    """As units are."""
    unit_files.USERS.parent.mkdir()
    unit_files.USERS.write_text("u somebody -\n")
    write(place, "one")
    told = place.treason("init", "--systemd")
    assert f"{unit_files.USERS}: it was not written by `treason init`" in told.err
    assert (told.code, unit_files.USERS.read_text()) == (1, "u somebody -\n")
    install(place, "--adopt")
    assert "treason-feed-one" in unit_files.USERS.read_text()


def test_a_feed_writes_only_where_its_service_may(place: Place) -> None:
    """The refusal says where."""
    write(place, "one", more=f'store = "{place.path}/feed.db"\n')
    assert refused(place) == (
        f"treason: {place.path}/feed.db: the sandboxed service may only write to"
        " /var/lib/treason-feed/one\n"
        "  move it to /var/lib/treason-feed/one/feed.db, and set that path in [feed.one]\n"
    )


def test_the_user_of_a_feed_reads_the_configuration(place: Place) -> None:
    """It is nobody's secret then, also where the other services run as root."""
    listed = f'[backend.file]\npath = "{place.path}/blocked"\ncommand = ["true"]\n'
    place.configure(listed, main='backends = ["file"]')
    place.config.chmod(0o600)
    install(place)
    write(place, "one")
    place.config.chmod(0o600)
    assert f"{place.config}: the service's user may not read it" in refused(place)


def needing(**needs: object) -> FeedUnit:
    """Return the unit of a feed that needs this."""
    return FeedUnit.of("x", Needs(**needs), refresh=60, publishes=False)  # type: ignore[arg-type]  # by names


@pytest.fixture
def own(tmp_path: Path, mocker: MockerFixture) -> Path:
    """What no feed sees."""
    for name in ("STATE", "RUNTIME"):
        mocker.patch.object(sandbox, name, tmp_path / "own")
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


@pytest.mark.usefixtures("own")
def test_a_feed_reads_by_its_groups(tmp_path: Path) -> None:
    """A file of a group's is read by a member; what all may read needs nothing."""
    listed = tmp_path / "lists" / "list"
    listed.parent.mkdir()
    listed.write_text("")
    assert needing(reads=(str(listed),)).groups == frozenset()
    if REAL_ROOT:
        os.chown(listed, 0, 60)
        listed.chmod(0o640)
        assert needing(reads=(str(listed),)).groups == {grp.getgrgid(60).gr_name}


@pytest.mark.usefixtures("own")
def test_a_feed_gets_a_secret_from_anywhere(tmp_path: Path) -> None:
    """Root's own too, and one that is written later: systemd reads it, whenever it starts."""
    path = tmp_path / "own" / "key"
    assert needing(secrets=(str(path),)).secrets == (str(path),)
    path.touch(mode=0o600)
    assert needing(secrets=(str(path),)).groups == frozenset()


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ({"reads": ("closed/list",)}, "closed: the user of the feed's service may not read it"),
        ({"reads": ("own/list",)}, "own/list: the sandboxed service cannot see"),
        ({"writes": ("list",)}, "its plugin needs root, or writes files"),
        ({"root": True}, "its plugin needs root, or writes files"),
        ({"runs": ("no-such-program",)}, "would not find the program no-such-program"),
        ({"secrets": ("/etc/a key",)}, "'/etc/a key': a unit cannot name this secret"),
        ({"secrets": ("/etc/" + "-" * 90,)}, "a unit cannot name this secret"),
    ],
)
@pytest.mark.usefixtures("own")
def test_what_a_feed_cannot_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: dict[str, object], words: str
) -> None:
    """It gets no capability, whatever it needs, and sees nothing that treason remembers."""
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "closed" / "list").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TreasonError) as refusal:
        needing(**needs)
    assert refusal.value.what.startswith("feed 'x': ")
    assert words in refusal.value.what


def test_a_broken_plugin_is_named(place: Place, mocker: MockerFixture) -> None:
    """No unit is written by guess."""
    contested = {("feed", "list"): PluginError("two provide it")}
    plugins = evolve(Setup(str(place.config)).plugins, contested=contested)
    mocker.patch("reconciler.config.plugins.load", return_value=plugins)
    write(place, "one")
    result = place.treason("init", "--systemd")
    assert (result.code, "two provide it" in result.err) == (1, True)
