"""The configuration: what is read, and that every mistake is named with its place."""

import re
import tomllib
from pathlib import Path

import pytest
from harness import ROOT

from reconciler import Network
from reconciler.config.tables import Config, parse
from reconciler.config.template import default_text, new_text
from reconciler.errors import ConfigError
from reconciler.planning.whitelist import Exemption
from reconciler.toml import file as toml_file
from reconciler.toml import schema
from reconciler.toml.file import TomlFile

SHIPPED = ROOT / "conf" / "treason.toml"


def load(path: Path) -> Config:
    """Read and check a file that must exist."""
    return parse(toml_file.read(path, required=True))


def refused(text: str, tmp_path: Path) -> str:
    """Return what is said of a file."""
    path = tmp_path / "treason.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(path)
    assert str(path) in error.value.what
    return re.sub(rf"^{re.escape(str(path))}(:[0-9]+)?: ", "", error.value.what, flags=re.MULTILINE)


def test_the_shipped_file_is_what_init_renders() -> None:
    """The defaults stand in the code alone; the file is their rendering."""
    assert SHIPPED.read_text() == new_text()


def test_the_template_says_what_the_defaults_are() -> None:
    """As it is, and with every key's comment sign taken away, it is the default."""
    assert load_text(default_text()) == Config()
    text = default_text().partition("# [source.file]")[0]
    active = re.sub(r"^# (?=[a-z_0-9]+ = (?!\[\"172))", "", text, flags=re.MULTILINE)
    assert load_text(active) == Config()
    tables = {name: set(table) for name, table in tomllib.loads(active).items()}
    every = {name: set(table) for name, table in schema.plain(Config()).items() if table}
    assert tables == every


def load_text(text: str) -> Config:
    """Parse a text as a file would be."""
    return parse(TomlFile(Path("text"), text, tomllib.loads(text)))


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    """Wherever the command is run."""
    path = tmp_path / "treason.toml"
    path.write_text('[treason]\ndatabase = "state/treason.db"\n')
    assert load(path).treason.database == tmp_path / "state" / "treason.db"


def test_a_missing_file_is_an_error_only_if_it_was_named(tmp_path: Path) -> None:
    """The default file may be absent, a named one must exist."""
    with pytest.raises(ConfigError, match="configuration file not found"):
        load(tmp_path / "absent.toml")


def test_every_kind_of_value_is_read(tmp_path: Path) -> None:
    """Durations, networks with and without comment, lists, tables of plugins."""
    path = tmp_path / "treason.toml"
    path.write_text(
        '[policy]\nthreshold = 3\nwindow = "1h"\nban_for = "30d"\n'
        "[treason]\nmax_removals = 1\nmin_prefix = { ipv4 = 8 }\n"
        '[whitelist]\nnetworks = ["10.0.0.0/8", { network = "::1", comment = "me" }]\n'
        '[source.file]\npath = "/x"\n'
    )
    config = load(path)
    assert (config.policy.threshold, config.policy.window, config.policy.ban_for) == (
        3,
        3600,
        2592000,
    )
    assert config.treason.max_removals == 1.0
    assert (config.treason.min_prefix.ipv4, config.treason.min_prefix.ipv6) == (8, 32)
    assert config.whitelist.networks == (
        Exemption(Network.parse("10.0.0.0/8")),
        Exemption(Network.parse("::1"), "me"),
    )
    assert config.source == {"file": {"path": "/x"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[treason", "not valid TOML"),
        ("x = " + "[" * 5000, "not valid TOML"),
        ("x = " + "9" * 5000, "not valid TOML"),
        ("[polcy]", "unknown key 'polcy'; did you mean 'policy'?"),
        ("[policy]\ntreshold = 3", "[policy] unknown key 'treshold'; did you mean 'threshold'?"),
        ("[policy]\nthreshold = '3'", "[policy] threshold: must be a whole number, not a string"),
        ("[policy]\nthreshold = true", "[policy] threshold: must be a whole number, not true"),
        ("[policy]\nthreshold = 0", "[policy] threshold: 'threshold' must be >= 1: 0"),
        ("[policy]\nwindow = 600", "[policy] window: 600 is not a valid duration"),
        (
            "[policy]\nwindow = 'permanent'",
            "[policy] window: 'permanent' is not allowed here: this duration must end",
        ),
        ("[policy]\nescalate = 0.5", "[policy] escalate: 'escalate' must be >= 1: 0.5"),
        ("[policy]\nipv6_prefix = 129", "[policy] ipv6_prefix: 'ipv6_prefix' must be <= 128: 129"),
        (
            "[policy]\nipv6_prefix = 24",
            "[policy] ipv6_prefix: 24 is wider than min_prefix in [treason] allows: 32",
        ),
        ("policy = 3", "policy: must be a table, not a whole number"),
        ("[treason]\nsources = 'kmsg'", "[treason] sources: must be a list, not a string"),
        ("[treason]\nsources = [1]", "[treason] sources: must be a string, not a whole number"),
        ("[treason]\ndatabase = ''", "[treason] database: '' is not a path"),
        ('[treason]\nlock = "a\\u0000b"', "[treason] lock: 'a\\x00b' is not a path"),
        (
            "[treason]\nmax_removals = nan",
            "[treason] max_removals: 'max_removals' must be >= 0: nan",
        ),
        ("[treason.min_prefix]\nipv4 = 33", "[treason.min_prefix] ipv4: 'ipv4' must be <= 32: 33"),
        ("[whitelist]\nnetworks = ['010.0.0.1']", "[whitelist] networks: '010.0.0.1' is not an IP"),
        ("[whitelist]\nnetworks = [7]", "[whitelist] networks: 7 is neither a network nor"),
        ("[whitelist]\nnetworks = 'x'", "[whitelist] networks: must be a list of networks"),
        ("[protect]\nnat64 = 'x'", "[protect] nat64: must be a list of prefixes"),
        (
            "[protect]\nnat64 = ['2001:db8::/33']",
            "[protect] nat64: '2001:db8::/33' is not a prefix",
        ),
        (
            "[protect]\nnat64 = [7]",
            "[protect] nat64: 7 is not a prefix of NAT64: an IPv6 network of",
        ),
        (
            "[protect]\nnat64 = [7, 8]",
            (
                "[protect] nat64: 7 is not a prefix of NAT64: an IPv6 network of"
                " /32, /40, /48, /56, /64, /96; 8 is not a prefix"
            ),
        ),
        ("[source]\nfile = 3", "source: must be a table, not a whole number"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    """File, table, key and reason; the nearest known key if there is one."""
    assert refused(text, tmp_path).startswith(said)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """Two mistakes are two lines."""
    said = refused("[policy]\nthreshold = 0.5\nwindow = '1'\n[trust]\nusrspace = true", tmp_path)
    assert [line for line in said.splitlines() if line.startswith("[")] == [
        "[trust] unknown key 'usrspace'; did you mean 'userspace'?",
        "[policy] threshold: must be a whole number, not a number",
        "[policy] window: '1' is not a valid duration",
    ]


def test_a_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    """Also inside an inline table."""
    path = tmp_path / "treason.toml"
    path.write_text('# head\n[policy]\n\nthreshold = 0\n[treason]\nmin_prefix = { ipv4 = "x" }\n')
    with pytest.raises(ConfigError) as error:
        load(path)
    assert [line.split(" ")[0] for line in error.value.what.splitlines()] == [
        f"{path}:6:",
        f"{path}:4:",
    ]


def test_bytes_that_are_no_text_are_malformed(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused, not half read."""
    path = tmp_path / "treason.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(path)


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    """What cannot be read is named with the system's reason."""
    with pytest.raises(ConfigError, match="cannot read the file: Is a directory"):
        load(tmp_path)
