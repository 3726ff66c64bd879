"""``test-rule``: what matches, what almost does and why not, what is refused, what would follow."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from harness import DATA, Place
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.detection.detect import RULES, Rule, detect
from reconciler.detection.pattern import read
from reconciler.detection.ready import READY
from reconciler.passes.trial import Trial, explained
from sources import shapes
from sources.file import Settings
from sources.file.source import File

READY_SAMPLES = (DATA / "ready-messages.jsonl").read_text().splitlines()
PEER = "TCP: Treason uncloaked! Peer {}:{}/{} shrinks window 1:2. Repaired."
A = r"(?P<address>\S+)"
IP = r"bad (?P<address>[0-9.]+)"
PART = "the pattern matches only a part of the line: "


def log(place: Place, *lines: str) -> str:
    """Write a log."""
    path = place.path / "log"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def tried(place: Place, *arguments: str) -> Any:
    """Return what the command prints as JSON."""
    result = place.treason("test-rule", "-o", "json", *arguments)
    assert result.code == 0, result.err
    return result.json


def rule(text: str) -> Rule:
    """Make a rule of an administrator's pattern."""
    made = read(text)
    return Rule("own", made, made.needle)


def test_it_finds_what_detection_finds() -> None:
    """Every sample of every carrier, with every rule: the same offences, from trusted records."""
    every = (*RULES, *READY)
    trial = Trial(every)
    expected = []
    for name in ("kernel-messages.jsonl", "ready-messages.jsonl"):
        for line in (DATA / name).read_text().splitlines():
            record = shapes.parse(json.loads(line)["text"], trusted=True)
            if record is not None:
                trial.take(record)
                offence = detect(record, every)
                expected += [offence] if offence and offence.trusted else []
    found = [each for outcome in trial.results.values() for each in outcome.matches.first]
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert len(trial.offences) == len(expected) > 80


def test_whoever_looks_at_no_line_loses_none(tmp_path: Path) -> None:
    """A source that leaves out what has no needle brings all that the rules match."""
    path = tmp_path / "log"
    lines = [
        json.loads(line)["text"]
        for name in ("kernel-messages.jsonl", "ready-messages.jsonl")
        for line in (DATA / name).read_text().splitlines()
    ]
    text = [line for line in lines if '"MESSAGE": [' not in line]  # for what is no text
    path.write_text("".join(f"{line}\n" for line in text))
    every = (*RULES, *READY)

    def found(needles: list[str]) -> list[object]:
        source = File(Settings(str(path), trusted=True))
        return [hit for record in source.read(None, needles) if (hit := detect(record, every))]

    assert found([each.needle for each in every]) == found([""])


@pytest.mark.parametrize(
    ("pattern", "text", "why"),
    [
        (IP, "so bad 192.0.2.1", f'{PART}ahead of that stands "so "'),
        (IP, "bad 192.0.2.1 x", f'{PART}behind that stands " x"; end it with .* to allow more'),
        (IP, "a bad 1.1.1.1 x", f'{PART}ahead of that stands "a " and behind that stands " x"'),
        (f"bad {A} on [a-z]+", "bad 192.0.2.1 at eth",
         'fits up to character 14; there the pattern wants "on [a-z]+", and there is "at eth"'),
        (f"bad {A} on", "bad 192.0.2.1",
         'fits up to character 13; there the pattern wants " on", and the line ends'),
        (f"x+ bad {A}", "a bad thing", f'does not begin with "x+ bad {A}"'),
        (f"bad {A} z|bad too", "bad 1", "no part of the line matches the pattern"),
        (f"bad {A}", "bad " + "x" * 9000, "has 9,004 characters; no record of the kernel is so"),
    ],
)  # fmt: skip
def test_it_says_why_a_line_almost_matches(pattern: str, text: str, why: str) -> None:
    """What stands around a match, or where line and pattern part."""
    assert explained(rule(pattern), text).startswith(why)


def test_it_explains_the_rules_of_the_program_as_well() -> None:
    """Whose pattern nobody is advised to change."""
    text = PEER.format("192.0.2.1", 1, 2)
    assert explained(RULES[0], f"{text} x").endswith('behind that stands " x"')
    assert explained(RULES[0], text.replace("192.0.2.1:1", "x:1")).startswith(
        "fits up to character 29; there the pattern wants"
    )


@pytest.mark.parametrize("each", [*RULES, *READY], ids=lambda each: each.name)
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_whatever_a_line_holds_is_explained(each: Rule, data: st.DataObject) -> None:
    """A sample of any rule, cut and changed anywhere."""
    samples = [json.loads(line)["text"] for line in READY_SAMPLES]
    text = data.draw(st.sampled_from(samples))
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    text = text[:start] + data.draw(st.text(max_size=5)) + text[end:]
    if not each.pattern.fullmatch(text):
        assert explained(each, text)


def test_it_tells_matches_refusals_and_what_would_follow(place: Place) -> None:
    """In text: a line each, the reason below it, and the sums."""
    place.configure('[whitelist]\nnetworks = [{ network = "192.0.2.9", comment = "office" }]')
    path = log(
        place,
        PEER.format("192.0.2.1", 1, 80),
        PEER.format("192.0.2.9", 2, 80),
        "12" + ",1,1,-;" + PEER.format("192.0.2.2", 1, 80),
        PEER.format("127.0.0.6", 1, 80),
        PEER.format("192.0.2.3", 99999, 80),
        PEER.format("192.0.2.4", 1, 80) + " trailing",
        "martian source 10.9.0.1 from 192.0.2.8, on dev eth0",
    )
    result = place.treason("test-rule", path)
    assert (result.code, result.err) == (0, "")
    out = result.out.splitlines()
    assert out[:15] == [
        "treason-uncloaked: 2 matched, 3 not counted, 1 almost matched",
        f"  + 192.0.2.1 port 1 to 80  {PEER.format('192.0.2.1', 1, 80)}",
        f"  + 192.0.2.9 port 2 to 80  {PEER.format('192.0.2.9', 2, 80)}",
        f"  x {PEER.format('192.0.2.2', 1, 80)}",
        "      not counted: written by a process, not by the kernel: its facility is 1, not 0",
        f"  x {PEER.format('127.0.0.6', 1, 80)}",
        "      not counted: 127.0.0.6 stood for every native IPv6 peer before Linux 2.6.26",
        f"  x {PEER.format('192.0.2.3', 99999, 80)}",
        "      not counted: '99999' is not a port",
        f"  ~ {PEER.format('192.0.2.4', 1, 80)} trailing",
        '      almost: the pattern matches only a part of the line: behind that stands " trailing"',
        'unexpectedly-shrunk: no record contains "unexpectedly shrunk window"',
        'probing-zero-window: no record contains "Probing zero-window"',
        'shrinks-window: no record contains " Bad, what else can I say?"',
        "what would follow (1 connection within 10m: a permanent ban)",
    ]
    assert out[15:17] == [
        "  192.0.2.1  1 connection: a permanent ban",
        "  192.0.2.9  1 connection: never dropped, whitelisted: office",
    ]
    assert out[17] == (
        "note: rule 'martian-source' is off, and would match 1: see --rule martian-source"
    )
    assert out[18].startswith(
        "note: 2 matches without the kernel's facility: such lines count only"
    )
    assert out[19].startswith("7 records in ")
    assert out[19].endswith(" a second): 2 matched, 3 not counted, 1 almost matched")


def test_the_policy_decides_what_would_follow(place: Place) -> None:
    """Distinct connections, those of a rule with a policy of its own by themselves."""
    place.configure(
        '[policy]\nthreshold = 2\nban_for = "1h"\n'
        "[[rule]]\nname = 'own'\npattern = 'own (?P<address>\\S+)'\nthreshold = 1\n"
        "[[rule]]\nname = 'martian-source'\n"
    )
    path = log(
        place,
        *(PEER.format("192.0.2.1", port, 80) for port in (1, 2, 2)),
        *(PEER.format("192.0.2.2", port, 80) for port in (1, 1)),
        "own 192.0.2.3",
        "martian source 10.9.0.1 from 192.0.2.4, on dev eth0",
    )
    addresses = {each["address"]: each for each in tried(place, path)["addresses"]}
    states = {address: (each["state"], each["connections"]) for address, each in addresses.items()}
    assert states == {
        "192.0.2.1": ("ban", 2),
        "192.0.2.2": ("below the threshold", 1),
        "192.0.2.3": ("ban", 1),
        "192.0.2.4": ("report only", 1),
    }
    assert addresses["192.0.2.2"]["why"] == "2 within 10m"
    assert addresses["192.0.2.1"]["until"] is not None
    text = place.treason("test-rule", path).out
    assert "  192.0.2.2  1 connection: no ban, it takes 2 within 10m\n" in text
    assert "6 of 7 matches" not in text
    assert "7 of 7 matches tell no time with a year and a zone" in text


def test_what_a_rule_adds_is_told(place: Place) -> None:
    """How often a message came, and that the rule is not for every source."""
    place.configure(
        "[[rule]]\nname = 'own'\npattern = 'own (?P<address>\\S+), (?P<count>\\d+) times'\n"
        "sources = ['kmsg']\nban_for = '1h'\n"
    )
    out = place.treason("test-rule", "--rule", "own", log(place, "own 192.0.2.3, 7 times")).out
    assert "\n  + 192.0.2.3, 7 times  own 192.0.2.3, 7 times\n" in out
    assert "own: 1 connection within 10m: a ban of 1h)\n" in out
    assert "  192.0.2.3  1 connection: a ban until 20" in out
    assert "note: rule 'own' is only for records of kmsg\n" in out


def test_with_every_rule_off_nothing_matches(place: Place) -> None:
    """And the sums are there all the same."""
    place.configure("".join(f"[[rule]]\nname = '{r.name}'\nenabled = false\n" for r in RULES))
    out = place.treason("test-rule", log(place, PEER.format("192.0.2.1", 1, 2))).out
    assert out.startswith("note: rule 'treason-uncloaked' is off, and would match 1")
    assert out.endswith("0 matched, 0 not counted, 0 almost matched\n")


def test_the_network_that_would_be_banned_is_told(place: Place) -> None:
    """Nobody learns from the firewall that it is 2**64 addresses."""
    place.configure("[policy]\nipv6_prefix = 64\nthreshold = 2")
    peers = [f"2001:0db8:0000:0000:0000:0000:0000:000{host}" for host in (1, 2)]
    shrunk = "TCP: Treason uncloaked! Peer {}:1/80 shrinks window 1:2. Repaired."
    path = log(place, *(shrunk.format(peer) for peer in peers))
    as_network = "counted and banned as 2001:db8::/64"
    said = place.treason("test-rule", path).out
    assert f"  2001:db8::2  1 connection: a permanent ban, {as_network}\n" in said
    assert [each["why"] for each in tried(place, path)["addresses"]] == [as_network] * 2
    place.treason("ban", "2001:db8::/64")
    assert f"already banned, {as_network}" in place.treason("test-rule", path).out


def test_who_is_banned_already_is_told(place: Place) -> None:
    """A longer ban would still follow."""
    place.treason("ban", "192.0.2.1")
    place.treason("ban", "192.0.2.2", "--for", "1h")
    path = log(place, PEER.format("192.0.2.1", 1, 80), PEER.format("192.0.2.2", 1, 80))
    found = [(each["address"], each["state"]) for each in tried(place, path)["addresses"]]
    assert found == [("192.0.2.1", "already banned"), ("192.0.2.2", "ban")]
    assert "192.0.2.1  1 connection: already banned" in place.treason("test-rule", path).out


def test_connections_that_this_machine_made_do_not_count(place: Place, host: None) -> None:
    """With listeners_only, in a namespace where nothing listens."""
    place.configure("[policy]\nlisteners_only = true")
    [first, *_] = tried(place, log(place, PEER.format("192.0.2.1", 80, 5555)))["rules"]
    assert (first["matched"], first["refused"]) == (0, 1)
    assert first["refusals"][0]["why"] == (
        "nothing listens on port 5555 here, so this machine called the peer"
    )


def test_a_pattern_is_tried_without_a_configuration(place: Place) -> None:
    """Alone, or beside a rule that is off."""
    path = log(
        place, "bad 192.0.2.1", PEER.format("192.0.2.2", 1, 80),
        "martian source 10.9.0.1 from 192.0.2.4, on dev eth0",
    )  # fmt: skip
    [only] = tried(place, "--pattern", f"bad {A}", path)["rules"]
    assert (only["rule"], only["needle"], only["matched"]) == ("command line", "bad ", 1)
    both = tried(place, "--pattern", f"bad {A}", "--rule", "martian-source", path)["rules"]
    assert [(each["rule"], each["matched"]) for each in both] == [
        ("martian-source", 1), ("command line", 1),
    ]  # fmt: skip


def test_a_slip_in_the_words_of_a_tried_pattern_is_shown(place: Place) -> None:
    """Although no line has its needle, half of it says enough."""
    path = log(place, "bad peer 192.0.2.1", "all is well")
    [only] = tried(place, "--pattern", f"bad pear {A}", path)["rules"]
    assert [each["text"] for each in only["misses"]] == ["bad peer 192.0.2.1"]
    assert 'wants "ar (?P<address>\\S+)", and there is "er 192.0.2.1"' in only["misses"][0]["why"]


def test_a_rule_that_is_switched_off_can_be_chosen(place: Place) -> None:
    """One of one's own as well; its policy is its own."""
    place.configure("[[rule]]\nname = 'own'\npattern = 'own (?P<address>\\S+)'\nenabled = false\n")
    path = log(place, "own 192.0.2.1")
    assert tried(place, path)["addresses"] == []
    [only] = tried(place, "--rule", "own", path)["rules"]
    assert only["matched"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--rule", "martian"), "unknown rule 'martian'; did you mean 'martian-source'?"),
        (("--pattern", "x"), "--pattern: has no group (?P<address>...)"),
        (("/nonexistent",), "cannot read '/nonexistent': No such file or directory"),
    ],
)
def test_what_is_wrong_is_told(place: Place, arguments: tuple[str, ...], said: str) -> None:
    """Without a traceback, with exit code 1."""
    result = place.treason("test-rule", *arguments, *(() if len(arguments) == 1 else ("-",)))
    assert (result.code, result.out) == (1, "")
    assert said in result.err


def test_large_logs_are_told_in_short(place: Place) -> None:
    """Twenty of each kind, and how many more; -v shows all."""
    path = log(
        place,
        *(PEER.format(f"192.0.2.{number}", 1, 80) for number in range(50)),
        *(PEER.format(f"192.0.2.{number}", 1, 80) + " x" for number in range(30)),
    )
    short = place.treason("test-rule", path).out
    assert short.count("\n  + ") == 20
    assert "\n  and 30 more, matched; -v shows all\n" in short
    assert "\n  and 10 more, almost; -v shows all\n" in short
    assert short.count(": a permanent ban\n") == 20
    full = place.treason("test-rule", "-v", path).out
    assert (full.count("\n  + "), full.count("\n  ~ ")) == (50, 30)
    assert "-v shows" not in full


def test_what_strangers_wrote_is_made_visible(place: Place) -> None:
    """No line of a log can move the cursor of who reads about it."""
    out = place.treason("test-rule", log(place, "\x1b[2J" + PEER.format("192.0.2.1", 1, 2))).out
    assert "\x1b" not in out
    assert r'ahead of that stands "\x1b[2J"' in out


def test_a_log_on_standard_input_is_read(place: Place) -> None:
    """As `journalctl -k -o json` gives it; a process's own line is refused."""
    entry = {
        "_TRANSPORT": "kernel", "SYSLOG_FACILITY": "0", "SYSLOG_IDENTIFIER": "kernel",
        "MESSAGE": PEER.format("192.0.2.1", 1, 2),
    }  # fmt: skip
    forged = entry | {
        "SYSLOG_FACILITY": "1", "SYSLOG_IDENTIFIER": "TCP",
        "MESSAGE": entry["MESSAGE"].removeprefix("TCP: "),
    }  # fmt: skip
    lines = "".join(f"{json.dumps(each)}\n" for each in (entry, forged))
    command = [sys.executable, "-m", "reconciler", "--config", str(place.config), "test-rule"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    assert "treason-uncloaked: 1 matched, 1 not counted, 0 almost matched" in done.stdout


def test_a_terminal_without_a_log_gets_a_hint(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for somebody to type a log."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    result = place.treason("test-rule")
    assert (result.code, result.out) == (64, "")
    assert "journalctl -k | treason test-rule" in result.err


def test_it_changes_nothing_and_needs_no_database(place: Place) -> None:
    """No file is made or touched; one that may not be read is only told of."""
    path = log(place, PEER.format("192.0.2.1", 1, 80))
    before = place.snapshot()
    [note] = tried(place, path)["notes"]
    assert note.startswith("1 match without the kernel's facility")
    assert place.snapshot() == before
    place.treason("ban", "192.0.2.1")
    before = place.snapshot()
    assert tried(place, path)["notes"] == [note]
    assert place.snapshot() == before
    place.database.write_bytes(b"not a database at all, but of some length" * 99)
    [unread, _] = tried(place, path)["notes"]
    assert unread.startswith("cannot read who is already banned: ")
