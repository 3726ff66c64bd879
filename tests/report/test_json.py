"""Every JSON output, held against the schema that is written down."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from harness import ROOT, Place

SCHEMA = ROOT / "docs" / "reference" / "json.schema.json"
COMMANDS = {
    "reconcile": ["reconcile"],
    "scan": ["scan"],
    "list": ["list"],
    "list-invalid": ["list", "--invalid"],
    "observed-only": ["list", "--observed-only"],
    "history": ["history"],
    "feed-list": ["feed", "list"],
    "whitelist": ["whitelist", "list"],
    "status": ["status"],
    "doctor": ["doctor"],
    "protection": ["status", "--protection"],
    "config": ["config", "show"],
    "plugins": ["plugins"],
    "test-rule": ["test-rule", "{log}"],
    "why": ["why", "192.0.2.7"],
}


def hold(value: Any, name: str) -> None:
    """Hold a result against the schema of its command."""
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(value, schema | {"$ref": f"#/$defs/{name}"})


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_prints_what_is_written_down(
    name: str, place: Place, seed_log: Path, nft: Callable[..., str]
) -> None:
    """Empty at first, then with something in every list."""
    place.configure(
        f'[source.file]\npath = "{seed_log}"\ntrusted = true', main='sources = ["file"]'
    )
    command = [part.format(log=seed_log) for part in (*COMMANDS[name], "-o", "json")]
    hold(place.treason(*command).json, name)
    place.treason("ban", "192.0.2.7", "--for", "1h")
    place.treason("whitelist", "add", "198.51.100.0/24", "--comment", "office")
    more = seed_log.read_text().replace("117.", "116.") + "TCP: Treason uncloaked! Peer x\n7,"
    seed_log.write_text(seed_log.read_text() + more + "1,1,-;" + more.replace("218.", "300."))
    nft("flush ruleset")
    hold(place.treason(*command).json, name)


@pytest.mark.parametrize("name", ["reconcile", "scan", "observed-only", "status"])
def test_what_is_only_observed_has_its_shape(
    name: str, place: Place, seed_log: Path, nft: Callable[..., str]
) -> None:
    """With something in the list."""
    source = f'[source.file]\npath = "{seed_log}"\ntrusted = true'
    place.configure(f'[policy]\nmode = "observe"\n{source}', main='sources = ["file"]')
    if name in {"observed-only", "status"}:
        place.treason("scan")
    value = place.treason(*COMMANDS[name], "-o", "json").json
    hold(value, name)
    assert "117.79.83.112" in json.dumps(value)


@pytest.mark.parametrize("name", ["reconcile", "status"])
@pytest.mark.parametrize("length", [(), ("--for", "1h")])
def test_a_pause_has_its_shape(
    name: str, length: tuple[str, ...], place: Place, nft: Callable[..., str]
) -> None:
    """With an end, and without."""
    place.configure(main="sources = []")
    place.treason("pause", *length)
    value = place.treason(*COMMANDS[name], "-o", "json").json
    hold(value, name)
    assert (value["paused"]["until"] is None) == (not length)


def test_drift_and_errors_have_the_same_shape(place: Place, nft: Callable[..., str]) -> None:
    """A check with drift, and one with an unreadable source."""
    hold(place.treason("reconcile", "--check", "--no-scan", "-o", "json").json, "reconcile")
    broken = ("--source", "file:/nonexistent", "-o", "json")
    result = place.treason("reconcile", *broken)
    assert result.json["result"] == "error"
    hold(result.json, "reconcile")


@pytest.mark.parametrize(
    ("command", "code", "what", "hint"),
    [
        (["list", "-o", "json"], 1, "not valid TOML", "treason config check"),
        (["ban", "x", "--output=json"], 64, "No such option", "treason ban --help"),
        (["reconcile", "-ojson", "--observed", "x"], 64, "goes with --check", "treason reconcile"),
        (["nothing", "-o", "json"], 64, "No such command", "treason --help"),
    ],
)
def test_errors_are_json_too(
    command: list[str], code: int, what: str, hint: str, place: Place
) -> None:
    """With the same exit code, and the same text for people on standard error."""
    place.config.write_text("[treason")
    result = place.treason(*command)
    hold(result.json, "failure")
    error = result.json["error"]
    assert (result.code, what in error["what"], hint in error["hint"]) == (code, True, True)
    assert error["what"] in result.err


def test_an_error_without_a_hint_has_none(place: Place) -> None:
    """It is null, as everything is that there is not."""
    place.database.write_bytes(b"SQLite format 3\0" + bytes(16))
    error = place.treason("list", "-o", "json").json["error"]
    assert isinstance(error["what"], str)
    assert error["hint"] is None or error["hint"]


def test_the_snapshot_has_its_shape(place: Place, nft: Callable[..., str]) -> None:
    """Of a backend that passes networks ahead, and of one that cannot."""
    blocklist = f"file:{place.path}/list"
    place.treason("reconcile", "--no-scan", "--backend", "nftables", "--backend", blocklist)
    value = place.treason("export", "--observed", "--backend", "nftables", "--backend", blocklist)
    hold(value.json, "export")
    hold(place.treason("export", "--format", "json").json, "export-desired")
    hold(place.treason("export", "--stored", "--format", "json").json, "list")
    assert value.json["backends"][blocklist]["passed"] is None
