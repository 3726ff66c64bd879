"""`treason why`: the first line is true, by a packet of who is asked for, on the real kernel."""

import json
import re
import socket
from collections.abc import Callable

import jsonschema
import pytest
from harness import ROOT, Place, page, wipe
from pytest_mock import MockerFixture
from residents import busy, configure, drops, running, until

from backends.nftables import layout
from reconciler import Network
from reconciler.execute import run
from reconciler.host.netns import Wire
from reconciler.model import Ban, Offence
from reconciler.netlink import NFTABLES, Connection, Message, attribute, nested, number, text
from reconciler.store.store import open_store
from reconciler.store.unconfirmed import Doubted

Cable = Callable[..., Wire]
Nft = Callable[..., str]

HOST, NEIGHBOUR = "203.0.113.7", "203.0.113.8"
INSIDE, OUTSIDE = "198.51.100.9", "198.51.101.9"
HOST6 = "2001:db8:bad::7"
NETWORK = "198.51.100.0/24"
LINE = f"TCP: Treason uncloaked! Peer {HOST}:4638/80 shrinks window 3:4. Repaired."
SCHEMA = json.loads((ROOT / "docs" / "reference" / "json.schema.json").read_text())


@pytest.fixture
def cable(wire: Cable) -> Wire:
    """Peers of every address that is asked for here."""
    return wire(HOST, NEIGHBOUR, INSIDE, OUTSIDE, HOST6)


def told(place: Place, asked: str) -> str:
    """Return the first line, with T for each time, and hold the JSON against its schema."""
    result = place.treason("why", asked)
    assert result.code == 0, result.err
    value = place.treason("why", asked, "-o", "json").json
    jsonschema.validate(value, SCHEMA | {"$ref": "#/$defs/why"})
    first = result.out.split("\n")[0]
    assert value["answer"] == first
    for word in ("dropped", "passed"):
        code = place.treason("why", asked, "--expect", word).code
        assert code == (0 if value["verdict"] == word else 1)
    return re.sub(r"[-0-9]{10}T[0-9:]{8}Z", "T", first)


def shown(place: Place, cable: Wire, asked: str) -> str:
    """Return the first line, once a packet has shown that it is true."""
    said = told(place, asked)
    arrives = asked in cable.arriving([asked])
    assert f"{asked} {'passes' if arrives else 'is dropped by'}" in said
    return said


def reconcile(place: Place) -> None:
    """Let the firewalls follow."""
    result = place.treason("reconcile", "--no-scan")
    assert result.code == 0, result.err


def test_by_hand_and_inside_and_around(place: Place, cable: Wire) -> None:
    """A host, a network around one, hosts inside a network, and nobody."""
    place.treason("ban", HOST, "--for", "1h", "--reason", "port scan")
    assert shown(place, cable, HOST) == (
        f"{HOST} passes, though banned by hand, until T: nftables: the table is missing;"
        " the next pass mends that."
    )
    place.treason("ban", NETWORK)
    reconcile(place)
    assert shown(place, cable, HOST) == (f"{HOST} is dropped by nftables: banned by hand, until T.")
    assert shown(place, cable, INSIDE) == (
        f"{INSIDE} is dropped by nftables: {NETWORK} around it is banned by hand, permanently."
    )
    assert shown(place, cable, OUTSIDE) == f"{OUTSIDE} passes: it is not banned."
    assert shown(place, cable, HOST6) == f"{HOST6} passes: it is not banned."
    assert told(place, "203.0.113.0/24") == (
        f"203.0.113.0/24 is dropped in part by nftables: {HOST}."
    )
    assert told(place, NETWORK) == (
        f"{NETWORK} is dropped by nftables: banned by hand, permanently."
    )
    place.treason("ban", "203.0.113.0/25", "203.0.113.128/25")
    reconcile(place)
    assert told(place, "203.0.113.0/24") == (
        "203.0.113.0/24 is dropped by nftables: all of it is banned, in parts."
    )
    told_page = place.treason("why", HOST).out
    assert "ban       203.0.113.7 by hand, since " in told_page
    assert "          port scan\n" in told_page
    assert "around    203.0.113.0/25 by hand, since " in told_page


def test_by_a_rule_in_both_families(place: Place, cable: Wire) -> None:
    """With the evidence, and the packets that the rule has counted; not who is of the other one."""
    log = place.path / "log"
    peer = "2001:0db8:0bad:0000:0000:0000:0000:0007"
    log.write_text(f"{LINE}\n{LINE.replace(HOST, peer)}\n")
    result = place.treason("reconcile", "--source", f"file:{log}")
    assert result.code == 0, result.err
    for address in (HOST, HOST6):
        assert shown(place, cable, address) == (
            f"{address} is dropped by nftables: banned by the rule treason-uncloaked, permanently."
        )
    assert shown(place, cable, NEIGHBOUR) == f"{NEIGHBOUR} passes: it is not banned."
    cable.arriving([HOST])
    told_page = place.treason("why", HOST).out
    assert f"treason-uncloaked\n          {LINE}\n" in told_page
    assert "its rule has counted 2 packets" in told_page
    assert told_page.count(LINE) == 2  # why it is banned, and its last offence


def test_whoever_is_exempt(place: Place, cable: Wire) -> None:
    """By the whitelist inside a banned network, and by the protection; with what they are for."""
    place.treason("whitelist", "add", INSIDE, "--comment", "the office\x1b[2J")
    place.treason("ban", NETWORK, "192.0.2.0/31")
    reconcile(place)
    assert shown(place, cable, INSIDE) == (
        f"{INSIDE} passes: it is whitelisted by {INSIDE} (the office\\x1b[2J), though {NETWORK}"
        " around it is banned by hand, permanently."
    )
    assert told(place, NETWORK) == f"{NETWORK} is dropped in part by nftables: all but {INSIDE}."
    assert told(place, "192.0.2.1") == (
        "192.0.2.1 passes: it is protected (own address), though 192.0.2.0/31 around it is banned"
        " by hand, permanently."
    )
    place.treason("whitelist", "add", OUTSIDE)
    assert shown(place, cable, OUTSIDE) == f"{OUTSIDE} passes: it is whitelisted by {OUTSIDE}."


def test_an_entry_of_the_whitelist_that_ends(place: Place, cable: Wire) -> None:
    """Its end is told; once it has ended, it exempts nobody any more."""
    place.treason("whitelist", "add", INSIDE, "--for", "1h")
    place.treason("ban", NETWORK)
    reconcile(place)
    banned = f"{NETWORK} around it is banned by hand, permanently"
    assert shown(place, cable, INSIDE) == (
        f"{INSIDE} passes: it is whitelisted by {INSIDE}, until T, though {banned}."
    )
    assert re.search(f"whitelist +{INSIDE}, until .*Z \\(in ", place.treason("why", INSIDE).out)
    (place.path / "whitelist.toml").write_text(
        f'networks = [{{ network = "{INSIDE}", until = 2001-01-01T00:00:00Z }}]\n'
    )
    assert shown(place, cable, INSIDE) == (
        f"{INSIDE} passes, though {banned}: nftables does not hold it; the next pass adds it."
    )
    reconcile(place)
    assert shown(place, cable, INSIDE) == f"{INSIDE} is dropped by nftables: {banned}."


def test_what_the_kernel_still_holds(place: Place, cable: Wire) -> None:
    """A ban that has ended, one that was lifted, somebody else's element, one now exempt."""
    place.treason("ban", HOST, NEIGHBOUR, INSIDE)
    reconcile(place)
    with open_store(place.database, write=True) as store:
        store.bans.add([Ban(Network.parse(HOST), 1, 2, "manual", "short")])
    assert shown(place, cable, HOST) == (
        f"{HOST} is dropped by nftables, though its ban ended at T: the next pass removes it."
    )
    place.treason("unban", NEIGHBOUR)
    assert shown(place, cable, NEIGHBOUR) == (
        f"{NEIGHBOUR} is dropped by nftables, though no stored ban holds it: the next pass removes"
        " it."
    )
    place.treason("whitelist", "add", INSIDE)
    assert shown(place, cable, INSIDE) == (
        f"{INSIDE} is dropped by nftables, though it is whitelisted by {INSIDE}: the next pass lets"
        " it through."
    )
    reconcile(place)
    assert shown(place, cable, HOST) == (
        f"{HOST} passes: it is not banned any more, the ban of {HOST} ended at T."
    )
    assert shown(place, cable, NEIGHBOUR) == (
        f"{NEIGHBOUR} passes: it is not banned any more, {NEIGHBOUR} was unbanned at T."
    )


def test_what_is_in_force_and_not_stored(place: Place, cable: Wire) -> None:
    """The daemon drops somebody, and its database is locked."""
    configure(place)
    with running(place) as daemon:
        with busy(place):
            daemon.offend(HOST)
            until(lambda: drops(HOST))
            assert shown(place, cable, HOST) == (
                f"{HOST} is dropped by nftables: the daemon has it in force, and has not stored it"
                " yet."
            )
            assert f"daemon    in force, not stored yet: {HOST}\n" in place.treason("why", HOST).out
        until(lambda: HOST in place.treason("list").out)
        assert shown(place, cable, HOST) == (
            f"{HOST} is dropped by nftables: banned by the rule treason-uncloaked, permanently."
        )


def test_beside_a_daemon_that_stands_still(place: Place, cable: Wire) -> None:
    """No next pass is promised: the answer says who let it stand still, and what ends that."""
    configure(place)
    place.treason("ban", HOST)
    with running(place) as daemon:
        until(lambda: drops(HOST))
        assert place.treason("teardown").code == 0
        said = shown(place, cable, HOST)
        assert said.startswith(
            f"{HOST} passes, though banned by hand, permanently: nftables: the table is missing;"
            f" the daemon (process {daemon.process.pid}) stands still since T (teardown, process "
        )
        assert said.endswith("); go on: treason resume.")
        assert place.treason("resume").code == 0
        assert shown(place, cable, HOST) == (
            f"{HOST} is dropped by nftables: banned by hand, permanently."
        )


def test_while_enforcement_is_paused(place: Place, cable: Wire, nft: Nft) -> None:
    """That comes first, whoever is asked for, and also where somebody drops nevertheless."""
    place.treason("ban", HOST)
    reconcile(place)
    assert place.treason("pause", "--for", "1h").code == 0
    assert shown(place, cable, HOST) == f"{HOST} passes: enforcement is paused until T."
    assert "paused    since " in place.treason("why", HOST).out
    nft(f"add element inet treason banned4 {{ {HOST} }}")
    assert shown(place, cable, HOST) == (
        f"{HOST} is dropped by nftables, though enforcement is paused until T: the next pass"
        " removes it."
    )
    assert place.treason("pause").code == 0
    assert (
        shown(place, cable, HOST) == f"{HOST} passes: enforcement is paused until treason resume."
    )
    assert place.treason("resume").code == 0
    assert "is dropped by nftables: banned" in shown(place, cable, HOST)


def test_who_is_only_observed(place: Place, cable: Wire) -> None:
    """Rules ban nobody; what they would have done is said."""
    place.configure('[policy]\nmode = "observe"')
    log = place.path / "log"
    log.write_text(f"{LINE}\n")
    assert place.treason("reconcile", "--source", f"file:{log}").code == 0
    assert shown(place, cable, HOST) == (
        f"{HOST} passes: by the rule treason-uncloaked it would be banned, but rules only observe."
    )


def test_what_nothing_confirmed(place: Place, cable: Wire) -> None:
    """Anybody may have made the kernel say so: what was said is shown, harmless."""
    offence = Offence(Network.parse(HOST), "treason-uncloaked", f"{LINE}\x1b[31m\nyes", True)
    doubted = Doubted(offence, "kmsg", 1_700_000_000, "its sockets do not show it")
    with open_store(place.database, write=True) as store:
        store.unconfirmed.change([doubted], [], [])
    assert shown(place, cable, HOST) == (
        f"{HOST} passes: it is not banned, and what was told of it is not confirmed."
    )
    told_page = place.treason("why", HOST).out
    assert f"{LINE}\\x1b[31m\\nyes\n" in told_page
    assert "its sockets do not show it" in told_page


def test_who_has_connections_open(place: Place, cable: Wire) -> None:
    """Each is shown with what the source that judges says of it; of others none."""
    with socket.create_server(("192.0.2.1", 0)) as server:
        with cable.peers.entered():
            customer = socket.create_connection(server.getsockname(), source_address=(HOST, 0))
        with customer, server.accept()[0]:
            peer_port, port = customer.getsockname()[1], server.getsockname()[1]
            told_page = place.treason("why", HOST).out
            ends = f"{HOST}:{peer_port} to port {port}, established"
            assert (
                f"socket    {ends}\n          not judged: the connection shows no attack now\n"
                in told_page
            )
            assert f"socket    {ends}\n" in place.treason("why", "203.0.113.0/24").out
            assert "socket" not in place.treason("why", NEIGHBOUR).out


def hurt(nft: Nft, *commands: str) -> None:
    """Let somebody else change the firewall."""
    for command in commands:
        nft(command)


@pytest.mark.parametrize(
    ("commands", "why"),
    [
        (["add table inet treason { flags dormant; }"], "the table is dormant"),
        (["flush chain inet treason prerouting"], "the chain prerouting has lost its rules for it"),
        (["delete table inet treason"], "the table is missing"),
        (["flush chain inet treason prerouting", "delete chain inet treason prerouting",
          "add chain inet treason prerouting"], "the chain prerouting is not hooked"),
    ],
)  # fmt: skip
def test_what_is_broken(commands: list[str], why: str, place: Place, cable: Wire, nft: Nft) -> None:
    """The table sleeps, its chain was emptied, is gone or hooked nowhere: what is banned passes."""
    place.treason("ban", HOST, NETWORK)
    reconcile(place)
    hurt(nft, *commands)
    assert shown(place, cable, HOST) == (
        f"{HOST} passes, though banned by hand, permanently: nftables: {why};"
        " the next pass mends that."
    )
    assert shown(place, cable, OUTSIDE) == f"{OUTSIDE} passes: it is not banned."
    reconcile(place)
    assert "is dropped by" in shown(place, cable, HOST)


def test_a_flushed_set(place: Place, cable: Wire, nft: Nft) -> None:
    """What another set holds is dropped; one that holds something else is told as it is."""
    place.treason("ban", HOST, NETWORK)
    reconcile(place)
    hurt(nft, "flush set inet treason banned4")
    assert shown(place, cable, HOST) == (
        f"{HOST} passes, though banned by hand, permanently: nftables does not hold it; the next"
        " pass adds it."
    )
    assert "is dropped by" in shown(place, cable, INSIDE)
    hurt(nft, f"add element inet treason passed4 {{ {INSIDE} }}")
    assert shown(place, cable, INSIDE) == (
        f"{INSIDE} passes, though {NETWORK} around it is banned by hand, permanently: nftables does"
        " not hold it; the next pass adds it."
    )


def test_a_strange_rule_and_an_element_for_everybody(place: Place, cable: Wire, nft: Nft) -> None:
    """What a rule of somebody else does is not guessed at; what only counts decides nothing."""
    place.treason("ban", HOST)
    reconcile(place)
    hurt(nft, "insert rule inet treason prerouting counter")
    assert "is dropped by" in shown(place, cable, HOST)
    hurt(nft, f"insert rule inet treason prerouting ip saddr {HOST} accept")
    assert re.sub(r"rule \d+", "rule N", told(place, HOST)) == (
        f"{HOST} may pass: nftables asks first a rule of somebody else, chain prerouting: rule N,"
        " which is not treason's."
    )
    assert HOST in cable.arriving([HOST])
    nft("delete table inet treason")
    reconcile(place)
    everybody = attribute(3 | 0x8000, nested(1, number(3, 2)))  # NFT_SET_ELEM_CATCHALL
    body = text(1, "treason") + text(2, "banned4") + everybody
    Connection().commit([Message(NFTABLES << 8 | 12, 1, body, 0x400)])
    assert told(place, OUTSIDE) == (
        f"{OUTSIDE} is dropped by nftables, though no stored ban holds it: the next pass removes"
        " it."
    )
    with pytest.raises(Exception, match="no packet arrives"):  # not even the witness's
        cable.arriving([OUTSIDE])


def test_among_shards(place: Place, cable: Wire, mocker: MockerFixture, nft: Nft) -> None:
    """Many hosts are spread over sixteen sets: each is asked for in its own."""
    mocker.patch.object(layout, "_WHOLE", 8)
    others = [f"203.0.1.{number}" for number in range(48)]
    place.treason("ban", HOST, HOST6, NETWORK, *others)
    reconcile(place)
    assert "set banned4_7" in nft("list table inet treason")
    for address in (HOST, INSIDE, HOST6):
        assert "is dropped by nftables" in shown(place, cable, address)
    assert "drops 203.0.113.7: set banned4_7\n" in place.treason("why", HOST).out
    assert shown(place, cable, NEIGHBOUR) == f"{NEIGHBOUR} passes: it is not banned."
    hurt(nft, "flush chain inet treason drop4_7")
    assert shown(place, cable, HOST).startswith(
        f"{HOST} passes, though banned by hand, permanently: nftables: chain drop4_7: is missing;"
    )
    assert told(place, "203.0.1.0/26") == (
        "203.0.1.0/26 is dropped in part by nftables: all but 203.0.1.7, 203.0.1.23, 203.0.1.39,"
        " ..."
    )


@pytest.mark.parametrize("backend", ["ipset", "iptables"])
@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_the_other_firewalls(backend: str, variant: str, place: Place, cable: Wire) -> None:
    """Held, exempt, not held; then the jump is removed, the chain emptied, the set flushed."""
    place.configure(
        f'[backend.{backend}]\nvariant = "{variant}"\nhooks = ["INPUT"]',
        main=f'backends = ["{backend}"]',
    )
    program = f"iptables-{variant}"
    place.treason("ban", HOST, HOST6, NETWORK)
    place.treason("whitelist", "add", INSIDE)
    reconcile(place)
    for address in (HOST, HOST6):
        assert shown(place, cable, address) == (
            f"{address} is dropped by {backend}: banned by hand, permanently."
        )
    assert shown(place, cable, OUTSIDE) == f"{OUTSIDE} passes: it is not banned."
    assert shown(place, cable, INSIDE).startswith(f"{INSIDE} passes: it is whitelisted by")
    assert told(place, NETWORK) == f"{NETWORK} is dropped in part by {backend}: all but {INSIDE}."
    cable.arriving([HOST])
    assert "its rule has counted 2 packets" in place.treason("why", HOST).out
    banned = f"{HOST} passes, though banned by hand, permanently: {backend}"
    run([program, "-D", "INPUT", "1"])
    assert shown(place, cable, HOST) == (
        f"{banned}: the chain INPUT has no jump to TREASON; the next pass mends that."
    )
    assert "is dropped by" in shown(place, cable, HOST6)
    reconcile(place)
    run([program, "-I", "INPUT", "-p", "udp", "-j", "ACCEPT"])
    assert told(place, HOST) == (
        f"{HOST} may pass: {backend} drops it only on some ways, the chain INPUT has other rules"
        " ahead of the jump to TREASON."
    )
    assert HOST in cable.arriving([HOST])
    run([program, "-D", "INPUT", "1"])
    run([program, "-F", "TREASON"])
    assert shown(place, cable, HOST) == (
        f"{banned}: the chain TREASON is empty; the next pass mends that."
    )
    reconcile(place)
    if backend == "ipset":
        run(["ipset", "flush", "treason4"])
        assert shown(place, cable, HOST) == f"{banned} does not hold it; the next pass adds it."


def test_a_database_that_cannot_be_read(place: Place, cable: Wire) -> None:
    """What the kernel holds is told all the same, and nothing is made up about why."""
    place.treason("ban", HOST)
    reconcile(place)
    page(place.database, "bans", wipe)
    page(place.database, "bans_by_key", wipe)
    for address, words in (
        (HOST, "is dropped by nftables, and the database cannot be read that tells why."),
        (NEIGHBOUR, "passes, and whether it is banned cannot be read in the database."),
    ):
        result = place.treason("why", address)
        assert (result.code, result.out.split("\n")[0]) == (1, f"{address} {words}")
        assert "next pass" not in result.out
        assert "damage" in result.out
    assert cable.arriving([HOST, NEIGHBOUR]) == {NEIGHBOUR}
    assert place.treason("why", HOST, "--expect", "dropped").code == 0


def test_a_ban_that_cannot_be_read(place: Place, cable: Wire) -> None:
    """An index still tells that it is there: it is not taken for bans of parts."""
    place.treason("ban", HOST)
    reconcile(place)
    page(place.database, "bans", wipe)
    for words in (
        "is dropped by nftables, and the database cannot be read that tells why.",
        (
            "passes, though banned, by what cannot be read in the database:"
            " nftables does not hold it; the next pass adds it."
        ),
    ):
        result = place.treason("why", HOST)
        assert (result.code, result.out.split("\n")[0]) == (1, f"{HOST} {words}")
        [damage] = [line for line in result.out.split("\n") if line.startswith("damage")]
        assert damage.endswith("the database is damaged")  # and its hint in the next line
        assert (HOST in cable.arriving([HOST])) == words.startswith("passes")
        run(["nft", "flush", "set", "inet", "treason", "banned4"])


def test_a_list_drops_nobody_by_itself(place: Place, cable: Wire) -> None:
    """Of the backend file it is said what it names; of two backends one is enough to drop."""
    blocklist = f"file:{place.path}/list"
    place.configure(main=f'backends = ["{blocklist}"]')
    place.treason("ban", HOST)
    reconcile(place)
    assert shown(place, cable, HOST) == (
        f"{HOST} passes, though banned by hand, permanently: {blocklist} only lists it, and drops"
        " no packets."
    )
    assert f"lists {HOST}: {place.path}/list\n" in place.treason("why", HOST).out
    place.configure(main=f'backends = ["{blocklist}", "nftables"]')
    reconcile(place)
    assert shown(place, cable, HOST) == (
        f"{HOST} is dropped by nftables: banned by hand, permanently."
    )


def test_what_cannot_be_told(place: Place, host: None, mocker: MockerFixture) -> None:
    """An address that is none, a backend that cannot be read, a ban that is not enforced."""
    result = place.treason("why", "203.0.113.999")
    assert (result.code, result.out) == (1, "")
    assert "is not an IP address or network" in result.err
    with open_store(place.database, write=True) as store:
        store.bans.add([Ban(Network.parse("200.0.0.0/6"), 1, None, "badips")])
    assert told(place, "200.0.0.1") == (
        "200.0.0.1 passes: the ban of 200.0.0.0/6 is wider than min_prefix, and not enforced."
    )
    mocker.patch("backends.nftables.asking.held", side_effect=OSError("broken"))
    result = place.treason("why", HOST)
    assert result.code == 1
    assert result.out.startswith(
        f"whether {HOST} is dropped cannot be told: nftables: the plugin failed: OSError: broken.\n"
    )
    assert "nftables: the plugin failed" in result.err
    for word in ("dropped", "passed"):
        assert place.treason("why", HOST, "--expect", word).code == 1
