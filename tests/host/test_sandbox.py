"""The sandbox of the installed services: it gives what is configured, or it is refused."""

import grp
import os
import sys
from pathlib import Path

import pytest
from harness import REAL_ROOT, Place, see_through
from pytest_mock import MockerFixture

from backends.iptables import persist
from reconciler import BackendPlugin, Needs, SourcePlugin, SourceUnreadable
from reconciler.config import compose
from reconciler.config.plugins import Plugins
from reconciler.config.tables import Config, Main
from reconciler.errors import PluginError, TreasonError
from reconciler.execute import run
from reconciler.host import installing, sandbox, unit_files, units
from reconciler.host.sandbox import Asked, Sandbox
from reconciler.planning import protection
from reconciler.toml.file import TomlFile

BOTH = ("treason.service", "treason-restore.service")
NAME, GROUP = "games", 60
"""A group that is on every Debian."""

as_root = pytest.mark.skipif(not REAL_ROOT, reason="gives files to a group")


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, mocker: MockerFixture) -> Path:
    """A directory for units; systemctl does nothing, and we are root."""
    directory = tmp_path / "units"
    directory.mkdir()
    for name in ("STATE", "RUNTIME"):
        mocker.patch.object(sandbox, name, tmp_path / "own")
    (tmp_path / "own").mkdir()
    mocker.patch.object(unit_files, "DIRECTORY", directory)
    see_through(tmp_path, mocker)
    mocker.patch("os.geteuid", return_value=0)
    mocker.patch.object(installing, "run")
    return directory


def configure(place: Place, text: str = "", *, main: str = "") -> None:
    """Write a configuration whose database is where the services may write."""
    own = place.path / "own"
    place.config.write_text(
        f'[treason]\ndatabase = "{own}/treason.db"\nlock = "{own}/lock"\n{main}\n{text}\n'
        f'[run]\nsocket = "{own}/control"\n'
    )


def installed(place: Place, name: str) -> list[str]:
    """Install the units, and return the lines of one."""
    result = place.treason("init", "--systemd")
    assert result.code == 0, result.err
    return (unit_files.DIRECTORY / name).read_text().splitlines()


def refused(place: Place) -> str:
    """Return why nothing is installed; nothing is made either."""
    before = place.snapshot()
    result = place.treason("init", "--systemd")
    assert result.code == 1
    assert place.snapshot() == before
    assert result.err.count("\n") <= 2
    return result.err


def with_list(path: Path, command: str = "[]") -> str:
    """Return the table of the backend file."""
    return f'[backend.file]\npath = "{path}"\ncommand = {command}\n'


def value(lines: list[str], key: str) -> str | None:
    """Return what a unit sets; None where it does not."""
    found = [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]
    return found[0] if found else None


@pytest.mark.parametrize("name", BOTH)
def test_a_list_can_be_replaced_where_it_is(place: Place, name: str) -> None:
    """Its directory is writable, its owner stays, and nothing else can be written."""
    where = place.path / "of nginx"
    where.mkdir()
    (place.path / "link").symlink_to(where / "blocked")
    configure(place, with_list(place.path / "link"), main='backends = ["nftables", "file"]')
    lines = installed(place, name)
    assert value(lines, "ReadWritePaths") == f'"-{where}"'
    assert (value(lines, "User"), value(lines, "DynamicUser")) == ("root", None)
    capabilities = (value(lines, "CapabilityBoundingSet") or "").split()
    assert {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_NET_ADMIN"} <= {*capabilities}
    assert lines.index("SystemCallFilter=@chown") > lines.index(
        "SystemCallFilter=~@privileged @resources"
    )
    assert "ProtectSystem=strict" in lines


@pytest.mark.parametrize("name", BOTH)
def test_a_list_in_our_own_directory_needs_nothing(place: Place, name: str) -> None:
    """The service stays who it is."""
    listed = with_list(place.path / "own" / "blocked")
    configure(place, listed, main='backends = ["file"]\nsources = []')
    lines = installed(place, name)
    assert value(lines, "ReadWritePaths") is None
    assert (value(lines, "User"), value(lines, "DynamicUser")) == ("treason", "yes")
    assert value(lines, "CapabilityBoundingSet") == "CAP_NET_ADMIN"


def test_a_command_is_run_by_root(place: Place) -> None:
    """A reload is for root; it is told."""
    listed = with_list(place.path / "own" / "blocked", '["true"]')
    configure(place, listed, main='backends = ["file"]')
    assert value(installed(place, BOTH[1]), "User") == "root"
    assert "the services run as root" in place.treason("init", "--systemd").out


def test_a_list_that_is_not_configured_needs_nothing(place: Place) -> None:
    """Its table alone is no backend."""
    configure(place, with_list(Path("/nowhere/blocked"), '["no-such-program"]'))
    assert value(installed(place, BOTH[0]), "User") == "treason"


def test_saved_rules_can_be_written(place: Place, mocker: MockerFixture, tmp_path: Path) -> None:
    """`persist` writes where the distribution reads them, and is refused where nothing does."""
    saved = persist.Place(tmp_path / "iptables", {4: "rules.v4", 6: "rules.v6"}, 0o640)
    mocker.patch.object(persist, "PLACES", (saved,))
    persistent = '[backend.iptables]\nvariant = "nft"\npersist = true'
    configure(place, persistent, main='backends = ["iptables"]')
    assert f"backend 'iptables': {saved.directory} does not exist" in refused(place)
    saved.directory.mkdir()
    for name in BOTH:
        lines = installed(place, name)
        assert value(lines, "ReadWritePaths") == f"-{saved.directory}"
        assert value(lines, "User") == "root"
    configure(place, persistent.replace("true", "false"), main='backends = ["iptables"]')
    assert value(installed(place, BOTH[0]), "ReadWritePaths") is None


@pytest.mark.parametrize("backend", ["ipset", "iptables"])
def test_the_lock_of_legacy_iptables_can_be_taken(place: Place, backend: str) -> None:
    """It is root's, in /run."""
    legacy = f'[backend.{backend}]\nvariant = "legacy"'
    configure(place, legacy, main=f'backends = ["{backend}"]')
    for name in BOTH:
        assert value(installed(place, name), "ReadWritePaths") == "-/run"


@pytest.mark.parametrize("command", ['["no-such-program"]', '["./reload"]', '["/etc/passwd"]'])
def test_a_command_that_the_service_would_not_find_is_refused(place: Place, command: str) -> None:
    """A service has another PATH, and another directory."""
    (place.path / "reload").write_text("#!/bin/sh\n")
    (place.path / "reload").chmod(0o755)
    configure(place, with_list(place.path / "blocked", command), main='backends = ["file"]')
    assert "backend 'file': the service would not find the program" in refused(place)


def test_a_secret_is_for_feeds_alone() -> None:
    """Whoever enforces reads what its capabilities let it."""
    asked = Asked("source 'toy'", None, Needs(secrets=("/etc/treason/key",)))
    with pytest.raises(
        TreasonError, match="source 'toy': its plugin needs a secret, which no"
    ) as e:
        Sandbox.of([asked], root=False)
    assert e.value.hint


@pytest.mark.parametrize("what", ["list", "log", "command", "configuration", "program"])
def test_what_the_sandbox_hides_is_refused(
    place: Place, mocker: MockerFixture, tmp_path: Path, what: str
) -> None:
    """Each by its name, also behind a link."""
    hidden = tmp_path / "home"
    hidden.mkdir()
    (hidden / "it").write_text("#!/bin/sh\n")
    (hidden / "it").chmod(0o755)
    link = tmp_path / "link"
    link.symlink_to(hidden / "it")
    mocker.patch.object(sandbox, "HIDDEN", (hidden,))
    configure(place)
    if what == "list":
        configure(place, with_list(link), main='backends = ["file"]')
    elif what == "command":
        configure(place, with_list(link.parent / "ok", f'["{link}"]'), main='backends = ["file"]')
    elif what == "log":
        configure(place, main=f'sources = ["file:{link}"]')
    elif what == "configuration":
        place.config.rename(hidden / "treason.toml")
        place.config.symlink_to(hidden / "treason.toml")
    else:
        mocker.patch.object(sandbox, "installation", return_value={link})
    said = refused(place)
    assert f"the sandboxed service cannot see {hidden}" in said
    assert str(hidden / ("treason.toml" if what == "configuration" else "it")) in said


@pytest.mark.parametrize("what", ["configuration", "whitelist", "program", "library"])
def test_what_the_user_of_the_service_may_not_read_is_refused(
    place: Place, mocker: MockerFixture, tmp_path: Path, what: str
) -> None:
    """The remedy is told, and it is one."""
    configure(place)
    place.treason("whitelist", "add", "192.0.2.1")
    library = tmp_path / "venv" / "lib"
    library.mkdir(parents=True)
    (library / "click.py").write_text("")
    mocker.patch.object(sandbox, "installation", return_value={library / "click.py"})
    closed = {
        "configuration": place.config,
        "whitelist": place.path / "whitelist.toml",
        "program": library.parent,
        "library": library / "click.py",
    }[what]
    closed.chmod(0o700)
    said = refused(place)
    assert f"treason: {closed}: the service's user may not read it" in said
    run(said.splitlines()[1].split())
    assert value(installed(place, BOTH[0]), "User") == "treason"


def test_root_reads_what_is_closed_to_others(place: Place) -> None:
    """Where the services run as root, nothing is refused for its mode."""
    configure(place, with_list(place.path / "blocked"), main='backends = ["file"]')
    place.config.chmod(0o600)
    assert value(installed(place, BOTH[0]), "User") == "root"


def test_the_installation_is_all_that_is_loaded(mocker: MockerFixture) -> None:
    """Python, the libraries and plugins, and the program that was started."""
    mocker.stopall()
    found = sandbox.installation()
    assert {Path(sys.executable), Path(units.__file__), Path(pytest.__file__)} <= found


def test_a_log_of_roots_alone_can_be_read(place: Place) -> None:
    """As /var/log/messages is on Red Hat; what only enforces reads none."""
    log = place.path / "messages"
    log.write_text("")
    log.chmod(0o600)
    os.chown(log, 0, 0)
    configure(place, main=f'sources = ["file:{log}"]')
    reading, enforcing = (
        value(installed(place, name), "CapabilityBoundingSet") or "" for name in BOTH
    )
    assert "CAP_DAC_READ_SEARCH" in reading
    assert "CAP_DAC_READ_SEARCH" not in enforcing
    assert "may read all files (CAP_DAC_READ_SEARCH)" in place.treason("init", "--systemd").out


@as_root
@pytest.mark.parametrize("closed", ["log", "directory", "olddir"])
def test_a_log_of_another_group_can_be_read(place: Place, closed: str) -> None:
    """The service becomes a member of the group, whichever part of the path it opens."""
    directory, old = place.path / "logs", place.path / "old"
    for each in (directory, old):
        each.mkdir()
        each.chmod(0o755)
    log = directory / "kern.log"
    log.write_text("")
    path = {"log": log, "directory": directory, "olddir": old}[closed]
    os.chown(path, 0, GROUP)
    path.chmod(0o750)
    configure(place, f'[source.file]\npath = "{log}"\nolddir = "../old"', main='sources = ["file"]')
    lines = installed(place, BOTH[0])
    groups = (value(lines, "SupplementaryGroups") or "").split()
    assert grp.getgrnam(NAME).gr_gid == GROUP
    assert NAME in groups
    assert "CAP_DAC_READ_SEARCH" not in (value(lines, "CapabilityBoundingSet") or "")


@as_root
@pytest.mark.parametrize(("mode", "key", "what"), [
    (0o640, "SupplementaryGroups", NAME), (0o600, "CapabilityBoundingSet", "CAP_DAC_READ_SEARCH"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["file", "directory", "missing"])
@pytest.mark.parametrize("name", BOTH)
def test_what_tells_of_resolvers_can_be_read(
    place: Place, mocker: MockerFixture, name: str, kind: str, mode: int, key: str, what: str
) -> None:
    """Each pass of both services asks; one that may not fails."""
    telling = place.path / "upstream"
    if kind == "file":
        telling.write_text("server=192.0.2.53\n")
    else:
        telling.mkdir()
        mode |= mode >> 2 & 0o111
    os.chown(telling, 0, GROUP)
    telling.chmod(mode)
    telling = telling / "none" if kind == "missing" else telling
    mocker.patch.object(protection, "places", return_value=[telling])
    configure(place)
    assert what in (value(installed(place, name), key) or "").split()
    configure(place, "[protect]\nresolvers = false")
    assert what not in (value(installed(place, name), key) or "").split()


def test_what_tells_of_resolvers_where_the_services_see_nothing_is_refused(
    place: Place, mocker: MockerFixture
) -> None:
    """A file that cannot be seen would tell nothing, and a resolver could be banned."""
    home = place.path / "home"
    home.mkdir()
    (home / "upstream").write_text("nameserver 192.0.2.53\n")
    mocker.patch.object(sandbox, "HIDDEN", (home,))
    mocker.patch.object(protection, "places", return_value=[home / "upstream"])
    configure(place)
    assert f"resolvers in [protect]: {home}/upstream: the sandboxed" in refused(place)


@pytest.mark.parametrize("name", ["new\nline", "bell\a", "byte\udcff"])
def test_what_no_unit_can_name_is_refused(place: Place, name: str) -> None:
    """The rest of the name would be a line of its own, and the unit would not start."""
    directory = place.path / name
    directory.mkdir()
    (directory / "log").write_text("")
    files = [directory / "log"]
    with pytest.raises(TreasonError) as refusal:
        sandbox.check(files, [], root=True)
    assert "a unit cannot name it" in refusal.value.what


@pytest.mark.parametrize("where", ["own", "elsewhere"])
def test_a_directory_that_does_not_exist_is_told(place: Place, where: str) -> None:
    """Nobody makes it, below the services' own directory either."""
    configure(place, with_list(place.path / where / "none" / "list"), main='backends = ["file"]')
    assert f"{where}/none does not exist, so list could not be written" in refused(place)


@pytest.mark.parametrize("kind", ["directory", "pipe", "loop"])
def test_a_list_that_is_no_file_is_refused(place: Place, kind: str) -> None:
    """No pass could write it."""
    path = place.path / "list"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path)
    configure(place, with_list(path), main='backends = ["file"]')
    assert f"backend 'file': {path}: is not a regular file" in refused(place)


@pytest.mark.parametrize("log", ["/dev/stdin", "/dev/kmsg", "/proc/kmsg"])
def test_a_device_is_no_log_of_a_service(place: Place, log: str) -> None:
    """It gets no device but that of the source that needs one."""
    configure(place, main=f'sources = ["file:{log}"]')
    assert f"source 'file': {log}: the sandboxed service may not read it" in refused(place)


def test_a_log_that_is_to_come_is_no_fault(place: Place) -> None:
    """Its directory is there; the pass says that it is missing."""
    configure(place, main=f'sources = ["file:{place.path}/kern.log"]')
    assert "CAP_DAC_READ_SEARCH" not in str(installed(place, BOTH[0]))


def test_standard_input_is_no_source_of_a_service(place: Place) -> None:
    """It has none: it would read nothing for ever."""
    configure(place, main='sources = ["file:-"]')
    assert "a service has nothing on its standard input" in refused(place)


@pytest.mark.parametrize("which", ["treason.db", "lock"])
def test_a_database_that_is_a_link_is_refused(place: Place, tmp_path: Path, which: str) -> None:
    """What it leads to could not be written."""
    configure(place)
    (tmp_path / "own" / which).symlink_to(tmp_path / "elsewhere")
    assert f"leads to {tmp_path}/elsewhere" in refused(place)


def test_where_systemd_keeps_them_is_their_own(place: Place, tmp_path: Path) -> None:
    """With DynamicUser both directories are links into `private` beside them."""
    (tmp_path / "own").rmdir()
    (tmp_path / "private" / "own").mkdir(parents=True)
    (tmp_path / "own").symlink_to("private/own")
    listed = with_list(tmp_path / "own" / "blocked")
    configure(place, listed, main='backends = ["file"]')
    (tmp_path / "own" / "lock").write_text("")
    assert value(installed(place, BOTH[0]), "User") == "treason"


def test_a_check_tells_that_the_units_are_for_another_configuration(place: Place) -> None:
    """Until they are written anew; whatever changed, and also a unit too many."""
    configure(place)
    place.treason("init", "--systemd")
    asked = place.treason("config", "check", "--units")
    assert (asked.code, asked.err) == (0, "")
    configure(place, with_list(place.path / "blocked"), main='backends = ["file", "ipset"]')
    asked = place.treason("config", "check", "--units")
    assert asked.code == 1
    due = ("treason.service", "treason-pass.service", "treason-restore.service")
    assert f"{', '.join(due)}, treason-early.service: not as" in asked.out
    assert place.treason("config", "check").code == 0
    place.treason("init", "--systemd")
    assert place.treason("config", "check", "--units").code == 0
    configure(place, with_list(place.path / "blocked"), main='backends = ["file"]')
    assert "treason-early.service" in place.treason("config", "check", "--units").out


@pytest.mark.parametrize("wrong", ["source", "mode", "configuration"])
def test_a_check_tells_what_the_services_cannot_do(place: Place, wrong: str) -> None:
    """As `init --systemd` does; a mistake in the configuration comes first."""
    configure(place)
    place.treason("init", "--systemd")
    if wrong == "mode":
        place.config.chmod(0o600)
    else:
        configure(place, main='sources = ["file:-"]' if wrong == "source" else "nothing = 1")
    told = {
        "source": "a service has nothing on its standard input",
        "mode": "the service's user may not read it",
        "configuration": "unknown key 'nothing'",
    }[wrong]
    asked = place.treason("config", "check", "--units")
    assert asked.code == 1
    assert told in asked.out


def needing(needs: object) -> Plugins:
    """Return a plugin that needs this."""

    def told(_settings: object) -> Needs:
        if isinstance(needs, Exception):
            raise needs
        return needs  # type: ignore[return-value]  # as a plugin may

    source = SourcePlugin("odd", lambda _: None, needs=told)  # type: ignore[arg-type, return-value]  # none is made
    return Plugins({"odd": source}, {}, ())


@pytest.mark.parametrize("needs", [None, {"reads": ()}, ValueError("no luck")])
def test_a_plugin_that_cannot_tell_its_needs_is_named(needs: object) -> None:
    """Nothing is installed by guess."""
    config = Config(treason=Main(sources=("odd",), backends=()))
    with pytest.raises(PluginError, match="source 'odd': its needs failed"):
        compose.needs(config, needing(needs), TomlFile(Path("FILE")))


def test_a_plugin_refuses_what_a_unit_cannot_do() -> None:
    """In its own words."""
    config = Config(treason=Main(sources=("odd",), backends=()))
    error = SourceUnreadable("odd: needs a terminal", "none")
    with pytest.raises(SourceUnreadable, match="needs a terminal"):
        compose.needs(config, needing(error), TomlFile(Path("FILE")))


def test_a_plugin_that_says_nothing_needs_nothing() -> None:
    """Those of earlier versions say nothing."""
    plugin = BackendPlugin("old", lambda _: None)  # type: ignore[arg-type, return-value]  # as above
    asked = [Asked("backend 'old'", plugin, plugin.needs(None))]
    assert not sandbox.needs_root(asked)
    assert Sandbox.of(asked, root=False) == Sandbox()
