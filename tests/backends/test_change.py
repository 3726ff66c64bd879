"""From a plan to the transaction: the script for people and the messages for the kernel agree."""

import re
from collections.abc import Callable, Sequence

import pytest
from harness import REAL_ROOT
from pytest_mock import MockerFixture

from backends.nftables import layout, reading, structure
from backends.nftables.backend import Nftables
from reconciler import Desired, Network, Networks, Plan, netlink
from reconciler.execute import run
from reconciler.host.netns import Namespace, Wire
from reconciler.passes.enforce import Goal, State, enforce
from reconciler.planning.desired import desired
from reconciler.planning.plan import plan

Nft = Callable[..., str]

ROOM = pytest.mark.skipif(not REAL_ROOT, reason="a user namespace allows small transactions only")


def nets(*texts: str) -> Networks:
    """Read networks."""
    return Networks.of(map(Network.parse, texts))


def hosts(number: int, first: str = "11.0.0.0") -> Networks:
    """Return so many addresses."""
    start = Network.parse(first)
    width = start.bits // 8
    packed = b"".join((start.address + place).to_bytes(width) for place in range(number))
    return Networks.of_hosts(start.version, packed)


def needed(wanted: Desired) -> Plan | None:
    """Return the plan that is needed now."""
    return plan(wanted, Nftables().observe())


def converge(wanted: Desired) -> State:
    """Enforce in one pass, and tell how it ended."""
    [outcome] = enforce({"nftables": Nftables}, Goal(lambda: wanted), check=False)
    assert outcome.error == ""
    return outcome.state


def listed() -> str:
    """Return the ruleset as nft lists it, the elements of each set in order."""
    ruleset = run(["nft", "-s", "list", "ruleset"]).output

    def ordered(elements: re.Match[str]) -> str:
        return " ".join(sorted(elements[1].replace(",", " ").split()))

    return re.sub(r"elements = {([^}]*)}", ordered, ruleset)


@pytest.fixture
def small(mocker: MockerFixture) -> None:
    """More than eight hosts of a family are spread over shards."""
    mocker.patch.object(layout, "_WHOLE", 8)


FEW = Desired(
    hosts(5) | hosts(3, "2001:db8::") | nets("10.0.0.0/8", "192.0.2.0/25", "2001:db8:7::/48"),
    nets("198.51.100.9", "203.0.113.0/24", "2001:db8:9::/64"),
)
OTHERS = Desired(
    hosts(6, "11.0.0.2") | hosts(5, "2001:db8::1") | nets("172.16.0.0/12", "2001:db8:7::/48"),
    nets("198.51.100.9", "2001:db8:9::8"),
)
MANY = Desired(FEW.banned | hosts(99) | hosts(70, "2001:db8::"), FEW.passed)
MANY_OTHERS = Desired(OTHERS.banned | hosts(80, "11.0.0.40") | hosts(90, "2001:db8::15"))
LOST = "flush chain inet treason prerouting"
EVERYTHING_LOST = "flush ruleset"


def agree(states: Sequence[Desired], harm: str = "") -> str:
    """Go from state to state by messages in one namespace, by scripts in another; give the end."""
    ends = []
    for scripted in (False, True):
        namespace = Namespace()
        with namespace.entered():
            for place, state in enumerate(states):
                if harm and place == len(states) - 1:
                    run(["nft", harm])
                backend = Nftables()
                made = plan(state, backend.observe())
                assert made is not None
                if scripted:
                    run(["nft", "-f", "-"], given=backend.render(made))
                else:
                    backend.apply(made)
                assert needed(state) is None
            ends.append(listed())
        namespace.close()
    messages, script = ends
    assert messages == script
    return messages


@pytest.mark.parametrize(
    ("states", "harm"),
    [
        pytest.param([Desired()], "", id="nothing"),
        pytest.param([FEW], "", id="few"),
        pytest.param([FEW, OTHERS], "", id="few changed"),
        pytest.param([FEW, FEW], LOST, id="the chain repaired"),
        pytest.param([FEW, OTHERS], LOST, id="the chain repaired, and few changed"),
        pytest.param([FEW, OTHERS], EVERYTHING_LOST, id="made anew"),
        pytest.param([FEW, Desired()], "", id="all lifted"),
    ],
)
def test_the_script_makes_what_the_messages_make(states: list[Desired], harm: str) -> None:
    """Run by nft in one namespace, sent in another: nft lists the same, in the same order."""
    end = agree(states, harm)
    assert "vmap" not in end
    assert "type filter hook prerouting priority raw; policy accept;" in end


@pytest.mark.parametrize(
    ("states", "harm"),
    [
        pytest.param([MANY], "", id="many"),
        pytest.param([MANY, MANY_OTHERS], "", id="many changed"),
        pytest.param([MANY, OTHERS], "", id="most lifted"),
        pytest.param([MANY, MANY], LOST, id="the chain repaired"),
        pytest.param([MANY, MANY], "flush chain inet treason drop4_3", id="a branch repaired"),
        pytest.param([MANY, MANY_OTHERS], LOST, id="the chain repaired, and many changed"),
        pytest.param([MANY, MANY_OTHERS], EVERYTHING_LOST, id="made anew"),
    ],
)
def test_the_script_makes_the_same_shards(small: None, states: list[Desired], harm: str) -> None:
    """Sixteen sets of each family, and the chains to them."""
    end = agree(states, harm)
    assert end.count("vmap") == 2
    assert (end.count("set banned4_"), end.count("set banned6_")) == (17, 17)  # one of networks


@ROOM
@pytest.mark.parametrize("first", ["11.0.0.0", "2001:db8::"])
def test_the_script_makes_the_same_of_very_many(first: str) -> None:
    """One host more than is put into one set."""
    assert agree([Desired(hosts(131_073, first))]).count("vmap") == 1


@ROOM
def test_sets_grow_and_are_spread_as_they_fill(wire: Callable[..., Wire], nft: Nft) -> None:
    """From ten to very many and back: each is dropped while banned, and nobody else."""
    ten = {f"11.0.0.{last}" for last in range(10)}
    later, latest = {"11.0.128.77"}, {"11.1.134.200", "11.2.34.223"}
    others = {"12.0.0.1", "12.0.0.15", "2001:db8:1::1"}
    everybody = ten | later | latest | others
    cable = wire(*everybody)
    for number, dropped, sizes, spread in (
        (10, ten, {"65536"}, False),
        (40_000, ten | later, {"65536", "131072"}, False),
        (140_000, ten | later | latest, {"65536"}, True),
        (10, ten, {"65536"}, True),
    ):
        assert converge(Desired(hosts(number))) is State.CHANGED
        assert cable.arriving([*everybody]) == everybody - dropped
        structure = nft("list ruleset", "-t")
        assert set(re.findall(r"size ([0-9]+)", structure)) == sizes
        assert ("vmap" in structure) is spread
    assert converge(Desired(hosts(10))) is State.IN_SYNC


def test_each_shard_drops_its_own(small: None, wire: Callable[..., Wire], nft: Nft) -> None:
    """A host of every shard of both families is dropped, its neighbour with the same bits not."""
    banned = [*map(str, hosts(16)), *map(str, hosts(16, "2001:db8:bad::"))]
    others = [*map(str, hosts(16, "11.0.1.0")), *map(str, hosts(16, "2001:db8:bad::100"))]
    cable = wire(*banned, *others)
    converge(Desired(Networks.of(map(Network.parse, banned))))
    assert nft("list ruleset").count("vmap") == 2
    assert cable.arriving([*banned, *others]) == {*others}


@pytest.mark.parametrize(
    "harm",
    [
        "flush chain inet treason drop4_3",
        "flush chain inet treason prerouting",
        "insert rule inet treason drop6_15 accept",
        "add rule inet treason drop4_0 ip saddr @banned4_0 counter drop",
        "delete rule inet treason prerouting handle VMAP",
        (
            "replace rule inet treason prerouting handle VMAP"
            " ip saddr & 0.0.0.15 vmap { 0.0.0.0 : jump drop4_0 }"
        ),
        "flush set inet treason banned4_7",
        "delete element inet treason banned4_7 { 11.0.0.7 }",
        "add element inet treason banned4_1 { 203.0.113.1 }",
        "add element inet treason banned4_1 { 203.0.113.2 }",  # it belongs into the second
        "add element inet treason banned6_1 { 2001:db8:1::2 }",
        (
            "delete element inet treason banned4_2 { 11.0.0.2 };"
            " add element inet treason banned4_1 { 11.0.0.2 }"
        ),
        "add element inet treason banned4_1 { 11.0.0.2 }",
        "add element inet treason banned4_1 { * }",
        "add set inet treason banned4 { type ipv4_addr; size 65536; }",
        "add set inet treason banned4_16 { type ipv4_addr; size 65536; }",
        "add chain inet treason drop4_16",
        "flush chain inet treason drop4_5; delete set inet treason banned4_5",
        "flush chain inet treason drop4_0; delete set inet treason banned4_0",
        (
            "flush chain inet treason drop4_5; delete set inet treason banned4_5;"
            " add set inet treason banned4_5 { type ipv4_addr; }"
        ),
        "flush chain inet treason prerouting; delete chain inet treason drop4_5",
        (
            "flush chain inet treason prerouting; delete chain inet treason prerouting;"
            " add chain inet treason prerouting"
        ),
    ],
)
def test_damage_among_shards_is_seen_and_mended(
    harm: str, small: None, host: None, nft: Nft
) -> None:
    """In one pass, which leaves everything as it was before."""
    converge(MANY)
    before = listed()
    rule = re.search(r"ip saddr & .* # handle ([0-9]+)", nft("list ruleset", "-a"))
    assert rule is not None
    nft(harm.replace("VMAP", rule[1]))
    assert needed(MANY) is not None
    assert converge(MANY) is State.CHANGED
    assert listed() == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (nets("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"), nets("10.0.0.0/24", "10.0.2.0/24")),
        (nets("10.0.0.0/24", "10.0.2.0/24"), nets("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24")),
        (nets("10.0.1.0/24"), nets("10.0.0.0/24", "10.0.2.0/24")),
        (nets("10.0.0.0/23"), nets("10.0.0.0/24", "10.0.1.0/25")),
        (nets("10.0.0.0/24", "10.0.1.0/24"), nets("10.0.0.0/23")),
        (nets("0.0.0.0/8", "255.0.0.0/8"), nets("0.0.0.0/9", "255.128.0.0/9")),
        (nets("0.0.0.0/0", "::/0"), nets("0.0.0.0/1", "8000::/1")),
        (nets("128.0.0.0/1", "8000::/1"), nets("0.0.0.0/0", "::/0")),
        (nets("::/64", "ffff::/16"), nets("0:0:0:1::/64", "ffff:ffff::/32")),
        (nets("2001:db8::/48", "2001:db8:1::/48"), nets("2001:db8:1::/48", "2001:db8:2::/48")),
    ],
)
def test_networks_side_by_side_come_and_go(before: Networks, after: Networks, host: None) -> None:
    """Adjacent ones, the first and the last address, a whole family, wider and narrower ones."""
    for state in (before, after, before, Networks()):
        converge(Desired(state))
        assert Nftables().observe().banned == state


def test_many_networks_come_and_go_at_once(host: None, nft: Nft) -> None:
    """A thousand, without gaps and with, of which half goes while others come."""
    first = Networks.of(Network.of(4, 0x0A000000 + (place << 8), 24) for place in range(1000))
    sixth = Networks.of(Network.of(6, place << 80, 48) for place in range(0, 1000, 3))
    going = Networks.of(first[::2])
    coming = Networks.of(Network.of(4, network.address, 25) for network in going)
    converge(Desired(first | sixth))
    assert Nftables().observe().banned == first | sixth
    converge(Desired(first - going | coming))
    assert Nftables().observe().banned == first - going | coming
    assert nft("list ruleset").count("/24") == 500
    assert nft("list ruleset").count("/25") == 500


def test_an_exemption_splits_a_network_among_others(host: None) -> None:
    """Its neighbours on both sides stay, and it is whole again when the exemption ends."""
    banned = nets("10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/16", "2001:db8::/32")
    for exempt in (nets("10.1.2.3", "2001:db8:7::/48"), nets("10.1.0.0", "10.1.255.255"), nets()):
        wanted = desired(banned, exempt)
        converge(wanted)
        assert Nftables().observe().banned == wanted.banned
        assert Nftables().observe().passed == wanted.passed


THEIRS = (
    ("banned4", "192.0.2.7, 0.0.0.0, 255.255.255.255"),
    ("banned6", "::, 2001:db8::7, ffff::ffff"),
    ("banned4_nets", "10.0.0.0/24, 10.0.1.0/24, 172.16.0.0-172.31.255.255, 255.255.255.0/24"),
    ("banned6_nets", "2001:db8::/33, 2001:db8:8000::/33, ff00::/8"),
    ("passed4", "0.0.0.0/8, 127.0.0.1"),
    ("passed6", "::/128, ffff:ffff::/32"),
)


def test_what_nft_itself_added_is_read(host: None, nft: Nft) -> None:
    """It writes intervals in another way: with an end at zero, and with open ends."""
    converge(Desired())
    for name, elements in THEIRS:
        nft(f"add element inet treason {name} {{ {elements} }}")
    found = Nftables().observe()
    assert found.damage == ()
    assert [*map(str, found.banned)] == [
        "0.0.0.0", "10.0.0.0/24", "10.0.1.0/24", "172.16.0.0/12", "192.0.2.7",
        "255.255.255.0/24", "255.255.255.255",
        "::", "2001:db8::/33", "2001:db8::7", "2001:db8:8000::/33", "ff00::/8", "ffff::ffff",
    ]  # fmt: skip
    assert [*map(str, found.passed or ())] == ["0.0.0.0/8", "127.0.0.1", "::", "ffff:ffff::/32"]


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("name", [name for name, _ in THEIRS])
def test_what_nft_itself_added_is_taken_away(name: str, batches: int, host: None, nft: Nft) -> None:
    """All of it or parts, whether it was added at once or one by one; and comes back as ours."""
    converge(Desired())
    elements = dict(THEIRS)[name]
    for each in [elements] if batches == 1 else elements.split(", "):
        nft(f"add element inet treason {name} {{ {each} }}")
    found = Nftables().observe()
    everything = found.passed if name.startswith("passed") else found.banned
    assert everything
    for some in (everything[1:], everything[2:], everything, Networks(), everything):
        wanted = Desired(passed=some) if name.startswith("passed") else Desired(some)
        assert converge(wanted) is State.CHANGED
        assert needed(wanted) is None


@pytest.mark.skipif(not REAL_ROOT, reason="a user namespace allows small transactions only")
def test_addresses_that_end_alike_are_spread_by_other_bits(host: None, nft: Nft) -> None:
    """Of 140,000 networks a host each, all ::1: no set holds many of them, and they are read."""
    ones = Desired([Network.of(6, 0x20010DB8 << 96 | k << 64 | 1, 128) for k in range(140_000)])
    backend = Nftables()
    made = plan(ones, backend.observe())
    assert made is not None
    backend.apply(made)
    assert backend.confirm(made)
    assert plan(ones, Nftables().observe()) is None
    kernel = netlink.Connection()
    shape = layout.shape_of(structure.read(kernel, layout.CHAIN))
    counts = reading.counts(kernel, shape.sizes)
    assert max(counts.values()) < 20_000
    assert "ip6 saddr & 0:0:0:f:: vmap" in nft("list ruleset", "-t")
