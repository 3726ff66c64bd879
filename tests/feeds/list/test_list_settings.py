"""What the table of a list may hold."""

import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from harness import Place

from feeds.list import ListSettings, treason_feeds
from reconciler import FeedUnreadable, Needs
from reconciler.config.feeds import FeedSettings
from reconciler.config.template import default_text

ADDRESS = """\
url = "https://lists.example/drop.txt"
timeout = "5m"
max_mib = 1
allow_addresses = ["10.1.2.3", "fd00::/8"]
ca_file = "/etc/ssl/own.pem"
"""


@pytest.mark.parametrize(
    "keys",
    [
        'path = "/var/lib/lists/drop.txt"',
        ADDRESS,
    ],
)
def test_a_list_is_configured(place: Place, keys: str) -> None:
    """By a path, or by an address and limits."""
    place.configure(f'[feed.drop]\ntype = "list"\n{keys}')
    result = place.treason("config", "check")
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("", 'write either path or url, as in url = "https://..."'),
        ('path = "/a"\nurl = "https://a.example/"', "write either path or url, not both"),
        ('path = "drop.txt"', "path: 'drop.txt' does not begin with /: write the whole path"),
        (
            'url = "http://lists.example/"',
            "url: 'http://lists.example/' is refused: only https:// shows who sends the list",
        ),
        ('url = "https://"', "url: 'https://' names no valid host"),
        ('url = "https://a.example/"\ntimeout = "0s"', "timeout: '0s' is not a valid duration"),
        ('path = "/a"\nmax_mib = 0', "max_mib: 'max_mib' must be >= 1: 0"),
        ('path = "/a"\nallow_addresses = "10.1.2.3"', "allow_addresses: must be a list of"),
        ('path = "/a"\nallow_addresses = ["10.1.2.3/8"]', "allow_addresses: '10.1.2.3/8' is an"),
        ('path = "/a"\nca_file = "own.pem"', "ca_file: 'own.pem' does not begin with /"),
        ('paht = "/a"', "unknown key 'paht'; did you mean 'path'?"),
    ],
)
def test_what_is_wrong_is_told(place: Place, keys: str, told: str) -> None:
    """Where it stands, and why."""
    place.configure(f'[feed.drop]\ntype = "list"\n{keys}')
    result = place.treason("config", "check")
    assert result.code == 1
    assert f"[feed.drop] {told}" in result.out


def test_its_service_needs_the_files_that_are_named() -> None:
    """The list itself, or the authorities."""
    [plugin] = treason_feeds()
    fill = plugin.schema
    assert plugin.needs(fill(path=Path("/a"))) == Needs(reads=("/a",))
    assert plugin.needs(fill(url="https://a.example/")) == Needs()
    assert plugin.needs(fill(url="https://a.example/", ca_file=Path("/b"))) == Needs(reads=("/b",))


def test_the_plugin_makes_the_feed(tmp_path: Path) -> None:
    """It is named as the configuration has it."""
    [plugin] = treason_feeds()
    assert plugin.name == "list"
    with pytest.raises(FeedUnreadable, match="No such file"):
        [*plugin.factory(ListSettings(tmp_path / "missing")).changes(None)]


def test_who_has_no_such_list_pays_nothing_for_it() -> None:
    """Every command imports the plugin: but neither TLS nor HTTP with it."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import feeds.list, sys; print(*sys.modules)"],
        capture_output=True, check=True, text=True,
    ).stdout.split()  # fmt: skip
    assert {"ssl", "httpcore", "feeds.list.address", "feeds.list.feed"} & {*loaded} == set()
    assert "feeds.list" in loaded


def test_the_feed_that_the_configuration_shows_is_taken(place: Place) -> None:
    """Without its comment signs; every key of a feed and of a list is in it."""
    [shown] = re.findall(r"^# \[feed\.drop\]\n(?:# (?!\[).*\n)+", default_text(), re.MULTILINE)
    lines = re.findall(r"^# (\[feed.*|[a-z_]+ = .*)$", shown, re.MULTILINE)
    keys = {line.split(" = ")[0] for line in lines[1:]}
    every = {*attrs.fields_dict(ListSettings), *attrs.fields_dict(FeedSettings)}
    assert keys == every - {"path"}
    place.configure("\n".join(lines))
    result = place.treason("config", "check")
    assert (result.code, result.out.splitlines()[-1]) == (0, f"{place.config}: OK")
