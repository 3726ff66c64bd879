"""The daemon on a machine whose kernel tells of suspects: who attacks is judged without a poll."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from harness import Place
from peers import Peers, Server, shrinking
from residents import Resident, drops, listed, running, told, until

Nft = Callable[..., str]

MAIN = 'sources = ["sockets"]'
BPF, PERFMON = 1 << 39, 1 << 38
LACKING = ("setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin", "--inh-caps", "-all")


@pytest.fixture
def lab(host: None) -> Iterator[Peers]:
    """Peers and a server."""
    made, server = Peers(), Server("::")
    yield made
    server.close()
    made.close()


def configure(place: Place, text: str = 'lasting = "1s"', way: str = "auto") -> None:
    """Let it look at sockets."""
    place.configure(f'[source.sockets]\nway = "{way}"\n{text}\n', main=MAIN)


def capabilities(process: int) -> int:
    """Return the most of these that a thread of it has in any of its sets but the bounding one."""
    lines = [
        line.split()
        for path in Path(f"/proc/{process}/task").glob("*/status")
        for line in path.read_text().splitlines()
    ]
    masks = [int(line[1], 16) for line in lines if line[0] in ("CapInh:", "CapPrm:", "CapEff:")]
    return max(masks, key=lambda mask: mask & (BPF | PERFMON))


def attack(lab: Peers, number: int) -> str:
    """Let one attack."""
    address = f"10.9.1.{number}"
    lab.connect(address, 4000, shrinking())
    lab.settle(sum(bool(flow.shut) for flow in lab.flows.values()) or 1)
    return address


def test_an_attacker_is_dropped_without_a_poll(lab: Peers, place: Place, nft: Nft) -> None:
    """Its offence and its ban are stored, its socket is closed, and the capabilities are gone."""
    configure(place)
    with running(place) as daemon:
        assert not capabilities(daemon.process.pid) & (BPF | PERFMON)
        address = attack(lab, 7)
        until(lambda: drops(address))
        until(lambda: listed(place) == {address})
        how = told(place)
        assert (how["awake"], how["timed"], how["ways"]) == (["sockets"], [], {"sockets": "bpf"})
        flow = lab.flows[next(iter(lab.flows))]
        until(lambda: flow.reset)
        assert "sockets sees by bpf" in place.treason("status").out
        assert daemon.error == ""


def test_who_was_stuck_before_it_began_is_found(lab: Peers, place: Place, nft: Nft) -> None:
    """By the list at the start; that kernel has told of it before anybody listened."""
    configure(place)
    address = attack(lab, 7)
    time.sleep(0.5)
    with running(place):
        until(lambda: drops(address))


def test_without_it_the_daemon_goes_by_lists_and_says_why(
    lab: Peers, place: Place, nft: Nft
) -> None:
    """`auto` exits with 0."""
    configure(place)
    with running(place, by=LACKING, awake=False):
        address = attack(lab, 7)
        until(lambda: drops(address))
        found = place.treason("status")
        assert found.code == 0
        assert "sockets sees by dump, because" in found.out
        assert "CAP_BPF and CAP_PERFMON are missing" in found.out
        assert told(place)["timed"] == ["sockets"]


def test_who_wants_bpf_is_told_that_it_cannot_be(lab: Peers, place: Place, nft: Nft) -> None:
    """`status` exits with 1; who attacks is dropped all the same."""
    configure(place, way="bpf")
    with running(place, by=LACKING, awake=False):
        address = attack(lab, 7)
        until(lambda: drops(address))
        found = place.treason("status")
        assert found.code == 1
        assert "sockets: dump, because" in found.out


def test_dump_is_a_way_of_its_own(lab: Peers, place: Place, nft: Nft) -> None:
    """Nothing is loaded, and that is no fault."""
    configure(place, way="dump")
    with running(place, awake=False):
        address = attack(lab, 7)
        until(lambda: drops(address))
        found = place.treason("status")
        assert found.code == 0
        assert 'sockets sees by dump, because [source.sockets] has way = "dump"' in found.out


def test_a_reload_of_the_same_goes_on(lab: Peers, place: Place, nft: Nft) -> None:
    """The ring stays, though the capabilities are gone; it is read anew at once."""
    configure(place)
    with running(place) as daemon:
        daemon.forget()
        configure(place, 'lasting = "1s"\n[policy]\nthreshold = 1')
        daemon.hears("READY=1")
        address = attack(lab, 7)
        until(lambda: drops(address))
        assert told(place)["ways"] == {"sockets": "bpf"}


def test_a_reload_of_another_one_is_a_new_start(lab: Peers, place: Place, nft: Nft) -> None:
    """Only that gives the capabilities again."""
    configure(place)
    with running(place) as daemon:
        configure(place, 'lasting = "2s"')
        assert daemon.process.wait(60) == 1
        assert "needs CAP_BPF, CAP_PERFMON, which only a start gives" in daemon.error


def test_to_leave_it_out_is_no_new_start(lab: Peers, place: Place, nft: Nft) -> None:
    """Its descriptors are closed."""
    configure(place)
    with running(place) as daemon:
        before = bpf_descriptors(daemon)
        daemon.forget()
        configure(place, 'lasting = "1s"', way="dump")
        daemon.hears("READY=1")
        until(lambda: told(place)["ways"] != {"sockets": "bpf"})
        assert before
        assert not bpf_descriptors(daemon)


def bpf_descriptors(daemon: Resident) -> list[str]:
    """Return what of BPF it has open."""
    links = (each.readlink() for each in Path(f"/proc/{daemon.process.pid}/fd").iterdir())
    return [str(each) for each in links if "bpf" in str(each)]


def test_what_was_suspected_outlives_the_database(lab: Peers, place: Place, nft: Nft) -> None:
    """Who is judged while nothing can be stored is dropped, and is stored once that is possible."""
    configure(place)
    with running(place):
        with closing(sqlite3.connect(place.database, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            address = attack(lab, 7)
            until(lambda: drops(address))
            database.execute("ROLLBACK")
        until(lambda: listed(place) == {address})


def test_who_stood_still_goes_on_with_what_was_attached(lab: Peers, place: Place, nft: Nft) -> None:
    """All begins anew then, and the capabilities are gone."""
    configure(place)
    with running(place):
        assert place.treason("teardown").code == 0
        assert place.treason("resume").code == 0
        until(lambda: told(place)["still"] is None)
        address = attack(lab, 7)
        until(lambda: drops(address))
        assert told(place)["ways"] == {"sockets": "bpf"}
