"""The backend ipset, on the real kernel in a namespace of its own, with both iptables."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from harness import Place
from pytest_mock import MockerFixture
from strangers import GAPS, NFT_GAPS, gaps

from backends.ipset import Settings, programs, saved
from backends.ipset.backend import Ipset
from reconciler import BackendError, BackendFailed, BackendUnreadable, Desired, Network
from reconciler.execute import CommandFailed, run
from reconciler.host.netns import Namespace
from reconciler.testing import (
    AskableContract,
    BackendContract,
    CountingContract,
    PacketContract,
    given,
    needed,
    reach,
    state,
)

SWAP = "ipset create x {}; ipset swap x treason4; ipset destroy x"
FREE = "iptables -F TREASON; ipset destroy treason4; "

DAMAGES = {
    "an element deleted": "ipset del treason4 192.0.2.7",
    "a foreign element": "ipset add treason4 203.0.113.5",
    "a network deleted": "ipset del treason6n 2001:db8:7::/48",
    "a foreign network": "ipset add treason4n 203.0.113.0/24",
    "a host among the networks": "ipset add treason4n 203.0.113.5",
    "a hole in a network": "ipset add treason4n 198.51.100.128/25 nomatch",
    "a foreign pass": "ipset add treason6p 2001:db8:7::1",
    "a pass deleted": "ipset del treason4p 203.0.113.9",
    "a set flushed": "ipset flush treason6",
    "all sets flushed": "ipset flush",
    "a timeout": SWAP.format("hash:ip timeout 60"),
    "another maxelem": SWAP.format("hash:ip maxelem 1000000"),
    "a small maxelem": SWAP.format("hash:ip maxelem 64"),
    "counters": SWAP.format("hash:ip counters"),
    "a netmask": SWAP.format("hash:ip netmask 24"),
    "debris": "ipset create treason4_new hash:ip; ipset add treason4_new 9.9.9.9",
    "debris of another type": "ipset create treason6_new2 hash:net",
    "a set missing": FREE,
    "a set of another type": FREE + "ipset create treason4 hash:net",
    "a set of another family": FREE + "ipset create treason4 hash:ip family inet6",
    "a set of another type in use": FREE + "ipset create treason4 hash:net;"
    " iptables -A TREASON -m set --match-set treason4 src -j DROP",
    "a stand-in in use": "ipset create treason4_new hash:ip; ipset add treason4_new 192.0.2.7;"
    " iptables -R TREASON 3 -m set --match-set treason4_new src -j DROP",
    "a stand-in in use, the set of another type": "ipset create treason4_new hash:ip;"
    " iptables -F TREASON; ipset destroy treason4; ipset create treason4 hash:net;"
    " iptables -A TREASON -m set --match-set treason4_new src -j DROP;"
    " iptables -A TREASON -m set --match-set treason4 src -j DROP",
    "the chain flushed": "ip6tables -F TREASON",
    "the chain deleted": "iptables -F TREASON; iptables -D INPUT -j TREASON;"
    " iptables -D FORWARD -j TREASON; iptables -X TREASON",
    "an accept inserted first": "iptables -I TREASON -j ACCEPT",
    "a rule deleted": "ip6tables -D TREASON 3",
    "a rule twice": "iptables -A TREASON -i lo -j RETURN",
    "a rule for a host": "iptables -A TREASON -s 203.0.113.5 -j DROP",
    "a jump deleted": "iptables -D FORWARD -j TREASON",
    "a jump twice": "ip6tables -A INPUT -j TREASON",
    "a jump moved": "iptables -I INPUT -p tcp -j ACCEPT; iptables -D INPUT -p tcp -j ACCEPT;"
    " iptables -D INPUT -j TREASON; iptables -A OUTPUT -j TREASON",
    "everything": "iptables -F; iptables -X; ip6tables -F; ip6tables -X; ipset destroy",
}


@contextmanager
def failing(*, share: float) -> Iterator[None]:
    """Let ipset stop after a share of the lines."""
    real = programs.restore

    def restore(pieces: Iterable[str]) -> None:
        lines = "".join(pieces).splitlines(keepends=True)
        real("".join(lines[: int(len(lines) * share)]))
        if lines:
            raise BackendFailed("ipset: killed")

    with patch.object(programs, "restore", restore):
        yield


def _do(contract: "IpsetContract", text: str) -> None:
    contract.do(text)


class IpsetContract(BackendContract, PacketContract, CountingContract, AskableContract):
    """The contract, on the real kernel."""

    variant: ClassVar[str]
    beyond = 70_000  # more than 65,536, what a set holds that nobody sized

    @pytest.fixture
    def backend(self, namespace: Namespace, tmp_path: Path) -> Ipset:
        """A firewall of the test's own."""
        self.path = tmp_path
        return Ipset(Settings(self.variant))

    def do(self, commands: str) -> None:
        """Run commands of iptables and ipset, as somebody else would."""
        for command in commands.split("; " if "; " in commands else ";"):
            words = command.replace("tables ", f"tables-{self.variant} ").split()
            if words:
                run([word.rstrip(";") for word in words])

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        name: partial(lambda self, text: self.do(text), text=text) for name, text in DAMAGES.items()
    }
    harmless: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        name: partial(_do, text=text)
        for name, text in {
            "a jump twice": "iptables -A INPUT -j TREASON",
            "another maxelem": "ipset create x hash:ip maxelem 99;"
            " ipset add x 198.51.100.77; ipset swap x treason4; ipset destroy x",
        }.items()
    }
    gaps: ClassVar[Mapping[str, Callable[[Any], object]]] = gaps(GAPS)
    faults: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "the sets": lambda _: failing(share=0),
        "half of the sets' change": lambda _: failing(share=0.5),
        "the sets' answer": lambda _: failing(share=1),
        "reading the sets": lambda self: self.unreadable(),
    }

    def unreadable(self) -> AbstractContextManager[object]:
        """Let ipset be refused."""
        program = self.path / "ipset"
        said = "ipset v7.17: Kernel error received: Operation not permitted"
        program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
        program.chmod(0o755)
        return patch.dict(os.environ, PATH=f"{self.path}:{os.environ['PATH']}")

    def foreign(self) -> Callable[[], object]:
        """Sets and rules, some with names like ours."""
        for name in ("other", "treason", "treason4x", "treason4_newer"):
            self.do(f"ipset create {name} hash:net; ipset add {name} 10.0.0.0/8")
        self.do("iptables -N OTHER; iptables -A OTHER -m set --match-set treason4x src -j ACCEPT")
        self.do("iptables -A INPUT -p tcp -j OTHER; iptables -P FORWARD DROP")
        return lambda: [
            *(line for line in self._rules() if "TREASON" not in line),
            *(run(["ipset", "save", name]).output for name in ("other", "treason", "treason4x")),
        ]

    def owned(self) -> object:
        """The sets without what chance gives them, the chain and its jumps."""
        listed = run(["ipset", "save"]).output.splitlines()
        ours = [re.sub(r" initval \S+", "", line) for line in listed if " treason" in line]
        return sorted(ours), [line for line in self._rules() if "TREASON" in line]

    def _rules(self) -> list[str]:
        return [
            line
            for family in ("iptables", "ip6tables")
            for line in run([f"{family}-{self.variant}-save"]).output.splitlines()
            if not line.startswith("#")
        ]

    def test_growth(self, backend: Ipset) -> None:
        """At what a set may hold it grows, beyond it nothing is lost."""
        full = Desired(frozenset(Network.of(4, 0x0B000000 + i, 32) for i in range(65_536)))
        reach(backend, full)
        assert needed(backend, full) is None
        assert "maxelem 131072" in run(["ipset", "list", "-terse", "treason4"]).output
        more = Desired(frozenset(Network.of(4, 0x0B000000 + i, 32) for i in range(140_000)))
        reach(backend, more)
        assert needed(backend, more) is None
        assert "maxelem 524288" in run(["ipset", "list", "-terse", "treason4"]).output


class TestNft(IpsetContract):
    """With the variant of today."""

    variant = "nft"
    gaps: ClassVar[Mapping[str, Callable[[Any], object]]] = gaps({**GAPS, **NFT_GAPS})


class TestLegacy(IpsetContract):
    """With the variant of old."""

    variant = "legacy"


@pytest.fixture
def backend(host: None) -> Ipset:
    """A firewall in an empty namespace."""
    return Ipset(Settings())


def test_a_small_change_touches_the_sets_alone(backend: Ipset) -> None:
    """Additions first, then removals; no chain."""
    given(backend, state(["192.0.2.7", "198.51.100.0/24"], ["203.0.113.9"]))
    made = needed(backend, state(["198.51.100.9", "203.0.113.0/24"], ["203.0.113.9"]))
    assert made is not None
    lines = backend.render(made).splitlines()
    assert lines[0] == "# ipset restore"
    assert [line.split()[0] for line in lines[1:]] == sorted(line.split()[0] for line in lines[1:])
    assert "add treason4 198.51.100.9" in lines
    assert "del treason4 192.0.2.7" in lines
    assert "TREASON" not in "".join(lines)


@pytest.mark.parametrize(
    "damage",
    [
        "ipset add treason4 203.0.113.5",
        "ipset del treason4n 198.51.100.0/24",
        "ipset flush treason6",
        "ipset create treason4_new hash:ip",
        "ipset create x hash:ip counters; ipset add x 192.0.2.7; ipset swap x treason4",
        "iptables -F TREASON",
        "ip6tables -A TREASON -s 2001:db8::9 -j DROP",
        "iptables -I TREASON -j RETURN",
        "ip6tables -D INPUT -j TREASON",
    ],
)
def test_a_change_is_confirmed_by_counts_and_structure(backend: Ipset, damage: str) -> None:
    """Not before it, and not when a set, its count, the chain or a jump is another."""
    made = needed(backend, state(["192.0.2.7", "198.51.100.0/24", "2001:db8::7"], ["203.0.113.9"]))
    assert made is not None
    assert not backend.confirm(made)
    backend.apply(made)
    assert backend.confirm(made)
    for command in damage.split("; "):
        run(command.split())
    assert not backend.confirm(made)


def test_empty_sets_are_not_read(backend: Ipset, monkeypatch: pytest.MonkeyPatch) -> None:
    """That they are empty is listed with their headers."""
    given(backend, state(["192.0.2.7"]))
    real, read = programs.save, list[str]()

    def save(name: str) -> Iterator[str]:
        read.append(name)
        return real(name)

    monkeypatch.setattr(programs, "save", save)
    assert needed(backend, state(["192.0.2.7"])) is None
    assert read == ["treason4"]


def test_many_are_loaded_without_asking_who_resolves_names(backend: Ipset) -> None:
    """Nothing of it is a name; a look at the resolver for each address took longest."""
    made = needed(backend, state(["192.0.2.7"]))
    assert made is not None
    with patch("reconciler.execute.run", wraps=run) as spy:
        backend.apply(made)
    loads = [call for call in spy.call_args_list if call.args[0] == ["ipset", "restore"]]
    assert len(loads) == 2
    assert {call.kwargs["environment"]["RES_OPTIONS"] for call in loads} == {"no-reload"}


def test_everything_is_one_rule_of_the_chain(backend: Ipset) -> None:
    """hash:net takes no network of length 0; address 0 is no host to hash:ip."""
    for wanted in (
        state(["0.0.0.0/0"], ["::/0"]),
        state(["::/0", "192.0.2.7"]),
        state(["0.0.0.0", "::", "192.0.2.0/24"]),
    ):
        reach(backend, wanted)
        assert needed(backend, wanted) is None


def test_what_a_stranger_uses_is_told_when_it_is_to_go(backend: Ipset) -> None:
    """A set that is named in somebody else's rule cannot be destroyed."""
    given(backend, state(["192.0.2.7"]))
    run(["iptables", "-A", "OUTPUT", "-m", "set", "--match-set", "treason4", "dst", "-j", "LOG"])
    with pytest.raises(BackendError, match=r"in use .*\(treason4\)") as refused:
        backend.teardown()
    assert "not treason's" in refused.value.hint
    run(["iptables", "-F", "OUTPUT"])
    backend.teardown()
    assert "treason" not in run(["ipset", "save"]).output


def test_without_ipset_it_is_unreadable(
    host: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The hint names the package."""
    monkeypatch.setattr("reconciler.execute.search_path", lambda: str(tmp_path))
    with pytest.raises(BackendUnreadable, match="program not found"):
        Ipset(Settings("nft")).observe()
    monkeypatch.undo()
    for program in ("iptables-nft-save", "ip6tables-nft-save"):
        (tmp_path / program).symlink_to(Path("/usr/sbin", program))
    monkeypatch.setattr("reconciler.execute.search_path", lambda: str(tmp_path))
    with pytest.raises(BackendUnreadable) as refused:
        Ipset(Settings("nft")).observe()
    assert "apt-get install ipset" in refused.value.hint


@pytest.mark.parametrize(
    "text", ['variant = "xyz"', "hooks = []", 'hooks = ["INPUT", "INPUT"]', 'hooks = ["nat/INPUT"]']
)
def test_wrong_settings_are_refused(text: str, place: Place) -> None:
    """The line and the reason are told, before anything is done."""
    place.configure(f"[backend.ipset]\n{text}", main='backends = ["ipset"]')
    result = place.treason("reconcile", "--no-scan")
    assert (result.code, "[backend.ipset]" in result.err) == (1, True), result.err


def test_it_is_not_used_beside_iptables_of_the_same_variant(place: Place, host: None) -> None:
    """Both would own the chain; with different variants each has its own."""
    place.treason("ban", "192.0.2.7")
    both = ("--backend", "ipset", "--backend", "iptables")
    result = place.treason("reconcile", "--no-scan", *both)
    assert result.code == 1
    assert "would both manage chain TREASON of iptables-nft" in result.err
    place.configure('[backend.ipset]\nvariant = "legacy"')
    assert place.treason("reconcile", "--no-scan", *both).code == 0
    assert place.treason("reconcile", "--no-scan", "--check", *both).code == 0
    assert "match-set treason4" in run(["iptables-legacy-save"]).output
    assert "-s 192.0.2.7/32 -j DROP" in run(["iptables-nft-save"]).output


@pytest.mark.parametrize(("old", "new"), [("iptables", "ipset"), ("ipset", "iptables")])
def test_moving_takes_the_chain_over(old: str, new: str, place: Place, host: None) -> None:
    """The chain they share is replaced, not taken away, and nothing else is left."""
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan", "--backend", old)
    result = place.treason("migrate", "--from", old, "--to", new)
    assert result.code == 0, result.err
    assert result.out.count("changed") == 1
    assert place.treason("reconcile", "--no-scan", "--check", "--backend", new).code == 0
    if new == "iptables":
        assert run(["ipset", "save"]).output == ""


def test_teardown_leaves_the_other_backends_chain(place: Place, host: None) -> None:
    """It enforces; the sets alone are ours then."""
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan", "--backend", "iptables")
    assert place.treason("teardown", "--backend", "ipset").code == 0
    assert "-s 192.0.2.7/32 -j DROP" in run(["iptables-save"]).output
    place.treason("migrate", "--from", "iptables", "--to", "ipset")
    assert place.treason("teardown", "--backend", "iptables").code == 0
    assert "match-set treason4" in run(["iptables-save"]).output


def forget_owner() -> None:
    """Let the chain be as in a version that noted nobody."""
    for family in ("iptables", "ip6tables"):
        for name in re.findall(r"TREASON-OF-\S+", run([f"{family}-save"]).output):
            run([family, "-X", name])


def test_a_lost_database_does_not_open_the_gates_by_another_backend(
    place: Place, host: None
) -> None:
    """What the chain holds counts as enforced, also while it still is the backend iptables'."""
    place.treason("ban", *(f"20.0.{number}.1" for number in range(20)))
    place.treason("reconcile", "--no-scan", "--backend", "iptables")
    place.database.unlink()
    refused = place.treason("reconcile", "--no-scan", "--backend", "ipset")
    assert (refused.code, "but there was one" in refused.err) == (1, True)
    assert place.treason("init", "--new-database").code == 0
    refused = place.treason("reconcile", "--no-scan", "--backend", "ipset")
    assert (refused.code, "another database (" in refused.err) == (1, True)
    forget_owner()
    result = place.treason("reconcile", "--no-scan", "--backend", "ipset")
    assert (result.code, "refusing to remove 20 of 20" in result.err) == (1, True)
    assert run(["ipset", "save", "treason4"]).output.count("add treason4 20.0.") == 20


def test_what_is_left_and_used_by_a_stranger_stops_nothing(backend: Ipset) -> None:
    """The bans are enforced; the set is named."""
    given(backend, state(["192.0.2.7"]))
    for name in ("treason4_new", "treason4_new2"):
        run(["ipset", "create", name, "hash:ip"])
        run(["iptables", "-A", "OUTPUT", "-j", "SET", "--add-set", name, "dst"])
    run(["ipset", "create", "x", "hash:ip", "timeout", "5"])
    run(["ipset", "swap", "x", "treason4"])
    made = needed(backend, state(["192.0.2.7", "192.0.2.9"]))
    assert made is not None
    with pytest.raises(BackendError, match=r"in use .*\(treason4_new, treason4_new2\)"):
        backend.apply(made)
    assert len(backend.observe().banned) == 2


def test_faults_are_backend_errors(backend: Ipset) -> None:
    """What ipset said stands in the error."""
    given(backend, state(["192.0.2.7"]))
    with pytest.raises(BackendError, match="Element cannot be deleted"):
        programs.restore("del treason4 192.0.2.9\n")


@pytest.fixture
def rules(tmp_path: Path, mocker: MockerFixture) -> Path:
    """A file of saved rules, in a place of the test's own."""
    for name in ("RULES", "SETS"):
        mocker.patch.object(saved, name, (tmp_path / name,))
    mocker.patch.object(saved, "UNIT", tmp_path / "treason-early.service")
    return tmp_path / "RULES"


def test_saved_rules_that_cannot_be_loaded_alone_are_noted(backend: Ipset, rules: Path) -> None:
    """By name, in each pass, until the unit is there or the sets are saved too."""
    given(backend, state(["192.0.2.7"]))
    assert not backend.observe().notes
    rules.write_text(run(["iptables-nft-save"]).output)
    [note] = backend.observe().notes
    assert note.startswith(f"{rules}: these saved rules name treason's sets")
    assert "treason init --systemd" in note
    sets = rules.parent / "SETS"
    for text in ("create other hash:ip\n", "create treason4 hash:ip\n", "create treason_4 x\n"):
        sets.write_text(text)
        [note] = backend.observe().notes
        assert "save the sets again" in note
    sets.write_text(run(["ipset", "save"]).output)
    assert not backend.observe().notes
    sets.unlink()
    (rules.parent / "treason-early.service").touch()
    assert not backend.observe().notes
    sets.write_text("create other hash:ip\n")  # then the unit does nothing
    assert backend.observe().notes


def test_saved_rules_are_named_when_the_sets_go_for_good(
    place: Place, host: None, rules: Path
) -> None:
    """By teardown and by migrate: what is left would be refused at the next boot."""
    place.configure(main='backends = ["ipset"]')
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    rules.write_text(run(["iptables-save"]).output)
    assert f"note: {rules}: these saved rules name" in place.treason("status").out
    moved = place.treason("migrate", "--from", "ipset", "--to", "nftables")
    assert f"note: {rules}: these saved rules still name treason's sets" in moved.out
    place.treason("reconcile", "--no-scan")
    gone = place.treason("teardown", "--backend", "ipset")
    assert (gone.code, f"note: {rules}: these" in gone.out) == (0, True)


def test_rules_saved_by_others_load_once_the_sets_are_there(backend: Ipset, rules: Path) -> None:
    """What the early unit does: a pass in the empty namespace of a new boot."""
    run(["iptables-nft", "-P", "INPUT", "DROP"])
    given(backend, state(["192.0.2.7"]))
    rules.write_text(run(["iptables-nft-save"]).output)
    boot = Namespace()
    with boot.entered():
        load = ["iptables-nft-restore", str(rules)]
        with pytest.raises(CommandFailed, match="treason4p doesn't exist"):
            run(load)
        assert "-P INPUT ACCEPT" in run(["iptables-nft", "-S"]).output
        given(Ipset(Settings("nft")), state(["192.0.2.7"]))
        run(load)
        assert "-P INPUT DROP" in run(["iptables-nft", "-S"]).output
        assert needed(Ipset(Settings("nft")), state(["192.0.2.7"])) is None
    boot.close()
