"""The backend iptables, on the real kernel in a namespace of its own, in both variants."""

import fcntl
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from harness import REAL_ROOT
from pytest_mock import MockerFixture
from strangers import GAPS, NFT_GAPS, gaps

from backends.ipset import Settings as IpsetSettings
from backends.ipset.backend import Ipset
from backends.iptables import Settings, persist, treason_backends
from backends.iptables.backend import MANY, Iptables
from backends.xtables import legacy, programs
from backends.xtables.hooks import Repair
from reconciler import (
    BackendError,
    BackendFailed,
    BackendUnreadable,
    Desired,
    Network,
    Plan,
)
from reconciler.execute import CommandFailed, Completed, run
from reconciler.host.netns import Namespace
from reconciler.planning.desired import desired
from reconciler.planning.plan import plan
from reconciler.testing import (
    AskableContract,
    BackendContract,
    CountingContract,
    PacketContract,
)
from reconciler.toml.schema import Refused, fill

WANTED = desired(
    map(Network.parse, ("192.0.2.7", "198.51.100.128/25", "2001:db8::7", "2001:db8:7::/48")),
    map(Network.parse, ("203.0.113.9", "2001:db8:9::/64")),
)
EXACT4 = """\
-A TREASON -i lo -j RETURN
-A TREASON -s 203.0.113.9/32 -j RETURN
-A TREASON -s 192.0.2.7/32 -j DROP
-A TREASON -s 198.51.100.128/25 -j DROP
"""
EXACT6 = """\
-A TREASON -i lo -j RETURN
-A TREASON -p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j RETURN
-A TREASON -p ipv6-icmp -m icmp6 --icmpv6-type 136 -m hl --hl-eq 255 -j RETURN
-A TREASON -s 2001:db8:9::/64 -j RETURN
-A TREASON -s 2001:db8::7/128 -j DROP
-A TREASON -s 2001:db8:7::/48 -j DROP
"""
JUMPS = "-A INPUT -j TREASON\n-A FORWARD -j TREASON\n"

ROOMY = pytest.mark.skipif(not REAL_ROOT, reason="a user namespace allows small transactions only")

DAMAGES = {
    "a ban deleted": "iptables -D TREASON -s 192.0.2.7 -j DROP",
    "a foreign ban": "iptables -A TREASON -s 203.0.113.77 -j DROP",
    "a ban of everything": "ip6tables -A TREASON -j DROP",
    "a foreign pass": "ip6tables -I TREASON 4 -s 2001:db8:1::1 -j RETURN",
    "a pass of everything": "iptables -I TREASON 2 -j RETURN",
    "a pass deleted": "iptables -D TREASON -s 203.0.113.9 -j RETURN",
    "an accept inserted first": "iptables -I TREASON -j ACCEPT",
    "a foreign rule at the end": "ip6tables -A TREASON -p tcp --dport 22 -j ACCEPT",
    "a ban with a match": "iptables -A TREASON -s 203.0.113.77 -p tcp -j DROP",
    "a ban inverted": "iptables -A TREASON ! -s 203.0.113.77 -j DROP",
    "a ban ahead of the passes": (
        "iptables -D TREASON -s 192.0.2.7 -j DROP; iptables -I TREASON 2 -s 192.0.2.7 -j DROP"
    ),
    "a ban twice": "iptables -A TREASON -s 192.0.2.7 -j DROP",
    "a pass twice": "iptables -I TREASON 2 -s 203.0.113.9 -j RETURN",
    "loopback passed last": (
        "iptables -D TREASON -i lo -j RETURN; iptables -A TREASON -i lo -j RETURN"
    ),
    "loopback not passed": "ip6tables -D TREASON -i lo -j RETURN",
    "neighbours not found": "ip6tables -D TREASON 2",
    "the chain flushed": "ip6tables -F TREASON",
    "the chain deleted": (
        "iptables -D INPUT -j TREASON; iptables -D FORWARD -j TREASON; iptables -F TREASON;"
        " iptables -X TREASON"
    ),
    "a jump deleted": "ip6tables -D FORWARD -j TREASON",
    "a jump twice": "iptables -A INPUT -j TREASON",
    "a jump at the second place": (
        "iptables -A INPUT -p tcp -j RETURN; iptables -D INPUT 1; iptables -A INPUT -j TREASON"
    ),
    "a jump behind another rule": "iptables -I INPUT -s 203.0.113.9 -j RETURN",
    "a jump with a match": "iptables -D INPUT 1; iptables -I INPUT -p tcp -j TREASON",
    "a jump with a wild comment": (
        "iptables -A INPUT -m comment --comment 'a \"b\" -g TREASON \\ $c' -j TREASON"
    ),
    "a jump instead of a call": "iptables -D INPUT 1; iptables -I INPUT -g TREASON",
    "a jump from a foreign chain": "iptables -N foreign; iptables -A foreign -j TREASON",
    "a jump from a chain that is not hooked": "ip6tables -A OUTPUT -g TREASON",
    "a chain in a table that is not hooked": (
        "iptables -t raw -N TREASON; iptables -t raw -A TREASON -s 192.0.2.99 -j DROP;"
        " iptables -t raw -A PREROUTING -j TREASON; iptables -t raw -A OUTPUT -p tcp -g TREASON"
    ),
    "everything flushed": "iptables -F; iptables -X",
}
HARMLESS = {
    "a rule behind the others": "iptables -A TREASON -p tcp -j RETURN",
    "a jump from a chain that is not hooked": "iptables -A OUTPUT -j TREASON",
    "a jump twice": "iptables -A INPUT -j TREASON",
    "a rule ahead of the jump": "iptables -I INPUT -s 203.0.113.99 -j RETURN",
}


@pytest.fixture(autouse=True)
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock of the test's own: the machine's is root's, and shared."""
    path = tmp_path / "xtables.lock"
    monkeypatch.setenv("XTABLES_LOCKFILE", str(path))
    return path


@pytest.fixture(params=["nft", "legacy"])
def variant(request: pytest.FixtureRequest, host: None) -> str:
    """Each variant, in an empty namespace."""
    return str(request.param)


def shell(text: str, variant: str) -> str:
    """Run iptables commands in one variant, as somebody else would."""
    named = re.sub(r"\b(ip6?tables)(?=[ -])", rf"\1-{variant}", text)
    script = named.replace(";", " &&")
    return run(["sh", "-c", script]).output


def saved(variant: str, family: str = "iptables", *, counters: bool = False) -> str:
    """List all tables of a family, without the lines that tell program and time."""
    text = run([f"{family}-{variant}-save", *(["-c"] if counters else [])]).output
    return "".join(line for line in text.splitlines(keepends=True) if line[0] != "#")


def lines(text: str, word: str) -> str:
    """Return the lines that hold the word."""
    return "".join(line for line in text.splitlines(keepends=True) if word in line)


def without(text: str, word: str = "TREASON") -> str:
    """Return the lines that do not hold the word."""
    return "".join(line for line in text.splitlines(keepends=True) if word not in line)


@contextmanager
def failing(name: str, *, after: bool = False, times: int = 1) -> Iterator[None]:
    """Let a program fail, or lose its answer, at its first calls."""
    real, calls = getattr(programs, name), count()
    kind = BackendUnreadable if name == "save" else BackendFailed

    def call(*arguments: object, **options: object) -> object:
        turn = next(calls)
        answer = real(*arguments, **options) if turn >= times or after else None
        if turn < times:
            raise kind("iptables: the power failed")
        return answer

    with patch.object(programs, name, call):
        yield


def _strike(contract: Any, text: str) -> None:
    shell(text, contract.variant)


class VariantContract(BackendContract, PacketContract, CountingContract, AskableContract):
    """The contract, on the real kernel, in one variant."""

    variant: ClassVar[str]
    beyond = 20_000

    @pytest.fixture
    def backend(self, namespace: Namespace) -> Iptables:
        """A firewall of the test's own."""
        return Iptables(Settings(variant=self.variant))

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        name: partial(_strike, text=text) for name, text in DAMAGES.items()
    }
    harmless: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        name: partial(_strike, text=text) for name, text in HARMLESS.items()
    }
    gaps: ClassVar[Mapping[str, Callable[[Any], object]]] = gaps(GAPS)
    faults: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "reading": lambda _: failing("save"),
        "the restore": lambda _: failing("restore"),
        "the restore's answer": lambda _: failing("restore", after=True),
    }

    def unreadable(self) -> AbstractContextManager[None]:
        """The kernel refuses to list anything."""
        return failing("save", times=2)

    def foreign(self) -> Callable[[], object]:
        """Chains, rules, policies and counters of others."""
        shell("iptables -P FORWARD DROP; iptables -N other; iptables -A INPUT -j other; iptables"
              " -A other -p tcp --dport 22 -m comment --comment 'go TREASON' -c 7 70 -j ACCEPT;"
              " ip6tables -A INPUT -s 2001:db8:1::/48 -j DROP;"
              " iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE", self.variant)  # fmt: skip
        return lambda: [
            re.sub(r"(?m)^.* -j TREASON\n|^:TREASON.*\n|^.*-A TREASON .*\n", "", text)
            for text in self._saved()
        ]

    def owned(self) -> object:
        """The chains and the jumps to them; bans may be in any order."""
        return [sorted(lines(text, "TREASON").splitlines()) for text in self._saved()]

    def _saved(self) -> list[str]:
        counters = r"\[\d+:\d+\] (?=-A (?:INPUT|FORWARD|TREASON))|(?<=- )\[.*\]"
        families = ("iptables", "ip6tables")
        return [re.sub(counters, "", saved(self.variant, each, counters=True)) for each in families]


class TestNft(VariantContract):
    """The variant of nf_tables."""

    variant = "nft"
    many = 10_000 if REAL_ROOT else 300  # a user namespace allows small transactions only
    gaps: ClassVar[Mapping[str, Callable[[Any], object]]] = gaps({**GAPS, **NFT_GAPS})


class TestLegacy(VariantContract):
    """The variant of x_tables, with its structure through python-iptables."""

    variant = "legacy"


def firewall(variant: str, *hooks: str, persist: bool = False) -> Iptables:
    """Make the backend."""
    return Iptables(Settings(variant, hooks or ("INPUT", "FORWARD"), persist))


def needed(backend: Iptables, state: Desired = WANTED) -> Plan | None:
    """Return the plan that would be needed now."""
    return plan(state, backend.observe())


def enforce(backend: Iptables, state: Desired = WANTED) -> Plan:
    """Make the kernel hold the state."""
    made = needed(backend, state)
    assert made is not None
    backend.apply(made)
    return made


@pytest.fixture
def reachable(host: None) -> None:
    """Addresses of both families by which others could come."""
    for address in ("192.0.2.1/24", "2001:db8::1/64"):
        run(["ip", "address", "add", address, "dev", "lo"])


def problem(backend: Iptables) -> BackendError:
    """Return what keeps packets from being dropped, and is not the backend's to mend."""
    (only,) = backend.observe().problems
    return only


def damage(backend: Iptables) -> list[str]:
    """Return all that is damaged, in words."""
    return [str(each) for each in backend.observe().damage]


def test_the_kernel_holds_exactly_what_is_desired(variant: str) -> None:
    """As iptables-save prints it: loopback, neighbours, whitelist, bans, a jump in each hook."""
    backend = firewall(variant)
    enforce(backend)
    assert lines(saved(variant), "-A") == JUMPS + EXACT4
    assert lines(saved(variant, "ip6tables"), "-A") == JUMPS + EXACT6
    assert needed(backend) is None


def test_a_small_change_is_a_line_each_and_additions_come_first(variant: str) -> None:
    """The chain is not declared, so it is not flushed; the other family is left alone."""
    backend = firewall(variant)
    enforce(backend)
    other = Desired(
        WANTED.banned - {Network.parse("192.0.2.7")} | {Network.parse("10.0.0.0/8")}, WANTED.passed
    )
    made = needed(backend, other)
    assert made is not None
    assert backend.render(made) == (
        f"# iptables-{variant}-restore --noflush --wait 10\n*filter\n"
        "-A TREASON -s 10.0.0.0/8 -j DROP\n-D TREASON -s 192.0.2.7/32 -j DROP\nCOMMIT\n"
    )
    enforce(backend, other)
    assert needed(backend, other) is None


@pytest.mark.parametrize(
    "damage",
    [
        "a ban deleted",
        "a foreign ban",
        "a pass of everything",
        "neighbours not found",
        "the chain flushed",
        "the chain deleted",
        "a jump deleted",
        "a jump twice",
        "a jump behind another rule",
        "a jump with a match",
        "a jump instead of a call",
        "a jump from a foreign chain",
        "a chain in a table that is not hooked",
        "everything flushed",
    ],
)
def test_a_change_is_confirmed_by_what_the_kernel_counts(host: None, damage: str) -> None:
    """Rules and jumps; not before the change, and not when either is another."""
    backend = firewall("nft", "INPUT", "FORWARD", "raw/PREROUTING")
    made = needed(backend)
    assert made is not None
    assert not backend.confirm(made)
    backend.apply(made)
    assert backend.confirm(made)
    shell(DAMAGES[damage].replace("-t raw", "-t mangle"), "nft")
    assert not backend.confirm(made)


def test_what_has_not_changed_is_not_listed_again(variant: str, mocker: MockerFixture) -> None:
    """Between the look and the change; the legacy variant cannot tell, so it is."""
    backend = firewall(variant)
    enforce(backend)
    spy = mocker.spy(programs, "save")
    other = Desired(WANTED.banned - {Network.parse("192.0.2.7")}, WANTED.passed)
    made = needed(backend, other)
    assert made is not None
    looks = spy.call_count
    assert backend.render(made)
    assert spy.call_count == looks + (2 if variant == "legacy" else 0)
    shell("iptables -D TREASON -s 192.0.2.7 -j DROP", variant)
    assert backend.render(made) == ""
    backend.apply(made)
    assert needed(backend, other) is None


def test_what_the_kernel_does_not_count_is_not_confirmed(variant: str) -> None:
    """Legacy tables, and what is saved for the next boot: both are read back."""
    backend = firewall(variant)
    made = enforce(backend)
    assert backend.confirm(made) is (variant == "nft")
    assert not firewall(variant, persist=True).confirm(made)


def test_many_removals_replace_the_chain(variant: str) -> None:
    """Eleven deletions cost more than a new chain."""
    backend = firewall(variant)
    many = Desired(frozenset(Network.of(4, 0x0B000000 + i, 32) for i in range(11)))
    enforce(backend, many)
    made = needed(backend, Desired())
    assert made is not None
    assert ":TREASON - [0:0]" in backend.render(made)
    assert "-D" not in backend.render(made)


@ROOMY
def test_a_change_of_ten_thousand_runs_a_handful_of_programs(
    variant: str, mocker: MockerFixture
) -> None:
    """Two lists and a restore, and a look at the other variant."""
    backend = firewall(variant)
    enforce(backend, Desired())
    made = needed(
        backend, Desired(frozenset(Network.of(4, 0xB000000 + i, 32) for i in range(10**4)))
    )
    assert made is not None
    spy = mocker.spy(subprocess, "run")
    backend.apply(made)
    assert spy.call_count <= 3


def test_a_lost_jump_comes_back_without_the_rules_being_sent(variant: str) -> None:
    """The chain's content is right, so only the jump is made."""
    backend = firewall(variant)
    enforce(backend)
    shell("iptables -D INPUT -j TREASON", variant)
    made = needed(backend)
    assert made is not None
    assert [line for line in backend.render(made).splitlines() if line[0] != "#"] == [
        "*filter", "-I INPUT 1 -j TREASON", "COMMIT",
    ]  # fmt: skip


def test_other_chains_and_tables_can_be_hooked(variant: str) -> None:
    """DOCKER-USER keeps its rules behind the jump, IPv6 does without it; raw has a chain too."""
    shell("iptables -N DOCKER-USER; iptables -A DOCKER-USER -s 10.0.0.1 -j DROP", variant)
    backend = firewall(variant, "DOCKER-USER", "raw/PREROUTING")
    enforce(backend)
    listing = saved(variant)
    jumps = "-A DOCKER-USER -j TREASON\n-A DOCKER-USER -s 10.0.0.1/32 -j DROP\n"
    assert jumps in listing
    assert "-A PREROUTING -j TREASON\n" + EXACT4 in listing
    assert listing.count(EXACT4) == 2
    assert "-A INPUT" not in listing
    assert needed(backend) is None


def test_tables_that_hold_different_bans_are_made_equal(variant: str) -> None:
    """What one table's chain lacks is damage, although another's holds it."""
    backend = firewall(variant, "INPUT", "raw/PREROUTING")
    enforce(backend)
    shell("iptables -t raw -D TREASON -s 192.0.2.7 -j DROP", variant)
    assert damage(backend) == ["chain TREASON (IPv4 raw): lacks '-s 192.0.2.7/32 -j DROP'"]
    enforce(backend)
    assert needed(backend) is None
    assert saved(variant).count("-A TREASON -s 192.0.2.7/32 -j DROP\n") == 2


def test_a_hook_that_nobody_made_is_told_and_all_else_is_done(variant: str) -> None:
    """The error names it; it is hooked when it is there."""
    backend = firewall(variant, "INPUT", "DOCKER-USER")
    enforce(backend)
    assert "-A INPUT -j TREASON\n" + EXACT4 in saved(variant)
    assert problem(backend).what == "iptables: DOCKER-USER: the chain to hook into does not exist"
    assert "remove it from hooks" in problem(backend).hint
    shell("iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER", variant)
    enforce(backend)
    assert needed(backend) is None
    assert not backend.observe().problems


def test_hooks_that_are_no_longer_wanted_lose_their_jumps_and_chains(variant: str) -> None:
    """A chain in a table without a hook does not belong there."""
    enforce(firewall(variant, "INPUT", "raw/PREROUTING"))
    backend = firewall(variant, "FORWARD")
    assert "chain TREASON (IPv6 raw): does not belong here" in damage(backend)
    enforce(backend)
    assert lines(saved(variant), "-A") == "-A FORWARD -j TREASON\n" + EXACT4
    assert needed(backend) is None


def test_a_comment_with_line_breaks_imitates_nothing(variant: str) -> None:
    """Neither a rule of ours nor a table."""
    backend = firewall(variant)
    enforce(backend)
    comment = 'x"\n-A TREASON -s 10.9.9.9/32 -j DROP\n*raw\n:TREASON - [0:0]\n\\'
    run([f"iptables-{variant}", "-A", "INPUT", "-m", "comment", "--comment", comment, "-j", "DROP"])
    assert needed(backend) is None


def test_every_other_variant_with_rules_is_noted(variant: str) -> None:
    """Rules are one line; a chain of ours that was left over is another, with the remedy."""
    other = {"nft": "legacy", "legacy": "nft"}[variant]
    backend = firewall(variant)
    enforce(backend)
    assert backend.observe().notes == ()
    shell("ip6tables -A INPUT -j ACCEPT", other)
    (note,) = backend.observe().notes
    assert note.startswith(f"iptables-{other} holds rules too")
    enforce(firewall(other))
    (note,) = backend.observe().notes
    assert "if no backend uses it" in note
    assert f'variant = "{other}"' in note
    assert needed(backend) is None
    firewall(other).teardown()
    (note,) = backend.observe().notes
    assert note.startswith(f"iptables-{other} holds rules too")


def generation() -> bytes:
    """Ask for the id of the ruleset, which each transaction changes (linux/nf_tables.h)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as kernel:  # NETLINK_NETFILTER
        kernel.send(struct.pack("=IHHIIBBH", 20, 10 << 8 | 16, 1, 0, 0, 0, 0, 0))  # GETGEN
        return kernel.recv(4096)[24:28]  # behind the headers and that of NFTA_GEN_ID


def test_another_variant_that_cannot_be_listed_is_not_noted(host: None) -> None:
    """It need not be installed, and nothing of ours depends on it."""
    enforce(firewall("legacy"))
    backend = firewall("nft")
    enforce(backend)
    assert len(backend.observe().notes) == 1
    real = programs.save

    def refuse(version: int, variant: str, *patience: float, counted: bool = False) -> str:
        if variant == "legacy":
            raise BackendUnreadable("iptables-legacy-save: no")
        return real(version, variant, *patience, counted=counted)

    with patch.object(programs, "save", refuse):
        assert backend.observe().notes == ()
    with patch.object(programs, "installed", return_value=False):
        assert backend.observe().notes == ()


def test_looking_changes_nothing(host: None) -> None:
    """No legacy table is registered, and no transaction of nft is made."""
    names = Path("/proc/thread-self/net/ip_tables_names")
    before = generation()
    for setting in ("auto", "nft", "legacy"):
        backend = firewall(setting)
        made = needed(backend)
        assert made is not None
        assert backend.render(made)
        backend.teardown()
    assert not names.exists() or names.read_text() == ""
    assert generation() == before
    run(["nft", "add table ip x"])
    assert generation() != before


def test_auto_is_what_iptables_is(mocker: MockerFixture) -> None:
    """By the word in its version; an old one without a word is the legacy one."""
    answer = mocker.patch("reconciler.execute.run").return_value
    for said, chosen in (("v1.8.9 (nf_tables)", "nft"), ("v1.8.9 (legacy)", "legacy"),
                         ("v1.6.1", "legacy")):  # fmt: skip
        answer.output = f"iptables {said}\n"
        assert programs.resolve("auto") == chosen
    (plugin,) = treason_backends()
    assert plugin.claims(Settings()) == ["chain TREASON of iptables-legacy"]
    assert plugin.claims(Settings("nft")) == ["chain TREASON of iptables-nft"]


def test_programs_without_a_variant_in_their_names_will_do(mocker: MockerFixture) -> None:
    """Where they are of the right variant; the other one is missing then."""
    mocker.patch.object(programs, "_found", lambda name: "nft" not in name and "leg" not in name)
    mocker.patch("reconciler.execute.run").return_value.output = "iptables v1.8.9 (nf_tables)"
    assert programs.restoring(6, "nft")[0] == "ip6tables-restore"
    with pytest.raises(BackendUnreadable, match="iptables-legacy-restore: program not found"):
        programs.restoring(4, "legacy")


@pytest.mark.parametrize("setting", ["auto", "nft", "legacy"])
def test_a_machine_without_iptables_is_told_what_to_install(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is unreadable, not empty."""
    monkeypatch.setattr("reconciler.execute.search_path", lambda: "/nowhere")
    with pytest.raises(BackendUnreadable, match="program not found") as told:
        firewall(setting).observe()
    assert "install iptables" in told.value.hint


@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize("chosen", ["nft", "legacy"])
def test_without_privilege_it_is_unreadable(
    chosen: str, host: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells what it needs, and is not taken for empty."""
    backend = firewall(chosen)
    enforce(backend)
    program = tmp_path / f"iptables-{chosen}-save"
    bare = "setpriv --bounding-set=-all --inh-caps=-all"
    program.write_text(f'#!/bin/sh\nexec {bare} /usr/sbin/{program.name} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert re.search(r"Permission denied|not permitted", problem(backend).what)
    assert "CAP_NET_ADMIN" in problem(backend).hint


def test_a_list_that_does_not_end_is_unreadable(host: None, mocker: MockerFixture) -> None:
    """It is not taken for empty."""
    mocker.patch("reconciler.execute.run", side_effect=CommandFailed("did not end within 300 s"))
    with pytest.raises(BackendUnreadable, match="did not end"):
        firewall("nft").observe()


@pytest.mark.usefixtures("reachable")
def test_a_table_that_iptables_cannot_show_is_unreadable(host: None) -> None:
    """Where it is hooked; any other table is nobody's matter."""
    backend = firewall("nft")
    enforce(backend)
    shell("iptables -t mangle -A INPUT -j ACCEPT", "nft")
    run(["nft", "add rule ip mangle INPUT ct state new drop"])
    assert needed(backend) is None
    hidden = problem(firewall("nft", "mangle/INPUT"))
    assert "mangle" in hidden.what
    assert "nft list ruleset" in hidden.hint


@pytest.mark.usefixtures("reachable")
def test_a_rule_at_which_the_list_ends_is_unreadable(host: None) -> None:
    """Half a list is not taken for a whole one."""
    backend = firewall("nft")
    enforce(backend)
    run(["nft", "add rule ip filter INPUT meta priority set 1"])
    assert "Parsing nftables rule failed" in problem(backend).what
    assert "another table" in problem(backend).hint


def test_a_lock_that_stays_taken_is_told(host: None, lock: Path, mocker: MockerFixture) -> None:
    """By the program for the rules, by us for the structure; nothing is changed."""
    mocker.patch.object(programs, "WAIT", 1)
    mocker.patch.object(legacy, "WAIT", 0.1)
    backend = firewall("legacy")
    enforce(backend)
    before = saved("legacy")
    made = needed(backend, Desired())
    assert made is not None
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BackendFailed, match="another program holds the xtables lock") as told:
            backend.apply(made)
        assert "fuser" in told.value.hint
        with pytest.raises(BackendFailed, match="another program holds the xtables lock"):
            backend.teardown()
    assert saved("legacy") == before


def test_a_lock_that_cannot_be_opened_is_told(host: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it."""
    backend = firewall("legacy")
    made = needed(backend)
    assert made is not None
    monkeypatch.setenv("XTABLES_LOCKFILE", "/nowhere/lock")
    with pytest.raises(BackendFailed, match="/nowhere/lock: cannot open the xtables lock"):
        backend.apply(made)
    assert not saved("legacy")


def test_python_iptables_is_named_where_it_is_missing(
    host: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint is how to install it."""
    backend = firewall("legacy")
    made = needed(backend)
    assert made is not None
    monkeypatch.setitem(sys.modules, "iptc", None)
    with pytest.raises(BackendFailed, match="cannot be loaded") as told:
        backend.apply(made)
    assert "treason[legacy]" in told.value.hint


def test_what_python_iptables_refuses_is_told(host: None) -> None:
    """In its words, with the table."""
    with pytest.raises(BackendFailed, match="table nosuch: can't initialize nosuch: Table does"):
        legacy.carry_out(4, Repair("nosuch", creates=True))
    with pytest.raises(BackendFailed, match="table filter: can't flush chain TREASON"):
        legacy.carry_out(6, Repair("filter", removes=True))


def test_a_process_that_changes_namespaces_works(host: None) -> None:
    """No handle of one namespace is used in another, and only the tables in question are made."""
    backend = firewall("legacy")
    enforce(backend)
    other = Namespace()
    with other.entered():
        enforce(backend)
        assert lines(saved("legacy"), "-A") == JUMPS + EXACT4
        backend.teardown()
        assert Path("/proc/thread-self/net/ip_tables_names").read_text() == "filter\n"
    other.close()
    assert needed(backend) is None


def test_a_refused_change_leaves_everything_as_it_was(variant: str, mocker: MockerFixture) -> None:
    """A ban that vanished meanwhile cannot be deleted: the whole restore fails, in one line."""
    backend = firewall(variant)
    enforce(backend)
    made = needed(backend, Desired(WANTED.banned - {Network.parse("192.0.2.7")}, WANTED.passed))
    assert made is not None
    stale = backend._firewall.state()  # noqa: SLF001 - what a race would leave behind
    shell("iptables -D TREASON -s 192.0.2.7 -j DROP", variant)
    before = saved(variant)
    mocker.patch("backends.xtables.firewall.Firewall.state", return_value=stale)
    with pytest.raises(BackendFailed, match="line 2 failed") as told:
        backend.apply(made)
    assert "\n" not in told.value.what
    assert saved(variant) == before


def test_a_change_refused_half_way_is_not_called_undone(
    variant: str, mocker: MockerFixture
) -> None:
    """IPv4 was changed, IPv6 was refused."""
    backend = firewall(variant)
    enforce(backend)
    made = needed(backend, Desired())
    assert made is not None
    real = programs.restore

    def refuse(version: int, *arguments: str) -> None:
        if version == 6:
            raise BackendFailed("ip6tables: no")
        real(version, *arguments)

    mocker.patch.object(programs, "restore", refuse)
    with pytest.raises(BackendError, match="ip6tables: no; all else was done") as told:
        backend.apply(made)
    assert not isinstance(told.value, BackendFailed)


def test_a_restore_that_was_killed_is_not_called_undone(host: None, mocker: MockerFixture) -> None:
    """Whether it was carried out cannot be told."""
    backend = firewall("nft")
    made = needed(backend)
    assert made is not None
    for ended in ({"return_value": Completed(-9, "", "")}, {"side_effect": CommandFailed("late")}):
        state = backend._firewall.state()  # noqa: SLF001 - read before nothing can be run
        mocker.patch("backends.xtables.firewall.Firewall.state", return_value=state)
        mocker.patch("reconciler.execute.run", **ended)
        with pytest.raises(BackendError, match=r"ended with -9|late") as told:
            backend.apply(made)
        assert not isinstance(told.value, BackendFailed)


def test_teardown_leaves_no_trace_and_makes_nothing(variant: str) -> None:
    """Jumps and chains go from all tables; a second time, and where nothing was, it is idle."""
    backend = firewall(variant)
    backend.teardown()
    assert saved(variant) == ""
    shell("iptables -A INPUT -p tcp -j ACCEPT; iptables -N mine; ip6tables -A INPUT -j ACCEPT",
          variant)  # fmt: skip
    before = [saved(variant), saved(variant, "ip6tables")]
    enforce(backend)
    shell("iptables -A mine -s 10.0.0.1 -g TREASON", variant)
    backend.teardown()
    assert [saved(variant), saved(variant, "ip6tables")] == before
    backend.teardown()
    assert [saved(variant), saved(variant, "ip6tables")] == before


def test_teardown_leaves_the_chain_of_the_backend_ipset(variant: str) -> None:
    """It refers to sets, so it is not this backend's."""
    run(["ipset", "create", "treason4", "hash:ip"])
    shell("iptables -N TREASON; iptables -A INPUT -j TREASON;"
          " iptables -A TREASON -m set --match-set treason4 src -j DROP", variant)  # fmt: skip
    before = saved(variant)
    firewall(variant).teardown()
    assert saved(variant) == before


@ROOMY
def test_many_rules_are_advised_against(variant: str) -> None:
    """From the size on where packets take twice as long."""
    backend = firewall(variant)
    many = [Network.of(4, 0x0B000000 + i, 32) for i in range(MANY)]
    enforce(backend, Desired(frozenset(many[1:])))
    assert backend.observe().notes == ()
    enforce(backend, Desired(frozenset(many)))
    (note,) = backend.observe().notes
    assert "use the backend ipset or nftables" in note


@pytest.fixture
def place(tmp_path: Path, mocker: MockerFixture) -> Path:
    """A directory where rules are saved."""
    directory = tmp_path / "saved"
    directory.mkdir()
    one = persist.Place(directory, {4: "rules.v4", 6: "rules.v6"}, 0o640)
    mocker.patch.object(persist, "PLACES", (one,))
    return directory


def test_what_is_enforced_is_saved_for_the_next_boot(variant: str, place: Path) -> None:
    """The whole ruleset, as the distribution would; a restore of it is in sync."""
    shell("iptables -A INPUT -p tcp --dport 22 -j ACCEPT", variant)
    backend = firewall(variant, persist=True)
    made = enforce(backend)
    assert str(place / "rules.v4") in backend.render(made)
    kept = (place / "rules.v4").read_text()
    assert without(kept, "#") == saved(variant)
    assert "--dport 22" in kept
    assert (place / "rules.v6").stat().st_mode & 0o777 == 0o640
    assert needed(backend) is None
    booted = Namespace()
    with booted.entered():
        for family, file in (("iptables", "rules.v4"), ("ip6tables", "rules.v6")):
            run([f"{family}-{variant}-restore"], given=(place / file).read_text())
        assert needed(backend) is None
    booted.close()


def test_a_save_that_was_not_made_is_made_up_for(variant: str, place: Path) -> None:
    """Killed between the change and the save, and a file that somebody changed."""
    backend = firewall(variant, persist=True)
    with (
        patch.object(persist, "write", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        enforce(backend)
    assert damage(backend) == [
        f"{place}/rules.{which}: does not hold what is enforced" for which in ("v4", "v6")
    ]
    before = saved(variant)
    enforce(backend)
    assert needed(backend) is None
    path = place / "rules.v4"
    path.write_text(path.read_text().replace("-A INPUT -j TREASON\n", ""))
    path.chmod(0o600)
    assert damage(backend) == [f"{path}: does not hold what is enforced"]
    enforce(backend)
    assert needed(backend) is None
    assert path.stat().st_mode & 0o777 == 0o600
    assert saved(variant) == before


def test_what_a_killed_save_left_is_removed(variant: str, place: Path) -> None:
    """Though the file itself is right by now."""
    backend = firewall(variant, persist=True)
    enforce(backend)
    left = place / ".rules.v6.treason-abcdefgh"
    left.write_text("*fil")
    enforce(backend)
    assert not left.exists()
    assert needed(backend) is None


def test_teardown_takes_the_chain_out_of_what_is_saved(variant: str, place: Path) -> None:
    """And makes no file where there is none."""
    backend = firewall(variant, persist=True)
    backend.teardown()
    assert not [*place.iterdir()]
    shell("iptables -A INPUT -p tcp --dport 22 -j ACCEPT", variant)
    enforce(backend)
    backend.teardown()
    assert "TREASON" not in (place / "rules.v4").read_text() + (place / "rules.v6").read_text()
    assert "--dport 22" in (place / "rules.v4").read_text()


def test_what_others_saved_stays_as_it_is(variant: str, place: Path) -> None:
    """Rules that are not loaded now, or of the other variant; the teardown gives them back."""
    theirs = (
        "# by hand\n*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*filter\n:INPUT DROP [5:300]\n"
        ":MINE - [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"
        '-A INPUT -m comment --comment "not -j TREASON" -j MINE\nCOMMIT\n'
    )
    for name in ("rules.v4", "rules.v6"):
        (place / name).write_text(theirs)
    backend = firewall(variant, persist=True)
    enforce(backend)
    assert needed(backend) is None
    kept = (place / "rules.v4").read_text()
    assert [line for line in theirs.splitlines() if line not in kept.splitlines()] == []
    assert kept.index("-A INPUT -j TREASON") < kept.index("--dport 22")
    with Namespace().entered():
        run([f"iptables-{variant}-restore"], given=kept)
        assert "-A INPUT -j TREASON\n-A INPUT -p tcp" in saved(variant)
    backend.teardown()
    assert (place / "rules.v4").read_text() == theirs


@pytest.mark.parametrize("odd", ["\u2028", "\f", "\x1c", "\x85"])
def test_only_a_line_feed_ends_a_saved_line(odd: str, variant: str, place: Path) -> None:
    """What else Python takes for the end of a line stays inside a comment, and it loads."""
    shell(f"iptables -A INPUT -p tcp -m comment --comment 'a{odd}b' -j ACCEPT", variant)
    for family, name in (("iptables", "rules.v4"), ("ip6tables", "rules.v6")):
        (place / name).write_text(saved(variant, family))
    backend = firewall(variant, persist=True)
    enforce(backend)
    assert needed(backend) is None
    run([f"iptables-{variant}-restore", "--test", str(place / "rules.v4")])
    backend.teardown()
    run([f"iptables-{variant}-restore", "--test", str(place / "rules.v4")])
    assert f"a{odd}b" in (place / "rules.v4").read_text()


def test_the_chain_of_sets_is_not_left_in_what_is_saved(variant: str, place: Path) -> None:
    """A restore of a rule for a set that is not there would refuse the whole file."""
    backend = firewall(variant, persist=True)
    enforce(backend)
    sets = Ipset(IpsetSettings(variant))
    made = plan(WANTED, sets.observe())
    assert made is not None
    sets.apply(made)
    backend.teardown()
    assert "TREASON" not in (place / "rules.v4").read_text()
    assert "match-set treason4" in saved(variant)


def test_a_new_hook_is_in_force_before_the_old_one_goes(variant: str) -> None:
    """Where it cannot be made, the old one stays."""
    enforce(firewall(variant))
    moved = firewall(variant, "raw/PREROUTING")
    made = needed(moved)
    assert made is not None
    script = moved.render(made)
    four, six = script[: script.index("-X TREASON")], script[script.index("-X TREASON") :]
    assert "-I PREROUTING 1" in four
    assert six.index("-I PREROUTING 1") < six.rindex("-X TREASON")
    with (
        patch.object(programs, "restore", side_effect=BackendFailed("no")),
        pytest.raises(BackendError),
    ):
        moved.apply(made)
    assert EXACT4 in saved(variant)
    enforce(moved)
    assert "filter" not in str(needed(moved))


def test_an_absent_hook_unhooks_nothing(variant: str) -> None:
    """Not before it is there; a name that is only spelt wrong is refused at once."""
    enforce(firewall(variant))
    moved = firewall(variant, "DOCKER-USER")
    assert needed(moved) is None
    assert "DOCKER-USER" in problem(moved).what
    assert "-A INPUT -j TREASON" in saved(variant)
    shell("iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER", variant)
    enforce(moved)
    assert "-A INPUT -j TREASON" not in saved(variant)
    with pytest.raises(ValueError, match="the chain is INPUT"):
        Settings(variant, ("input",))


@pytest.mark.usefixtures("reachable")
def test_what_breaks_off_is_not_read(variant: str, tmp_path: Path) -> None:
    """A program that printed half of it and ended well is no answer."""
    program = tmp_path / f"iptables-{variant}-save"
    program.write_text("#!/bin/sh\necho '*filter'\necho ':INPUT ACCEPT [0:0]'\n")
    program.chmod(0o755)
    with patch.dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}"):
        assert "ended too early" in problem(firewall(variant)).what


def test_saving_where_nothing_restores_is_an_error(variant: str, place: Path) -> None:
    """The rules are in force; the hint names the package."""
    place.rmdir()
    backend = firewall(variant, persist=True)
    made = needed(backend)
    assert made is not None
    with pytest.raises(BackendError, match="this directory does not exist") as told:
        backend.apply(made)
    assert "iptables-persistent" in told.value.hint
    assert EXACT4 in saved(variant)


def test_a_save_that_fails_is_told(variant: str, place: Path) -> None:
    """It is not forgotten: the next look sees it again."""
    backend = firewall(variant, persist=True)
    made = needed(backend)
    assert made is not None
    with (
        patch("reconciler.files.replace", side_effect=OSError(28, "No space left")),
        pytest.raises(BackendError, match="cannot save the rules: No space left"),
    ):
        backend.apply(made)
    assert len(damage(backend)) == 2


def test_what_is_done_beside_an_absent_hook_is_saved_as_well(variant: str, place: Path) -> None:
    """The error is of the hook alone."""
    backend = firewall(variant, "INPUT", "DOCKER-USER", persist=True)
    enforce(backend)
    assert EXACT4 in (place / "rules.v4").read_text()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"variant": "ebtables"}, "'ebtables' is none of auto, nft, legacy"),
        ({"hooks": []}, "names no chain"),
        ({"hooks": ["INPUT", "filter/INPUT"]}, "names 'INPUT' twice"),
        ({"hooks": ["TREASON"]}, "into itself"),
        ({"hooks": ["nat/PREROUTING"]}, "the table is none of filter, mangle, raw, security"),
        ({"hooks": ["raw/INPUT"]}, "the table raw has no chain INPUT"),
        ({"hooks": ["a b"]}, "names no chain"),
        ({"hooks": ["-x"]}, "names no chain"),
        ({"hooks": ["x" * 29]}, "names no chain"),
        ({"hooks": "INPUT"}, "must be a list"),
        ({"persist": "yes"}, "must be true or false"),
    ],
)
def test_wrong_settings_are_refused_in_plain_words(table: dict[str, Any], said: str) -> None:
    """Each says what is wrong with it."""
    with pytest.raises(Refused, match=re.escape(said)):
        fill(Settings, table)
