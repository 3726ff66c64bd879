"""``[[rule]]`` in the configuration: what is on, with which policy, and what is refused."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
import tomli_w
from harness import Place

from reconciler.config.tables import parse
from reconciler.detection import rules
from reconciler.detection.detect import RULES, Rule, detect
from reconciler.detection.policy import Policy
from reconciler.errors import ConfigError
from reconciler.model import Record
from reconciler.toml import schema
from reconciler.toml.file import TomlFile

BUILT_IN = [rule.name for rule in RULES]
OWN = r"""
[[rule]]
name = "bad"
pattern = 'bad peer (?P<address>\S+)(?: port (?P<peer_port>\d+))?(?:, (?P<count>\d+) times)?'
"""


def active(text: str) -> Sequence[Rule]:
    """Return the rules that a configuration switches on."""
    config = parse(TomlFile(Path("text"), text, tomllib.loads(text)))
    return rules.active(config.rule, config.policy)


def one(text: str, name: str) -> Rule:
    """Return one of them."""
    return next(rule for rule in active(text) if rule.name == name)


def refused(text: str) -> list[str]:
    """Return what is said of a configuration, a line for each problem."""
    with pytest.raises(ConfigError) as error:
        active(text)
    return error.value.what.splitlines()


def test_without_a_table_the_built_in_rules_are_on() -> None:
    """And no other."""
    assert active("") == RULES


def test_a_rule_of_ones_own_comes_after_the_built_in_ones() -> None:
    """It finds address, ports and count."""
    made = active(OWN)
    assert [rule.name for rule in made] == [*BUILT_IN, "bad"]
    text = "bad peer 2001:db8::7 port 7, 3 times"
    offence = detect(Record(text=text, carrier="kmsg", trusted=True), made)
    assert offence is not None
    assert (offence.rule, str(offence.address), offence.peer_port, offence.count) == (
        "bad", "2001:db8::7", 7, 3,
    )  # fmt: skip


def test_a_name_alone_switches_a_ready_rule_on() -> None:
    """In the order of the tables."""
    text = '[[rule]]\nname = "tcp-md5"\n[[rule]]\nname = "ufw-block"\n'
    assert [rule.name for rule in active(text)] == [*BUILT_IN, "tcp-md5", "ufw-block"]


def test_a_built_in_rule_can_be_switched_off() -> None:
    """And one of one's own, without taking it out."""
    text = f'[[rule]]\nname = "treason-uncloaked"\nenabled = false\n{OWN}enabled = false\n'
    assert [rule.name for rule in active(text)] == BUILT_IN[1:]


def test_a_rule_that_sets_no_policy_has_none() -> None:
    """It is counted together with the others."""
    assert one(OWN, "bad").policy is None


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("threshold = 7", "threshold", 7),
        ('window = "1h"', "window", 3600),
        ('ban_for = "2d"', "ban_for", 172800),
        ("escalate = 2", "escalate", 2.0),
        ('max_ban = "30d"', "max_ban", 2592000),
    ],
)
def test_a_key_of_the_policy_gives_the_rule_one_of_its_own(
    key: str, field: str, value: object
) -> None:
    """The others are those of [policy]."""
    policy = one(f"[policy]\nipv6_prefix = 64\n{OWN}{key}\n", "bad").policy
    assert policy is not None
    assert getattr(policy, field) == value
    assert schema.plain(policy) | {field: None} == (
        schema.plain(Policy(ipv6_prefix=64)) | {field: None}
    )


def test_the_other_keys_change_a_ready_rule() -> None:
    """Sources, and whether it only reports; what is not said stays as it was."""
    named = '[[rule]]\nname = "martian-source"\n'
    assert one(named, "martian-source").report_only
    assert one(named, "martian-source").sources == ()
    changed = one(f'{named}report_only = false\nsources = ["kmsg"]\n', "martian-source")
    assert (changed.report_only, changed.sources) == (False, ("kmsg",))


def test_every_mistake_is_told_at_once_with_its_line() -> None:
    """Of every table, with the name of the key."""
    text = r"""
[[rule]]
name = "ufw-blok"
[[rule]]
name = "twice"
pattern = '(?P<adress>\S+)'
treshold = 3
[[rule]]
name = "twice"
pattern = '(?P<address>\S+)'
window = 3
[[rule]]
name = "tcp-md5"
pattern = '(?P<address>\S+)'
[[rule]]
pattern = 3
enabled = "no"
"""
    said = [line for line in refused(text) if not line.startswith("  ")]
    assert [re.split(r": choose| \(", line)[0] for line in said] == [
        "text:3: [rule 1] name: unknown rule 'ufw-blok'; did you mean 'ufw-block'?",
        "text:9: [rule 3] name: 'twice' is the name of rule 2, too",
        "text:14: [rule 4] pattern: 'tcp-md5' is a rule of treason itself",
        "text:7: [rule 2] unknown key 'treshold'; did you mean 'threshold'?",
        "text:6: [rule 2] pattern: has no group",
        "text:11: [rule 3] window: 3 is not a valid duration",
        "text:15: [rule 5] name: is missing",
        "text:16: [rule 5] pattern: must be a string, not 3",
        "text:17: [rule 5] enabled: must be true or false, not a string",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rule = 3", "text:1: rule: must be tables, each written as [[rule]]"),
        ("rule = [3]", "text:1: rule: must be tables, each written as [[rule]]"),
        ("[rule]\nname = 'x'", "text:1: rule: must be tables, each written as [[rule]]"),
        (OWN.replace('"bad"', '"a b"'), "[rule 1] name: 'a b' is not a valid name"),
        (
            OWN.replace('"bad"', '"manual"'),
            "[rule 1] name: 'manual' is reserved for bans that no rule",
        ),
        (
            OWN.replace('"bad"', '"badips"'),
            "[rule 1] name: 'badips' is reserved for bans that no rule",
        ),
        (OWN.replace('"bad"', "7"), "[rule 1] name: 7 is not a valid name"),
        ('[[rule]]\nname = "zzz"', "unknown rule 'zzz': one of your own needs a pattern"),
    ],
)
def test_a_mistake_is_named(text: str, said: str) -> None:
    """Shape of the table and name."""
    assert said in refused(text)[0]


def test_what_is_shown_can_be_read_again() -> None:
    """`config show` writes the tables as they were."""
    text = (
        f'{OWN}sources = ["kmsg"]\nreport_only = true\nban_for = "2d"\nthreshold = 4\n'
        '[[rule]]\nname = "ufw-block"\nenabled = false\n'
    )
    config = parse(TomlFile(Path("text"), text, tomllib.loads(text)))
    shown = tomllib.loads(tomli_w.dumps({"rule": rules.write(config.rule)}))
    assert rules.read(shown["rule"]) == config.rule


def test_a_source_that_there_is_not_is_refused(place: Place) -> None:
    """Its rule would never match; with an argument, the kind counts."""
    place.configure(f'{OWN}sources = ["file:/var/log/kern.log", "kmgs"]\n')
    result = place.treason("config", "check")
    assert result.code == 1
    assert "[rule 1] sources: unknown source 'kmgs'; did you mean 'kmsg'?" in result.out
    assert place.treason("scan").code == 1
    place.configure(f'{OWN}sources = ["file:/var/log/kern.log", "kmsg"]\n')
    assert place.treason("config", "check").code == 0


NETFILTER = '[[rule]]\nname = "netfilter-log"\n'
LINE = (
    "DROP: IN=eth0 OUT= MAC=00:00 SRC=203.0.113.5 DST=192.0.2.1 LEN=40 TOS=0x00 PREC=0x00 TTL=64"
    " ID=1 PROTO=TCP SPT=1 DPT=22 WINDOW=1 RES=0x00 SYN URGP=0\n"
)


@pytest.mark.parametrize("more", ["", "report_only = false\n", "threshold = 1\n"])
def test_netfilters_log_without_a_prefix_bans_nobody(more: str, place: Place) -> None:
    """An old configuration is taken, its offences are counted, and what it lacks is told."""
    place.configure(NETFILTER + more)
    log = place.path / "log"
    log.write_text(LINE)
    result = place.treason("scan", "--source", f"file:{log}")
    assert result.out.startswith(f"file:{log}: 1 offence, 1 report-only")
    said = "[rule 1] prefix: is missing, so netfilter-log only reports"
    assert said in result.err
    assert place.treason("list").out == ""
    check = place.treason("config", "check")
    assert (check.code, said in check.err) == (0, True)
    assert f"{place.config}:" in check.err
    assert said in place.treason("status").err


def test_netfilters_log_with_a_prefix_bans(place: Place) -> None:
    """Whoever is logged with that prefix, and nobody else; it can be shown and read again."""
    place.configure(NETFILTER + 'prefix = "DROP: "\nban_for = "1h"')
    log = place.path / "log"
    log.write_text(LINE + LINE.replace("DROP: ", "PASS: ").replace("0.113.5", "0.113.6"))
    result = place.treason("scan", "--source", f"file:{log}")
    assert result.err == ""
    assert place.treason("list").out.split("\t")[0] == "203.0.113.5"
    check = place.treason("config", "check")
    assert (check.code, check.err) == (0, "")
    shown = place.treason("config", "show").out
    assert 'prefix = "DROP: "' in shown
    place.config.write_text(shown)
    assert place.treason("config", "show").out == shown


def test_a_rule_that_is_off_needs_no_prefix(place: Place) -> None:
    """It does nothing."""
    place.configure(NETFILTER + "enabled = false")
    assert place.treason("config", "check").err == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NETFILTER + 'prefix = ""', "prefix: '' is not a prefix"),
        (NETFILTER + 'prefix = "  "', "prefix: ' ' is not a prefix"),
        (NETFILTER + 'prefix = "a\\n"', "prefix: 'a\\n' is not a prefix"),
        (NETFILTER + f'prefix = "{"x" * 128}"', "x' is not a prefix"),
        (NETFILTER + "prefix = 3", "prefix: must be a string, not 3"),
        (
            '[[rule]]\nname = "ufw-block"\nprefix = "x"',
            "prefix: is only for the rule 'netfilter-log', not for 'ufw-block'",
        ),
        (f'{OWN}prefix = "x"', "prefix: is only for the rule 'netfilter-log', not for 'bad'"),
    ],
)
def test_a_wrong_prefix_is_refused(text: str, said: str) -> None:
    """It would match nothing, or anything."""
    assert said in refused(text)[0]


def test_a_doubtful_pattern_is_allowed_and_told_of(place: Place) -> None:
    """With -v: what is slow, and what is easily forged."""
    place.configure("[[rule]]\nname = 'odd'\nconfirm = 'none'\npattern = '.*(?P<address>\\S+)'\n")
    assert place.treason("config", "check").out == f"{place.config}: OK\n"
    said = place.treason("config", "check", "-v")
    assert said.code == 0
    assert "rule 'odd': no text of 3 characters stands in every match" in said.out
    assert "rule 'odd': anything may stand ahead of it" in said.out


def test_a_scan_bans_by_a_rule_of_ones_own(place: Place, tmp_path: Path) -> None:
    """And the ban names it; a rule that only reports stores its offences and bans nobody."""
    log = tmp_path / "log"
    log.write_text(
        "bad peer 192.0.2.7 port 1\n"
        "IPv4: martian source 10.9.0.1 from 192.0.2.8, on dev eth0\n"
        "a bad peer 192.0.2.9 port 1\n"
    )
    place.configure(f'{OWN}[[rule]]\nname = "martian-source"\n')
    out = place.treason("scan", "--source", f"file:{log}", "-o", "json").json
    assert [(s["offences"], s["bans"]) for s in out["sources"]] == [(2, ["192.0.2.7"])]
    [ban] = place.treason("list", "-o", "json").json["bans"]
    assert (ban["network"], ban["origin"]) == ("192.0.2.7", "bad")


def test_a_pass_without_patterns_does_not_load_the_engine(place: Place) -> None:
    """It would make every command slower."""
    code = (
        "import sys; from reconciler.config.setup import Setup;"
        f" Setup({str(place.config)!r}).rules;"
        " rooms = 'reconciler.detection.';"
        " print({'re2', f'{rooms}pattern', f'{rooms}ready'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_judged_rule_keeps_what_is_not_set() -> None:
    """`[policy]` changes nothing of it; its own table changes the key that it names."""
    [mine] = [
        rule
        for rule in active('[policy]\nescalate = 7\n[[rule]]\nname = "zero-window"\nban_for = "2h"')
        if rule.name == "zero-window"
    ]
    assert mine.policy == Policy(ban_for=7200, escalate=4, max_ban=30 * 86400)
    assert [rule for rule in active('[policy]\nban_for = "1d"') if rule.judged] == [
        rule for rule in RULES if rule.judged
    ]


def test_a_rule_for_what_a_source_judges_needs_no_pattern() -> None:
    """It names the sources; what looks like a slip is refused as ever."""
    made = active('[[rule]]\nname = "syn-flood"\nsources = ["sensor"]\nban_for = "1h"')[-1]
    assert (made.name, made.judged, made.sources) == ("syn-flood", True, ("sensor",))
    assert made.policy == Policy(ban_for=3600)
    [doubt] = rules.doubts(made)
    assert "'syn-flood' has no pattern: only what sensor judges by itself" in doubt
    assert not any(rules.doubts(rule) for rule in RULES)
    assert "did you mean" in refused('[[rule]]\nname = "zero-windw"\nsources = ["sockets"]')[0]
    assert "a pattern, or sources that judge" in refused('[[rule]]\nname = "syn-flood"')[0]


def test_who_comes_back_is_banned_four_times_as_long_up_to_thirty_days() -> None:
    """By the rules whose offences the sources judge."""
    for rule in RULES:
        if rule.judged:
            assert rule.policy is not None
            hours = [(rule.policy.until(0, ended) or 0) / 3600 for ended in range(6)]
            assert hours == [1, 4, 16, 64, 256, 720]
