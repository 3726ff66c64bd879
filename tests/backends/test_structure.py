"""The structure of the table as we decode it, held against what nft says of it.

``python tests/backends/test_structure.py NFT...`` prints what is recorded in tests/data: the JSON
of another nft, which the command NFT runs, for the table in every state.
"""

import errno
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from harness import DATA
from pytest_mock import MockerFixture
from strangers import DAMAGES

from backends.nftables import expressions as expr
from backends.nftables import layout, structure
from backends.nftables.backend import Nftables
from reconciler import Desired, Network, Networks, Observed
from reconciler.execute import CommandFailed, run
from reconciler.host.netns import Namespace
from reconciler.netlink import (
    APPEND,
    CREATE,
    NFTABLES,
    Connection,
    Message,
    attribute,
    nested,
    number,
    refusal,
    text,
)
from reconciler.netlink.connection import messages
from reconciler.planning.plan import plan
from reconciler.testing.backend import EXAMPLE

Nft = Callable[..., str]

RECORDED = sorted(DATA.glob("nft-*.json"))

MANY = Desired(
    EXAMPLE.banned
    | Networks.of_hosts(4, b"".join((0x0B000000 + host).to_bytes(4) for host in range(200_000))),
    EXAMPLE.passed,
)

STATES: Mapping[str, str] = {
    **DAMAGES,
    "healthy": "",
    "the policy": "add chain inet treason prerouting { policy drop; }",
    "no hook": (
        "delete chain inet treason prerouting; add chain inet treason prerouting;"
        ' add rule inet treason prerouting iif "lo" accept'
    ),
    "another hook": (
        "delete chain inet treason prerouting; add chain inet treason prerouting"
        " { type filter hook input priority filter + 5; }"
    ),
    "a chain of nat": "add chain inet treason n { type nat hook postrouting priority srcnat; }",
    "a chain with a comment": 'add chain inet treason c { comment "a, b"; }',
    "rules of many kinds": (
        "add rule inet treason prerouting ip saddr { 192.0.2.1, 192.0.2.2 } tcp dport 22-25"
        " meta length 40-60 limit rate 5/second counter accept;"
        " add rule inet treason prerouting meta mark & 0xff == 5 meta mark set 7;"
        " add rule inet treason prerouting ip6 saddr @passed6 tcp flags syn / syn,ack drop"
    ),
    "a rule with a comment": 'add rule inet treason prerouting iif "lo" accept comment "mine"',
    "inverted": "add rule inet treason prerouting ip saddr != @banned4 counter drop",
    "an empty chain": "flush chain inet treason prerouting",
    "a set of another type": "add set inet treason o { type inet_service; flags interval; }",
    "a set with a timeout": "add set inet treason o { type ipv4_addr; timeout 3h; }",
    "a set that is changed by packets": (
        "add set inet treason o { type ipv4_addr; size 100; flags dynamic,timeout; }"
    ),
    "a set that merges": (
        'add set inet treason o { type ipv6_addr; flags interval; auto-merge; comment "z"; }'
    ),
    "a set by memory": "add set inet treason o { type ipv6_addr; policy memory; }",
    "a set of pairs": "add set inet treason o { type ipv4_addr . inet_service; }",
    "a map": "add map inet treason o { type ipv4_addr : verdict; }",
    "a counter": "add counter inet treason o",
    "a quota and a limit": (
        "add quota inet treason o { over 9 mbytes; }; add limit inet treason l { rate 4/minute; }"
    ),
}
"""What is done to the table, which is as it is to be, by somebody else."""


def held(state: str, wanted: Desired = EXAMPLE) -> structure.Structure | None:
    """Let the kernel hold what is wanted, do to it what the state names, and read its structure."""
    backend = Nftables()
    made = plan(wanted, backend.observe())
    assert made is not None
    backend.apply(made)
    if STATES[state]:
        run(["nft", STATES[state]])
    return structure.read(Connection(), layout.CHAIN)


def listed(command: Sequence[str]) -> list[dict[str, Any]]:
    """Let an nft list the table in JSON."""
    try:
        told = run([*command, "-j", "list", "table", "inet", "treason"]).output
    except CommandFailed:
        return []
    return [each for each in json.loads(told)["nftables"] if "metainfo" not in each]


def nft_says(items: list[dict[str, Any]]) -> dict[str, object]:
    """Return what nft's JSON says of sets, chains, rules and other things."""
    said: dict[str, object] = {}
    rules: dict[str, int] = {}
    for item in items:
        [(kind, told)] = item.items()
        if kind == "rule":
            rules[told["chain"]] = rules.get(told["chain"], 0) + 1
        elif kind in {"set", "map"}:
            said[f"set {told['name']}"] = _set(kind, told)
        elif kind == "chain":
            said[f"chain {told['name']}"] = _chain(told)
        elif kind != "table":
            said[f"object {told['name']}"] = ()
    return said | {f"rules of {chain}": count for chain, count in rules.items()}


def _set(kind: str, told: Mapping[str, Any]) -> tuple[str, ...]:
    pair = isinstance(told["type"], list)
    named = {"inet_service": "type number 13, 2 bytes", "ipv4_addr": "type ipv4_addr"}
    named |= {"ipv6_addr": "type ipv6_addr"}
    flags = [*(["map"] if kind == "map" else []), *told.get("flags", [])]
    flags += ["timeout"] if "timeout" in told and "timeout" not in flags else []
    order = ["interval", "map", "timeout", "dynamic", "concatenated"]
    lines = ["a pair" if pair else named[told["type"]]]
    lines += [f"flags {','.join(sorted(flags, key=order.index))}"] if flags else []
    lines += [f"size {told['size']}"] if "size" in told else []
    lines += [name for name in ("policy", "timeout", "gc-interval") if name in told]
    lines += ["auto-merge"] if told.get("auto-merge") else []
    return (*lines, *([f'comment "{told["comment"]}"'] if "comment" in told else ()))


def _chain(told: Mapping[str, Any]) -> tuple[str, ...]:
    lines = []
    if "hook" in told:
        lines.append(
            f"type {told['type']} hook {told['hook']} priority {told['prio']};"
            f" policy {told['policy']};"
        )
    return (*lines, *([f'comment "{told["comment"]}"'] if "comment" in told else ()))


def we_say(found: structure.Structure | None) -> dict[str, object]:
    """Return the same of what we read."""
    if found is None:
        return {}
    said: dict[str, object] = dict.fromkeys(found.others, ())
    for name, each in found.sets.items():
        lines = [re.sub(r"type number \d{3,}, 8 bytes", "a pair", line) for line in each.lines]
        said[f"set {name}"] = tuple(lines)
    for name, chain in found.chains.items():
        said[f"chain {name}"] = chain.lines
        said |= {f"rules of {name}": len(chain.rules)} if chain.rules else {}
    return said


UNTOLD = re.compile(r'auto-merge|comment ".*"|,dynamic')
"""What the JSON of older versions of nft leaves out, though their text has it."""


def told(lines: object) -> object:
    """Return what every nft tells of an object."""
    if not isinstance(lines, tuple):
        return lines
    return [line for each in lines if (line := UNTOLD.sub("", each))]


def agree(found: structure.Structure | None, items: list[dict[str, Any]]) -> bool:
    """Whether we say what nft says, and nothing more but what it may leave out."""
    ours, theirs = we_say(found), nft_says(items)
    return ours.keys() == theirs.keys() and all(
        each == theirs[subject] or told(each) == told(theirs[subject])
        for subject, each in ours.items()
    )


@pytest.mark.parametrize("state", STATES)
def test_we_say_what_nft_says(state: str, host: None) -> None:
    """Of sets, chains, the number of rules and everything else."""
    assert agree(held(state), listed(["nft"]))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
@pytest.mark.parametrize("state", STATES)
def test_we_say_what_another_nft_said(state: str, recorded: Path, host: None) -> None:
    """It was recorded where the kernel is as new as here."""
    assert agree(held(state), json.loads(recorded.read_text())[state])


def test_there_is_a_record() -> None:
    """Of an nft that is newer than the distributions'."""
    assert RECORDED


@pytest.mark.parametrize("state", STATES)
def test_a_rule_is_ours_where_nft_says_the_same(state: str, host: None) -> None:
    """And only there: what is decoded is judged as its text is; so are the table's flags."""
    found = held(state)
    if found is None:
        return
    ours = {chain.name: chain for chain in layout.shape_of(found).chains}
    listing = run(["nft", "-a", "-s", "-n", "-y", "list", "table", "inet", "treason"]).output
    assert ("flags dormant" in listing) == bool(found.lines)
    for name, chain in found.chains.items():
        rules = ours[name].rules if name in ours else ()
        texts = {rule.text: rule.decoded() for rule in rules}
        for rule in chain.rules:
            (said,) = re.findall(rf"\t\t(.*) # handle {rule.handle}\n", listing)
            known = not rule.more and rule.expressions in texts.values()
            assert known == (said in texts)
            assert not known or texts[said] == rule.expressions


@pytest.mark.parametrize("wanted", [EXAMPLE, MANY], ids=["few", "many"])
def test_each_rule_says_what_nft_says(wanted: Desired, host: None) -> None:
    """Our words for a rule are nft's, so a rule that is shown can be found."""
    found = held("healthy", wanted)
    assert found is not None
    ours = {chain.name: chain for chain in layout.shape_of(found).chains}
    assert found.chains.keys() == ours.keys()
    for name, chain in found.chains.items():
        said = run(["nft", "-a", "-s", "-n", "list", "chain", "inet", "treason", name]).output
        for rule, wanted_rule in zip(chain.rules, ours[name].rules, strict=True):
            assert f"\t\t{wanted_rule.text} # handle {rule.handle}\n" in said


def test_a_rule_that_is_not_ours_is_told_in_its_own_words(host: None) -> None:
    """Also where it asks a set without a name, which is no object of its own."""
    held("rules of many kinds")
    [damage] = Nftables().observe().damage
    assert damage.subject == "chain prerouting"
    assert "has 'ip saddr { 192.0.2.1, 192.0.2.2 } tcp dport 22-25 meta length" in str(damage)


ABORTING = "import os\nclass Nftables:\n    def __init__(self):\n        os.abort()\n"
HANGING = "import time\ntime.sleep(60)\n"
MISSING = "raise OSError('libnftables.so.1: cannot open shared object file')\n"


@pytest.mark.parametrize("library", [ABORTING, HANGING, MISSING], ids=["aborts", "hangs", "none"])
def test_libnftables_may_fail_in_any_way(
    library: str, host: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule is told by what it is made of, in little time; the pass goes on."""
    held("inverted")
    monkeypatch.setattr("backends.nftables.foreign._PATIENCE", 1.0)
    (tmp_path / "nftables.py").write_text(library)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    [damage] = Nftables().observe().damage
    assert time.monotonic() - started < 10
    assert "made of meta, cmp, payload, lookup, counter, immediate" in str(damage)
    assert not [*tmp_path.glob("core*")]


def test_no_module_of_the_current_directory_is_loaded(
    host: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write there is not to run as root."""
    held("inverted")
    (tmp_path / "nftables.py").write_text("open('loaded', 'w')\n")
    (tmp_path / "attrs.py").write_text("open('loaded', 'w')\n")
    monkeypatch.chdir(tmp_path)
    [damage] = Nftables().observe().damage
    assert "ip saddr != @banned4" in str(damage)
    assert not Path("loaded").exists()


KINDS: Sequence[Callable[[random.Random], str]] = (
    lambda r: f"ip saddr 10.{r.randrange(256)}.0.0/16 tcp dport {r.randrange(1, 65536)} accept",
    lambda r: f"ip6 daddr 2001:db8::{r.randrange(65536):x} counter drop",
    lambda r: f'counter log prefix "drop {r.randrange(99)} x {{ "',
    lambda r: f'meta mark set {r.randrange(2**32)} comment "table inet treason {{"',
    lambda r: f"ct state established,related limit rate {r.randrange(1, 99)}/second accept",
    lambda r: f"tcp dport {{ {r.randrange(1, 9)}, {r.randrange(10, 99)} }} reject with tcp reset",
    lambda r: f"iifname vmap {{ eth{r.randrange(9)} : drop, wlan0 : continue }}",
    lambda r: f"ip saddr & 0.0.0.15 vmap {{ 0.0.0.{r.randrange(15)} : accept }}",
    lambda r: f"meta length {r.randrange(99)}-{r.randrange(100, 999)} notrack",
    lambda r: f"ip saddr @banned4 meta cpu {r.randrange(8)} counter drop",
)


def script(seed: int) -> str:
    """Return a thousand rules of many kinds, in a table that looks like ours."""
    chosen = random.Random(seed)  # noqa: S311 - it protects nothing
    rules = (kind(chosen) for kind in chosen.choices(KINDS, k=1000))
    return (
        "table inet treason2 {\n"
        ' comment "}\ntable inet treason {\n\tx\n}\n"\n'
        " set banned4 { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }\n"
        " counter banned4 { }\n"
        " chain drop4_0 { }\n"
        " chain prerouting { type filter hook prerouting priority -400;\n"
        + "".join(f"  {rule}\n" for rule in rules)
        + " }\n}\n"
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_thousand_rules_of_others_change_nothing(seed: int, host: None) -> None:
    """They are neither read nor touched, whatever they look like."""
    held("healthy")
    before = Nftables().observe()
    run(["nft", "-f", "-"], given=script(seed))
    iptables = ["iptables-nft", "-A", "INPUT", "-j", "LOG", "--log-prefix", 'drop "x ']
    run([*iptables, "-m", "comment", "--comment", 'a "\n}'])
    theirs = run(["nft", "-s", "list", "table", "inet", "treason2"]).output
    assert Nftables().observe() == before == Observed(EXAMPLE.banned, EXAMPLE.passed)
    backend = Nftables()
    more = Desired(EXAMPLE.banned | {Network.parse("192.0.2.200")}, EXAMPLE.passed)
    made = plan(more, backend.observe())
    assert made is not None
    backend.apply(made)
    assert backend.confirm(made)
    Nftables().teardown()
    assert run(["nft", "-s", "list", "table", "inet", "treason2"]).output == theirs


@pytest.mark.parametrize(("operator", "same"), [(0, True), (1, False)])
def test_a_range_is_the_two_comparisons_that_it_means(operator: int, same: bool) -> None:
    """So nft writes it from 1.1 on, also when it loads a saved table; an inverted one differs."""
    low, high = bytes([135]), bytes([136])
    written = nested(
        1,
        text(1, "range"),
        nested(
            2, number(1, 1), number(2, operator),
            nested(3, attribute(1, low)), nested(4, attribute(1, high)),
        ),
    )  # fmt: skip
    ours = expr.compare(low, expr.AT_LEAST) + expr.compare(high, expr.AT_MOST)
    assert ([*expr.decoded(written)] == [*expr.decoded(ours)]) is same


def test_a_name_that_is_no_text_is_damage_as_any_other(host: None) -> None:
    """A set in our table, and a rule that asks it: it is mended, and no traceback is shown."""
    held("healthy")
    made = [number(3, 0), number(4, 7), number(5, 4), number(10, 9)]
    odd = attribute(2, b"\xff\0")
    ask = nested(1, text(1, "lookup"), nested(2, attribute(1, b"\xff\0"), number(2, 1)))
    load = nested(1, text(1, "meta"), nested(2, number(1, 1), number(2, 16)))
    rule = text(1, "treason") + text(2, "prerouting") + nested(4, load, ask)
    Connection().commit([
        Message(NFTABLES << 8 | 9, 1, text(1, "treason") + odd + b"".join(made), CREATE),
        Message(NFTABLES << 8 | 6, 1, rule, CREATE | APPEND),
    ])  # fmt: skip
    assert Nftables().observe().damage
    made_plan = plan(EXAMPLE, Nftables().observe())
    assert made_plan is not None
    Nftables().apply(made_plan)
    assert not Nftables().observe().damage


def test_lists_that_others_interrupt_are_asked_for_again(host: None, mocker: MockerFixture) -> None:
    """When reading, when changing and when confirming; nothing fails for it."""
    real, turns = structure.read, count()

    def read(connection: Connection, base: str) -> structure.Structure | None:
        if next(turns) % 2 == 0:
            raise refusal(errno.ERESTART)
        return real(connection, base)

    mocker.patch.object(structure, "read", read)
    backend = Nftables()
    made = plan(EXAMPLE, backend.observe())
    assert made is not None
    assert backend.render(made)
    backend.apply(made)
    assert backend.confirm(made)


def test_the_parts_of_other_families_named_as_ours_are_not_ours(host: None, nft: Nft) -> None:
    """A table of the same name in another family, with the same sets and chains."""
    held("healthy")
    for family in ("ip", "ip6", "bridge"):
        nft(f"add table {family} treason; add chain {family} treason prerouting")
        nft(f"add set {family} treason banned4 {{ type ipv4_addr; timeout 3s; }}")
        nft(f"add chain {family} treason foreign; add counter {family} treason o")
    assert not Nftables().observe().damage


def test_a_chain_more_is_found_by_what_the_kernel_counts(host: None, nft: Nft) -> None:
    """Though chains are asked for by their names, unless the table counts more than is known."""
    held("healthy")
    asked: list[int] = []
    real = Connection.ask

    class Counting(Connection):
        def ask(self, request: Any, split: Any = messages) -> Iterator[Any]:
            asked.append(request.kind & 0xFF)
            return real(self, request, split)

    structure.read(Counting(), "prerouting")
    assert asked.count(4) == 1
    nft("add chain inet treason nowhere")
    found = structure.read(Counting(), "prerouting")
    assert found is not None
    assert "nowhere" in found.chains


def test_others_chains_are_not_listed(host: None, nft: Nft, mocker: MockerFixture) -> None:
    """Two thousand of them cost nothing, for none is asked for."""
    held("healthy")
    chains = "".join(f"add chain inet other c{number}\n" for number in range(2_000))
    run(["nft", "-f", "-"], given="add table inet other\n" + chains)
    ours = mocker.spy(structure, "_ours")
    assert not Nftables().observe().damage
    assert [call.args[1] for call in ours.call_args_list] == [10, 7]  # sets and rules


def record(command: Sequence[str]) -> None:
    """Print what an nft says of the table in each state."""
    said = {}
    for state in STATES:
        namespace = Namespace()
        with namespace.entered():
            held(state)
            said[state] = listed(command)
        namespace.close()
    lines = (f"{json.dumps(state)}: {json.dumps(items)}" for state, items in said.items())
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    record(sys.argv[1:])
