"""The backend nftables, on the real kernel in a namespace of its own."""

import errno
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from harness import REAL_ROOT
from pytest_mock import MockerFixture
from strangers import DAMAGES

from backends.nftables import layout, reading, structure
from backends.nftables.backend import Nftables
from backends.nftables.ruleset import Ruleset
from reconciler import (
    BackendFailed,
    BackendUnreadable,
    Desired,
    Dropped,
    Network,
    Networks,
    Observed,
    Plan,
    netlink,
)
from reconciler.execute import run
from reconciler.host.netns import Namespace
from reconciler.netlink import (
    CREATE,
    NFTABLES,
    AnswerLost,
    Connection,
    Message,
    NetlinkError,
    attribute,
    nested,
    number,
    text,
)
from reconciler.planning.desired import desired
from reconciler.planning.plan import plan
from reconciler.testing import (
    AskableContract,
    BackendContract,
    ConfirmingContract,
    CountingContract,
    FingerprintedContract,
    PacketContract,
    given,
)

Nft = Callable[..., str]

WANTED = desired(
    map(Network.parse, ("192.0.2.7", "198.51.100.0/24", "2001:db8::7", "2001:db8:7::/48")),
    map(Network.parse, ("198.51.100.9", "2001:db8:7::9")),
)


def nft_(text: str, *options: str) -> str:
    """Run nft, as somebody else would."""
    return run(["nft", *options, text]).output


def delete_a_rule() -> None:
    """Take the rule away that drops IPv6 hosts."""
    listing = nft_("list chain inet treason prerouting", "-a")
    match = re.search(r"banned6 counter .* # handle ([0-9]+)", listing)
    assert match is not None
    nft_(f"delete rule inet treason prerouting handle {match[1]}")


@contextmanager
def unlisted() -> Iterator[None]:
    """Let the kernel list nothing."""
    with patch.object(structure, "read", side_effect=NetlinkError(errno.ENOMEM, "no memory")):
        yield


@contextmanager
def uncommitted(*, after: bool) -> Iterator[None]:
    """Let the kernel refuse a transaction, or lose its answer."""
    real = Connection.commit

    def commit(
        self: Connection, messages: Sequence[Message], generation: Callable[[], int]
    ) -> None:
        if after:
            real(self, messages, generation)
            raise AnswerLost(errno.ENOBUFS, "no buffer space")
        raise NetlinkError(errno.ENOMEM, "no memory")

    with patch.object(Connection, "commit", commit):
        yield


def _strike(_contract: object, text: str) -> None:
    nft_(text)


class TestNftables(
    BackendContract,
    PacketContract,
    CountingContract,
    FingerprintedContract,
    ConfirmingContract,
    AskableContract,
):
    """The contract, on the real kernel."""

    @pytest.fixture
    def backend(self, namespace: Namespace) -> Nftables:
        """A firewall of the test's own."""
        return Nftables()

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        **{name: partial(_strike, text=text) for name, text in DAMAGES.items()},
        "a rule deleted": lambda _: delete_a_rule(),
    }
    harmless: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        "a rule behind the others": lambda _: nft_("add rule inet treason prerouting counter"),
        "a foreign chain": lambda _: nft_("add chain inet treason foreign"),
    }
    gaps: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        name: partial(_strike, text=DAMAGES[name])
        for name in ("the table dormant", "the chain unhooked", "an accept inserted first")
    } | {
        "another hook": lambda _: nft_(
            "delete chain inet treason prerouting; add chain inet treason prerouting"
            " { type filter hook output priority 0; }"
        ),
    }
    faults: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "reading the table": lambda _: unlisted(),
        "the transaction": lambda _: uncommitted(after=False),
        "the transaction's answer": lambda _: uncommitted(after=True),
    }

    def unreadable(self) -> AbstractContextManager[None]:
        """The kernel refuses to list anything."""
        return unlisted()

    def foreign(self) -> Callable[[], object]:
        """A table with a chain, a set and a counter."""
        nft_("add table inet other; add chain inet other c { type filter hook input priority 0; }")
        nft_("add rule inet other c tcp dport 22 counter accept")
        nft_("add set inet other s { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }")
        return lambda: nft_("list table inet other", "-a")

    def owned(self) -> object:
        """The table, in any order of its objects."""
        return sorted(nft_("list table inet treason", "-s").split())


def needed(state: Desired = WANTED) -> Plan | None:
    """Return the plan that would be needed now."""
    return plan(state, Nftables().observe())


def enforce(state: Desired = WANTED) -> Plan:
    """Make the kernel hold the state."""
    made = needed(state)
    assert made is not None
    Nftables().apply(made)
    return made


def test_the_kernel_holds_exactly_what_is_desired(host: None, nft: Nft) -> None:
    """Read by nft itself: hosts in hash sets, networks and the whitelist in interval sets."""
    enforce()
    held = {}
    for name in ("banned4", "banned6", "banned4_nets", "banned6_nets", "passed4", "passed6"):
        *_, listed = json.loads(nft(f"list set inet treason {name}", "-j"))["nftables"]
        held[name] = listed["set"].get("elem", [])
    assert sorted(held["banned4"]) == ["192.0.2.7", "198.51.100.8"]  # .8 is what is left beside .9
    assert sorted(held["banned6"]) == ["2001:db8:7::8", "2001:db8::7"]
    assert {"prefix": {"addr": "198.51.100.128", "len": 25}} in held["banned4_nets"]
    assert {"prefix": {"addr": "2001:db8:7:8000::", "len": 49}} in held["banned6_nets"]
    assert held["passed4"] == ["198.51.100.9"]
    assert held["passed6"] == ["2001:db8:7::9"]
    assert needed() is None


def test_a_damaged_chain_is_replaced_without_touching_the_sets(host: None, nft: Nft) -> None:
    """The script names no element and no set."""
    enforce()
    nft("flush chain inet treason prerouting")
    made = needed()
    assert made is not None
    script = Nftables().render(made)
    assert "element" not in script
    assert "set inet" not in script


def test_one_change_is_one_line(host: None) -> None:
    """Removing a host and adding a network sends just that, removals first."""
    enforce()
    other = Desired(
        WANTED.banned - {Network.parse("192.0.2.7")} | {Network.parse("203.0.113.0/24")},
        WANTED.passed,
    )
    made = needed(other)
    assert made is not None
    assert Nftables().render(made) == (
        "delete element inet treason banned4 { 192.0.2.7 }\n"
        "add element inet treason banned4_nets { 203.0.113.0/24 }\n"
    )


def test_a_network_is_split_around_a_new_exemption_in_one_transaction(host: None) -> None:
    """The wide network goes and its parts come, although they overlap."""
    enforce(desired([Network.parse("10.0.0.0/8")], []))
    split = desired([Network.parse("10.0.0.0/8")], [Network.parse("10.1.2.3")])
    enforce(split)
    assert needed(split) is None


@pytest.mark.skipif(not REAL_ROOT, reason="a user namespace allows small transactions only")
def test_sets_grow_before_they_are_full(host: None, nft: Nft) -> None:
    """A hash set has at least twice the size of what it holds, and never less than 65536."""
    enforce()
    assert nft("list ruleset").count("size 65536") == 2
    many = Desired(frozenset(Network.of(4, 0x0B000000 + i, 32) for i in range(40_000)))
    enforce(many)
    assert needed(many) is None
    assert "size 131072" in nft("list ruleset")


def test_the_edges_of_the_address_space_are_read_back(host: None) -> None:
    """The first and the last network of each family, and a half of each."""
    texts = ("0.0.0.0/8", "255.255.255.0/24", "128.0.0.0/2", "::/8", "ff00::/8", "255.0.0.1")
    edges = desired(map(Network.parse, texts), [])
    enforce(edges)
    assert needed(edges) is None


def test_a_desired_host_in_the_wrong_set_is_drift(host: None, nft: Nft) -> None:
    """It is not enough that some set holds it."""
    enforce()
    nft("delete element inet treason banned4 { 192.0.2.7 }")
    nft("add element inet treason banned6 { ::ffff:192.0.2.7 }")
    assert needed() is not None
    enforce()
    assert needed() is None


def test_foreign_comments_may_hold_anything(host: None, nft: Nft, tmp_path: Path) -> None:
    """Neither bytes that are no text nor a line break that imitates our table disturb us."""
    script = tmp_path / "foreign.nft"
    script.write_bytes(
        b'table inet aaa { comment "\ntable inet treason {\n\tx\n}\n"\n'
        b' chain c { counter comment "caf\xe9"; }\n}\n'
    )
    run(["nft", "-f", str(script)])
    enforce()
    assert needed() is None


def test_a_table_that_a_program_owns_is_told(host: None) -> None:
    """It is there, it is not ours to change, and the error says so."""
    owner = subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert owner.stdin is not None
    owner.stdin.write(b"add table inet treason { flags owner; }\n")
    owner.stdin.flush()
    try:
        for _ in range(200):
            if (made := needed()) and "is missing" not in str(made.repairs[0]):
                break
            threading.Event().wait(0.02)
        assert made is not None
        assert "flags owner" in str(made.repairs)
        with pytest.raises(BackendFailed) as refused:
            Nftables().apply(made)
        assert "no other program may own the table" in refused.value.hint
    finally:
        owner.stdin.close()
        owner.wait()


def test_teardown_removes_the_table_alone_and_may_be_repeated(host: None, nft: Nft) -> None:
    """What is missing is fine; others' tables stay."""
    nft("add table inet other")
    enforce()
    Nftables().teardown()
    Nftables().teardown()
    assert nft("list tables") == "table inet other\n"


def test_a_refused_change_leaves_everything_as_it_was(host: None, nft: Nft) -> None:
    """One element that is not there aborts the transaction, and is a typed error."""
    enforce()
    made = needed(Desired(frozenset({Network.parse("203.0.113.1")})))
    assert made is not None
    nft("delete element inet treason banned4 { 192.0.2.7 }")
    before = nft("list ruleset")
    with pytest.raises(BackendFailed, match="No such file"):
        Nftables().apply(made)
    assert nft("list ruleset") == before


def test_an_unreadable_kernel_is_an_error_not_an_empty_one(
    mocker: MockerFixture, host: None
) -> None:
    """Where the kernel may not be asked, observe raises and tells the remedy."""
    mocker.patch.object(structure, "read", side_effect=netlink.refusal(errno.EPERM))
    with pytest.raises(BackendUnreadable, match="Operation not permitted") as refused:
        Nftables().observe()
    assert "CAP_NET_ADMIN" in refused.value.hint


@pytest.mark.parametrize("name", ["banned4", "banned4_nets"])
def test_an_element_that_matches_under_a_condition_is_damage(name: str, host: None) -> None:
    """A quota that nft itself would not add lets packets through."""
    enforce(desired(map(Network.parse, ("192.0.2.7", "198.51.100.0/24")), []))
    first = Network.parse("192.0.2.7" if name == "banned4" else "198.51.100.0/24").packed
    quota = nested(2, attribute(1, (10**15).to_bytes(8)), number(2, 1))
    condition = nested(7, text(1, "quota"), quota)  # NFTA_SET_ELEM_EXPR
    for kind, more, flags in ((14, b"", 0), (12, condition, CREATE)):
        element = nested(3, nested(1, nested(1, attribute(1, first)), more))
        body = text(1, "treason") + text(2, name) + element
        Connection().commit([Message(NFTABLES << 8 | kind, 1, body, flags)])
    made = needed(desired(map(Network.parse, ("192.0.2.7", "198.51.100.0/24")), []))
    assert made is not None
    assert "which matches under a condition" in str(made.repairs)
    Nftables().apply(made)
    assert needed(desired(map(Network.parse, ("192.0.2.7", "198.51.100.0/24")), [])) is None


def test_an_empty_table_is_in_sync_with_nothing(host: None) -> None:
    """Nothing desired still means the table stands, ready."""
    enforce(Desired())
    assert Nftables().observe() == Observed()


@pytest.mark.skipif(not REAL_ROOT, reason="a user namespace allows small transactions only")
def test_a_kernel_that_counts_nothing_is_served_as_well(
    host: None, nft: Nft, mocker: MockerFixture
) -> None:
    """Before Linux 6.16: what is added is asked for by its keys, and a full set is made anew."""
    mocker.patch.object(reading, "COUNT", -1)
    hosts = [Network.of(4, 0x0B000000 + index, 32) for index in range(80_000)]
    enforce(Desired(hosts[:40_000]))
    backend = Nftables()
    made = plan(Desired(hosts[:40_001]), backend.observe())
    assert made is not None
    backend.apply(made)
    assert backend.confirm(made)
    nft("delete element inet treason banned4 { 11.0.156.64 }")
    assert not backend.confirm(made)
    assert "size 131072" in nft("list ruleset")
    nft("delete table inet treason")
    enforce(Desired(hosts[:10]))
    for size in (60_000, 80_000):
        enforce(Desired(hosts[:size]))
    assert needed(Desired(hosts)) is None
    assert "size 262144" in nft("list ruleset")


HOSTS = [Network.of(4, 0x0B000000 + place, 32) for place in range(6_000)]
EMPTY = Desired()
SOME = Desired(frozenset([*WANTED.banned, *HOSTS[:9]]), WANTED.passed)
MANY = Desired(frozenset([*WANTED.banned, *HOSTS]), WANTED.passed)
HOSTS_ONLY = Desired(frozenset(HOSTS[:9]))


def changed(*states: Desired, harm: str = "") -> tuple[Nftables, Plan]:
    """Go from state to state, and give the backend that made the last change, with its plan."""
    *before, last = states
    for state in before:
        enforce(state)
    if harm:
        nft_(harm)
    backend = Nftables()
    made = plan(last, backend.observe())
    assert made is not None
    backend.apply(made)
    return backend, made


@pytest.mark.parametrize(
    ("states", "harm"),
    [
        pytest.param([EMPTY], "", id="nothing, made"),
        pytest.param([SOME], "", id="some, made"),
        pytest.param([MANY], "", id="many, made"),
        pytest.param([WANTED, SOME], "", id="some added"),
        pytest.param([SOME, WANTED], "", id="some lifted"),
        pytest.param([HOSTS_ONLY, SOME], "", id="networks added"),
        pytest.param([HOSTS_ONLY, MANY], "", id="networks and many hosts added"),
        pytest.param([MANY, SOME], "", id="many lifted"),
        pytest.param([SOME, EMPTY], "", id="all lifted"),
        pytest.param([SOME, SOME], "flush chain inet treason prerouting", id="a chain repaired"),
        pytest.param([SOME, MANY], "delete chain inet treason prerouting", id="and many added"),
    ],
)
@pytest.mark.parametrize("spread", [False, True])
def test_a_change_that_arrived_is_confirmed(
    spread: bool, states: list[Desired], harm: str, host: None, mocker: MockerFixture
) -> None:
    """Without a dump of the hosts, also when the table grew into shards."""
    if spread:
        mocker.patch.object(layout, "_WHOLE", 8)
        mocker.patch.object(layout, "_SMALLEST", 16)
    backend, made = changed(*states, harm=harm)
    mark = backend.fingerprint()
    dumped = mocker.spy(reading, "hosts")
    assert backend.confirm(made)
    assert (dumped.call_count, backend.fingerprint()) == (0, mark)
    assert needed(states[-1]) is None


@pytest.mark.parametrize(
    "theirs",
    [
        "add table inet other",
        "add element inet treason banned4 { 203.0.113.9 }",
        (
            "delete element inet treason banned4 { 11.0.0.0 };"
            " add element inet treason banned4 { 203.0.113.9 }"
        ),
        "delete table inet treason",
    ],
)
def test_nothing_is_confirmed_once_somebody_changed_the_ruleset(
    theirs: str, host: None, nft: Nft
) -> None:
    """Whatever it was, and also when the fingerprint was asked for in between."""
    backend, made = changed(WANTED, SOME)
    nft(theirs)
    backend.fingerprint()
    assert not backend.confirm(made)


@pytest.mark.parametrize(
    ("state", "theirs"),
    [
        (SOME, "delete element inet treason banned4 { 11.0.0.8 }"),
        (MANY, "delete element inet treason banned4 { 11.0.0.8 }"),
        (MANY, "add element inet treason banned4 { 203.0.113.9 }"),
        (SOME, "delete element inet treason banned4_nets { 198.51.100.128/25 }"),
        (MANY, "delete element inet treason banned4_nets { 198.51.100.128/25 }"),
        (SOME, "delete element inet treason passed6 { 2001:db8:7::9 }"),
        (SOME, "flush chain inet treason prerouting"),
        (SOME, "delete table inet treason"),
    ],
)
def test_what_is_not_there_is_not_confirmed(
    state: Desired, theirs: str, host: None, nft: Nft, mocker: MockerFixture
) -> None:
    """It is looked for: the number of the generation is not all that is believed."""
    backend, made = changed(state)
    mocker.patch.object(Ruleset, "is_ours", return_value=True)
    assert backend.confirm(made)
    nft(theirs)
    assert not backend.confirm(made)


def test_answers_that_do_not_fit_confirm_nothing(host: None, mocker: MockerFixture) -> None:
    """Where a socket may hold little, as in a user namespace: it is read instead, without error."""
    mocker.patch.object(netlink.connection, "_KEPT", 1 << 17)
    backend, made = changed(EMPTY, Desired(frozenset(HOSTS[:4000])))
    assert not backend.confirm(made)
    assert needed(Desired(frozenset(HOSTS[:4000]))) is None


def test_the_fingerprint_is_the_same_while_nothing_happens(host: None, nft: Nft) -> None:
    """For whoever asks, however often, and whatever is listed meanwhile."""
    enforce()
    mark = Nftables().fingerprint()
    nft("list ruleset")
    assert needed() is None
    assert Nftables().fingerprint() == mark


@pytest.mark.parametrize(
    "command",
    [
        ["nft", "add table inet other"],
        ["nft", "add element inet treason banned4 { 203.0.113.9 }"],
        ["nft", "add table inet treason { flags dormant; }"],
        ["iptables-nft", "-N", "OTHER"],
        ["nft", "flush ruleset"],
    ],
)
def test_every_commit_gives_another_fingerprint(command: list[str], host: None) -> None:
    """To our table or to another, by whatever program."""
    enforce()
    backend = Nftables()
    mark = backend.fingerprint()
    run(command)
    assert backend.fingerprint() != mark
    assert Nftables().fingerprint() == backend.fingerprint()


def fingerprint_of_a_new_namespace() -> tuple[int, str | None]:
    """Make a namespace and our table in it; give the number of its inode, and the fingerprint."""
    namespace = Namespace()
    with namespace.entered():
        enforce()
        told = Path("/proc/thread-self/ns/net").stat().st_ino, Nftables().fingerprint()
    namespace.close()
    return told


def test_a_namespace_that_was_made_again_has_another_fingerprint() -> None:
    """Although its inode has the same number, and its ruleset the same generation."""
    seen: dict[int, str | None] = {}
    for _ in range(200):
        inode, mark = fingerprint_of_a_new_namespace()
        assert mark not in seen.values()
        if inode in seen:
            break
        seen[inode] = mark
    else:
        pytest.skip("no number of an inode was given twice")
    assert mark is not None
    assert mark.rpartition(":")[2] == (seen[inode] or "").rpartition(":")[2]


@pytest.mark.parametrize(
    "text",
    [
        "add chain inet treason foreign",
        "add set inet treason foreign { type ipv4_addr; elements = { 1.1.1.1 }; }",
        (
            "add chain inet treason a; add rule inet treason a counter;"
            " add chain inet treason b; add rule inet treason b jump a;"
            " add rule inet treason prerouting ip saddr vmap { 1.1.1.1 : jump b };"
            " add map inet treason m { type ipv4_addr : verdict; };"
            " add element inet treason m { 1.1.1.2 : jump a };"
            " add rule inet treason prerouting ip saddr vmap @m;"
            " add chain inet treason base { type filter hook input priority 0; };"
            " add rule inet treason base ip saddr @banned4 accept"
        ),
    ],
    ids=["a chain", "a set", "chains that use each other"],
)
def test_what_does_not_belong_here_is_taken_away_while_sets_stay(
    text: str, host: None, nft: Nft
) -> None:
    """No set of ours is made anew: of networks, packets would slip through for a moment."""
    enforce()
    before = _handles(nft)
    nft(text)
    made = needed()
    assert made is not None
    assert "element" not in Nftables().render(made)
    Nftables().apply(made)
    assert needed() is None
    assert _handles(nft) == before
    assert "foreign" not in nft("list table inet treason")


def test_what_is_used_in_another_way_is_taken_away_with_the_table(host: None, nft: Nft) -> None:
    """The kernel does not tell the chain of a jump's own rules from others."""
    enforce()
    nft("add counter inet treason n; add rule inet treason prerouting jump { counter accept; }")
    made = needed()
    assert made is not None
    Nftables().apply(made)
    assert needed() is None


def test_a_hash_grows_while_networks_stay(host: None, nft: Nft) -> None:
    """And so do the hashes of the other family."""
    enforce()
    before = _handles(nft)
    more = Networks.of_hosts(4, b"".join((0x0B000000 + each).to_bytes(4) for each in range(40_000)))
    wanted = Desired(WANTED.banned | more, WANTED.passed)
    for state in (wanted, Desired(wanted.banned | {Network.parse("::1")}, WANTED.passed)):
        made = needed(state)
        assert made is not None
        backend = Nftables()
        backend.observe()
        backend.apply(made)
        assert backend.confirm(made)
        assert needed(state) is None
    after = _handles(nft)
    assert {name for name in before if before[name] != after[name]} == {"banned4"}


def _handles(nft: Nft) -> dict[str, str]:
    """Return the numbers of the sets; one that is made anew has another."""
    listed = nft("list table inet treason", "-a", "-t").splitlines()
    found = (re.search(r"set (\S+) \{ # handle (\d+)", line) for line in listed)
    return {match[1]: match[2] for match in found if match}


def test_since_when_is_told_by_the_rules_themselves(nft: Nft, tmp_path: Path) -> None:
    """As long as they are: what others make of a listing does not tell it, nor shows anything."""
    backend = Nftables()
    given(backend, WANTED)
    told = backend.dropped()
    assert told is not None
    assert told.since is not None
    listing = nft("list ruleset")
    assert "comment" not in listing.partition("chain ")[2]
    saved = tmp_path / "saved"
    saved.write_text(f"flush ruleset\n{listing}")
    run(["nft", "-f", str(saved)])
    assert needed(WANTED) is None
    assert backend.dropped() == Dropped(0, 0)
    nft_("flush chain inet treason prerouting")
    assert backend.dropped() is None
    given(backend, WANTED)
    again = backend.dropped()
    assert again is not None
    assert again.since is not None
    assert again.since >= told.since
