"""Whom to believe: no message frames an innocent, and the attacker is banned all the same.

Sockets and peers are real, in namespaces; what the kernel would print is put into its buffer.
"""

import errno
import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from attrs import define, field
from harness import REAL_ROOT, ROOT, Place, take_back_ninth
from journals import JournalFiles
from peers import Flow, Peers, Server, healthy, shrinking, slow
from pytest_mock import MockerFixture

from reconciler.execute import run
from reconciler.host import forgery
from reconciler.host.netns import Namespace, Wire
from reconciler.netlink import Sockets
from sources.kmsg import Kmsg
from sources.sockets import proof

ATTACKER, CUSTOMER, STRANGER = "10.9.1.7", "10.9.2.8", "203.0.113.5"
SETTINGS = '[source.sockets]\nlasting = "1s"\n'
LASTING = 1.1
MARS = "198.51.100.79"
"""Of the martians alone: the kernel's buffer is everybody's, and other tests read it."""

MD5 = """
[[rule]]
name = "tcp-md5"
"""
MARTIAN = """
[[rule]]
name = "martian-source"
report_only = false
"""
FIREWALL = """
[[rule]]
name = "ufw-block"
"""
BLOCKED = (
    f"[UFW BLOCK] IN=eth0 OUT= MAC= SRC={STRANGER} DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52"
    " ID=1 DF PROTO=TCP SPT=4000 DPT=22 WINDOW=64240 RES=0x00 SYN URGP=0 "
)
MD5_FAILED = f"TCP: MD5 Hash failed for ({STRANGER}, 4000)->(192.0.2.1, 179)"


def shrunk(address: str = ATTACKER, port: int = 4638, local: int = 8080) -> str:
    """Return what Linux prints from 3.4 to 6.5."""
    return f"Peer {_printed(address)}:{port}/{local} unexpectedly shrunk window 1:2 (repaired)"


def probing(address: str = ATTACKER, port: int = 4638, local: int = 8080) -> str:
    """Return what it prints from 6.6 on."""
    peer = f"{_printed(address)}:{port}/{local}"
    return f"Probing zero-window on {peer}, seq=1:2, recv 5ms ago, lasting 9ms"


def uncloaked(address: str = ATTACKER, port: int = 4638, local: int = 8080) -> str:
    """Return what it printed first."""
    peer = f"{_printed(address)}:{port}/{local}"
    return f"TCP: Treason uncloaked! Peer {peer} shrinks window 1:2. Repaired."


def _printed(address: str) -> str:
    if ":" not in address:
        return address
    import ipaddress  # noqa: PLC0415 - as %pI6 prints it

    return ipaddress.IPv6Address(address).exploded


@define
class Log:
    """What this boot's kernel has printed, for whichever source reads it."""

    place: Place
    lines: list[tuple[int, str, int]] = field(factory=list)

    def say(self, *texts: str, facility: int = 0) -> None:
        """Let the kernel print, or with another facility a process write."""
        for text in texts:
            micros = int(time.monotonic() * 1e6) + len(self.lines)
            self.lines.append((micros, text, facility))
        body = "".join(
            f"kern  :debug : [{micros / 1e6:12.6f}] {text}\n"
            for micros, text, facility in self.lines
            if not facility
        )
        (self.place.path / "printed").write_text(body)
        program = self.place.path / "bin" / "dmesg"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\ncat "{self.place.path}/printed"\n')
        program.chmod(0o700)

    def records(self) -> Iterator[bytes]:
        """Yield it as the device does."""
        for number, (micros, text, facility) in enumerate(self.lines):
            yield f"{facility * 8 + 7},{number},{micros},-;{text}\n".encode()


@pytest.fixture
def log(place: Place, monkeypatch: pytest.MonkeyPatch) -> Log:
    """The kernel's buffer: for kmsg, and for dmesg."""
    made = Log(place)
    monkeypatch.setattr(Kmsg, "_records", lambda _: made.records())
    monkeypatch.setenv("PATH", f"{place.path}/bin{os.pathsep}{os.environ['PATH']}")
    return made


@pytest.fixture
def lab(host: None) -> Iterator[Peers]:
    """Peers and a server, which serves IPv4 by a socket of IPv6 as well."""
    made, server = Peers(), Server("::")
    yield made
    server.close()
    made.close()


def attack(lab: Peers, address: str = ATTACKER, port: int = 4638) -> Flow:
    """Begin an attack."""
    flow = lab.connect(address, port, shrinking())
    lab.settle(sum(bool(each.shut) for each in lab.flows.values()) or 1)
    return flow


def established(lab: Peers, address: str = CUSTOMER, port: int = 4638) -> Flow:
    """Connect a customer."""
    flow = lab.connect(address, port, healthy)
    for _ in range(200):
        if flow.received:
            return flow
        time.sleep(0.01)
    raise AssertionError("nothing came")


def configure(place: Place, text: str = "", *, sources: str = '"kmsg"', main: str = "") -> None:
    """Read messages, and look at sockets quickly."""
    place.configure(SETTINGS + text, main=f"sources = [{sources}]\n{main}")


def scanned(place: Place) -> dict[str, Any]:
    """Scan, and return what the first source brought."""
    result = place.treason("scan", "-o", "json")
    assert result.code == 0, result.err
    first: dict[str, Any] = result.json["sources"][0]
    return first


def banned(place: Place) -> dict[str, str]:
    """Return who is banned, and by which rule."""
    bans = place.treason("list", "-o", "json").json["bans"]
    return {ban["network"]: ban["origin"] for ban in bans}


def judged(place: Place, passes: int = 3) -> dict[str, str]:
    """Make as many passes as a verdict takes; return who is banned."""
    for _ in range(passes):
        scanned(place)
        time.sleep(LASTING)
    return banned(place)


def doubts(place: Place) -> list[tuple[str, bool, str]]:
    """Return of each stored message whom it names, whether it waits, and why."""
    latest = place.treason("status", "-o", "json").json["unconfirmed"]["latest"]
    return [(each["network"], each["waiting"], each["why"]) for each in latest]


def sql(place: Place, statement: str) -> list[Any]:
    """Ask, or change, the database."""
    with closing(sqlite3.connect(place.database, isolation_level=None)) as database:
        return database.execute(statement).fetchall()


def say(mocker: MockerFixture, words: dict[str, str]) -> None:
    """Let files of /proc, by the ends of their names, say this; None is left."""
    real = forgery._words  # noqa: SLF001 - the one way by which they are read
    mocker.patch.object(
        forgery,
        "_words",
        lambda path: words[path.name].split() if path.name in words else real(path),
    )


# The genuine attacker


@pytest.mark.parametrize("source", ["kmsg", "dmesg"])
@pytest.mark.parametrize(("message", "rule"), [
    (shrunk, "unexpectedly-shrunk"), (probing, "probing-zero-window"),
    (uncloaked, "treason-uncloaked"),
])  # fmt: skip
@pytest.mark.parametrize("address", [ATTACKER, "fd00:9::1:7"])
def test_the_attacker_is_banned(
    source: str, message: Callable[..., str], rule: str, address: str,
    place: Place, log: Log, lab: Peers,
) -> None:  # fmt: skip
    """By the second pass at the latest, for good, under the message's own policy."""
    configure(place, sources=f'"{source}"')
    attack(lab, address)
    log.say(message(address))
    assert judged(place, 2) == {address: rule}
    assert sql(place, "SELECT until FROM bans") == [(None,)]
    assert doubts(place) == []


def test_what_has_lasted_long_enough_is_banned_at_once(place: Place, log: Log, lab: Peers) -> None:
    """The kernel's own timeout tells how long, and no second pass is needed."""
    configure(place)
    attack(lab)
    time.sleep(3)
    log.say(shrunk())
    assert scanned(place)["bans"] == [ATTACKER]


def test_a_thousand_messages_are_held_against_one_dump(
    place: Place, log: Log, lab: Peers, mocker: MockerFixture
) -> None:
    """Sixty attackers among strangers: they, and nobody else."""
    configure(place)
    attackers = [f"10.9.3.{number}" for number in range(1, 61)]
    for number, address in enumerate(attackers):
        lab.connect(address, 1000 + number, shrinking())
    lab.settle(60)
    log.say(*(shrunk(f"203.0.{n >> 8}.{n & 255}", 7) for n in range(940)))
    log.say(*(shrunk(address, 1000 + number) for number, address in enumerate(attackers)))
    exact = mocker.spy(Sockets, "find")
    first = scanned(place)
    assert (first["offences"], first["unconfirmed"], first["waiting"]) == (0, 940, 60)
    assert exact.call_count == 0
    time.sleep(LASTING)
    scanned(place)
    assert {*banned(place)} == {*attackers}


def test_a_banned_peer_loses_every_connection_that_holds_data(
    place: Place, log: Log, lab: Peers, nft: Callable[..., str]
) -> None:
    """Also one that does not show the attack yet: the message was confirmed."""
    configure(place)
    attack(lab)
    lab.connect(ATTACKER, 5000, lambda _flow: None)  # it never acknowledges anything
    log.say(shrunk())
    closed = 0
    for _ in range(3):
        result = place.treason("reconcile", "-o", "json")
        assert result.code == 0, result.err
        closed += sum(each["connections"] for each in result.json["closing"]["closed"])
        time.sleep(LASTING)
    assert banned(place) == {ATTACKER: "unexpectedly-shrunk"}
    assert ATTACKER in nft("list set inet treason banned4")
    assert closed == 2


# Forgeries


def test_a_stranger_is_not_banned(place: Place, log: Log, lab: Peers) -> None:
    """Nor does the forgery keep the attacker from being banned."""
    configure(place)
    attack(lab)
    log.say(shrunk(STRANGER, 1), shrunk())
    assert judged(place, 2) == {ATTACKER: "unexpectedly-shrunk"}
    assert doubts(place) == [(STRANGER, False, "this machine has no such connection")]


def test_a_customer_who_is_connected_is_not_banned(place: Place, log: Log, lab: Peers) -> None:
    """Every local user reads its ports in /proc/net/tcp: that it exists is no proof."""
    configure(place, '[policy]\nwindow = "2s"\n')
    flow = established(lab)
    attack(lab)
    log.say(shrunk(CUSTOMER), shrunk())
    assert scanned(place)["waiting"] == 2
    time.sleep(LASTING)
    assert judged(place, 3) == {ATTACKER: "unexpectedly-shrunk"}
    assert not flow.reset
    [(address, waits, why)] = doubts(place)
    assert (address, waits) == (CUSTOMER, False)
    assert why == "its connection did not show the attack within 2s"


@pytest.mark.parametrize("behave", [slow, lambda _flow: None], ids=["slow", "silent"])
def test_a_customer_with_a_bad_line_is_not_banned(
    behave: Callable[[Flow], int | None], place: Place, log: Log, lab: Peers
) -> None:
    """A slow reader and a dead one show something else."""
    configure(place, '[policy]\nwindow = "2s"\n')
    lab.connect(CUSTOMER, 4638, behave)
    time.sleep(1)
    log.say(shrunk(CUSTOMER))
    assert judged(place, 4) == {}


def test_other_ports_of_an_attacker_confirm_nothing(place: Place, log: Log, lab: Peers) -> None:
    """Neither does a port that listens, nor the attacker's port under another address."""
    configure(place)
    attack(lab)
    log.say(shrunk(ATTACKER, 4639), shrunk(ATTACKER, 4638, 8081), shrunk(STRANGER, 4638))
    first = scanned(place)
    assert (first["unconfirmed"], first["waiting"]) == (3, 0)
    assert judged(place, 2) == {}


def test_a_connection_that_was_closed_confirms_nothing(place: Place, log: Log, lab: Peers) -> None:
    """The customer has gone, and the message comes late."""
    configure(place)
    flow = established(lab)
    log.say(shrunk(CUSTOMER))
    scanned(place)
    lab.send(flow, 4, 0, to=8080)  # a reset
    time.sleep(0.2)
    assert judged(place, 2) == {}
    assert doubts(place) == [(CUSTOMER, False, "this machine has no such connection")]


def test_what_was_seen_once_is_not_renewed_by_forgeries(place: Place, log: Log, lab: Peers) -> None:
    """What one socket showed counts within the window; no message makes that longer."""
    configure(place, "[policy]\nthreshold = 2\n")
    flow = attack(lab)
    time.sleep(3)
    log.say(shrunk())
    assert scanned(place)["offences"] == 1
    lab.send(flow, 4, 0, to=8080)
    time.sleep(0.3)
    log.say(shrunk())
    assert scanned(place)["known"] == 1
    assert sql(place, "SELECT count(*) FROM offences") == [(1,)]
    sql(place, "UPDATE offences SET time = time - 601")
    log.say(shrunk())
    assert scanned(place)["unconfirmed"] == 1


def test_many_offences_of_an_address_do_not_slow_messages_about_it(
    place: Place, log: Log, lab: Peers
) -> None:
    """They are looked through once, not for each message."""
    configure(place)
    attack(lab)
    time.sleep(3)
    log.say(shrunk())
    scanned(place)
    sql(
        place,
        "INSERT INTO offences (address, key, rule, evidence, source, peer_port, local_port,"
        " time, count)"
        " SELECT address, key, 'tcp-md5', 'x' || value, source, value % 60000, 22, time, 1"
        " FROM offences, (WITH RECURSIVE up(value) AS"
        " (SELECT 1 UNION ALL SELECT value + 1 FROM up WHERE value < 50000) SELECT * FROM up)",
    )
    log.say(*(shrunk(port=port) for port in range(10_000, 11_000)), shrunk())
    started = time.process_time()
    assert scanned(place)["unconfirmed"] == 1_000
    assert time.process_time() - started < 5


def test_a_stranger_opens_no_connection(place: Place, log: Log, lab: Peers) -> None:
    """A first packet with a false sender: the answer does not come to him."""
    configure(place)
    lab.send(Flow("10.9.4.4", 4638, healthy), 2, 8192)  # SYN
    log.say(shrunk("10.9.4.4"))
    assert scanned(place)["unconfirmed"] == 1
    assert judged(place, 2) == {}


def test_a_stranger_shuts_nobodys_window(place: Place, log: Log, lab: Peers) -> None:
    """He sends in a customer's name, and does not know the numbers of the connection."""
    configure(place)
    flow = established(lab)
    for guess in range(0, 2**32, 2**28):
        lab.send(flow, 16, 0, sequence=guess + 5)  # an ACK with a window of 0
    log.say(shrunk(CUSTOMER))
    assert judged(place, 2) == {}
    assert not any(one.is_over for one in Sockets().dump())


def test_a_container_frames_nobody(place: Place, log: Log, host: None) -> None:
    """A real attack in another network namespace, alive and after it has gone."""
    configure(place)
    container = Namespace()
    with container.entered():
        peers, server = Peers(), Server("::")
        attack(peers)
        assert any(one.is_over for one in Sockets().dump())
    log.say(shrunk())
    assert scanned(place)["unconfirmed"] == 1
    server.close()
    peers.close()
    container.close()
    log.say(probing())
    assert judged(place, 2) == {}
    assert {why for _, _, why in doubts(place)} == {"this machine has no such connection"}


@pytest.mark.skipif(not REAL_ROOT, reason="systemd-journal-remote writes for root")
def test_a_message_of_an_earlier_boot_is_not_believed(
    place: Place, log: Log, lab: Peers, tmp_path: Path
) -> None:
    """Not even while the very connection attacks; what this boot's kernel says is."""
    files = JournalFiles(tmp_path / "journal")
    directory = f'[source.journal]\ndirectory = "{files.path}"\n'
    configure(place, directory, sources='"journal"')
    attack(lab)
    files.write(shrunk())
    assert judged(place, 2) == {}
    [(address, waits, why)] = doubts(place)
    assert (address, waits) == (ATTACKER, False)
    assert "earlier boot" in why
    files.boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    files.file = "later.journal"
    files.write(shrunk())
    assert judged(place, 2) == {ATTACKER: "unexpectedly-shrunk"}


def attack_from_a_proxy(place: Place, log: Log, lab: Peers) -> None:
    """Let one connection attack and be named, while others of its address are healthy."""
    attack(lab)
    for port in range(5000, 5004):
        established(lab, ATTACKER, port)
    log.say(shrunk())
    scanned(place)
    time.sleep(LASTING)
    for port in range(5000, 5004):
        established(lab, ATTACKER, port + 10)


def test_a_proxy_is_not_banned_for_one_of_its_clients(place: Place, log: Log, lab: Peers) -> None:
    """Most of its connections are healthy: who is behind it is not who attacks."""
    configure(place)
    attack_from_a_proxy(place, log, lab)
    assert judged(place, 2) == {}
    assert sql(place, "SELECT DISTINCT rule FROM offences") == [("zero-window-in-company",)]


def test_a_proxy_is_banned_for_the_third_bad_connection_in_a_day(
    place: Place, log: Log, lab: Peers
) -> None:
    """As the source sockets does: healthy connections beside bad ones do not help for ever."""
    configure(place)
    for port in range(5000, 5008):
        lab.connect(ATTACKER, port, healthy)
    bans = []
    for port in range(4638, 4641):
        attack(lab, port=port)
        log.say(*[shrunk(port=port)] * 3)
        bans.append(judged(place, 2))
    assert bans == [{}, {}, {ATTACKER: "zero-window-in-company"}]


def test_the_source_sockets_counts_who_is_spared_where_it_is_configured(
    place: Place, log: Log, lab: Peers
) -> None:
    """The message about it is not another occasion."""
    configure(place, sources='"kmsg", "sockets"')
    attack(lab)
    for port in range(5000, 5004):
        established(lab, ATTACKER, port)
    log.say(shrunk())
    assert judged(place, 2) == {}
    assert [why for _, _, why in doubts(place)] == [
        "most of the other connections of this peer are healthy"
    ]
    assert sql(place, "SELECT source FROM offences") == [("sockets",)]


def test_forgeries_do_not_make_a_ban_last(place: Place, log: Log, lab: Peers) -> None:
    """Of a connection that has gone: whoever has the attacker's address now is not held for it."""
    configure(place, '[policy]\nban_for = "1h"\n')
    flow = attack(lab)
    log.say(shrunk())
    assert judged(place, 2) == {ATTACKER: "unexpectedly-shrunk"}
    ends = sql(place, "SELECT until FROM bans")
    lab.send(flow, 4, 0, to=8080)  # a reset
    for _ in range(2):
        time.sleep(1.1)
        log.say(shrunk())
        result = scanned(place)
        assert (result["offences"], result["known"]) == (0, 1)
    assert sql(place, "SELECT until FROM bans") == ends
    assert sql(place, "SELECT sum(count) FROM offences") == [(1,)]


def test_a_proxy_is_seen_whole_whatever_ports_are_looked_at(
    place: Place, log: Log, lab: Peers
) -> None:
    """`[source.sockets] ports` is for what it finds by itself; a message may be of any port."""
    configure(place, "ports = [443]\n")
    attack_from_a_proxy(place, log, lab)
    assert judged(place, 2) == {}


def test_lines_of_the_firewall_are_believed_while_it_is_ours_alone(
    place: Place, log: Log, mocker: MockerFixture
) -> None:
    """nf_log_all_netns is 0: the kernel prints nothing of another namespace's LOG."""
    configure(place, FIREWALL)
    say(mocker, {"nf_log_all_netns": "0"})
    log.say(BLOCKED)
    scanned(place)
    assert banned(place) == {STRANGER: "ufw-block"}


@pytest.mark.parametrize("said", ["1", ""])
def test_lines_of_the_firewall_of_any_namespace_are_not_believed(
    said: str, place: Place, log: Log, mocker: MockerFixture
) -> None:
    """It is 1, or cannot be read, as in a container."""
    configure(place, FIREWALL)
    say(mocker, {"nf_log_all_netns": said})
    log.say(BLOCKED)
    assert scanned(place)["unconfirmed"] == 1
    assert banned(place) == {}
    [(address, _, why)] = doubts(place)
    assert address == STRANGER
    assert "nf_log_all_netns" in why
    assert "'ufw-block' of the firewall bans nobody" in place.treason("status").out


@pytest.mark.kmsg
@pytest.mark.skipif(not REAL_ROOT, reason="only root reads /dev/kmsg")
def test_the_kernel_prints_no_line_of_another_namespaces_firewall(
    kmsg: Callable[[str], None], wire: Callable[..., Wire], nft: Callable[..., str]
) -> None:
    """Every test runs in another namespace than the first, where nf_log_all_netns is 0."""
    cable = wire(STRANGER)
    nft(
        "add table inet logs; add chain inet logs in { type filter hook prerouting priority -300; }"
    )
    nft('add rule inet logs in counter log prefix "forged: "')
    cable.arriving([STRANGER])
    kmsg("forged: by a process")
    assert "packets 0" not in nft("list chain inet logs in")
    told = [*Kmsg().read(None, ["forged: "])]
    assert [record for record in told if record.trusted] == []
    assert told


@pytest.mark.kmsg
@pytest.mark.skipif(not REAL_ROOT, reason="only root makes the kernel log martians")
def test_martians_of_any_namespace_ban_nobody(
    place: Place, kmsg: Callable[[str], None], wire: Callable[..., Wire]
) -> None:
    """The kernel's own record, about an address of the namespace's choice; `never` would ban."""
    cable = wire(MARS)
    for setting in ("all/log_martians", "all/rp_filter", "host0/rp_filter"):
        Path(f"/proc/sys/net/ipv4/conf/{setting}").write_text("1")
    run(["ip", "route", "del", "default", "dev", "host0"])
    run(["ip", "route", "add", "192.0.2.0/24", "dev", "host0"])
    for _ in range(40):  # the kernel limits how often it tells
        cable.arriving([MARS])
        if [r for r in Kmsg().read(None, [f"from {MARS},"]) if r.trusted]:
            break
        time.sleep(0.5)
    configure(place, MARTIAN)
    assert scanned(place)["unconfirmed"] > 0
    assert banned(place) == {}
    assert {why for _, _, why in doubts(place)} == {"nothing can confirm a message of this rule"}
    sql(place, "DELETE FROM cursors")
    sql(place, "DELETE FROM unconfirmed")
    configure(place, f'{MARTIAN}confirm = "never"\n')
    scanned(place)
    assert banned(place)[MARS] == "martian-source"


def test_what_nothing_confirms_only_reports(place: Place, log: Log) -> None:
    """MD5: the message is shown, and no ban follows, unless the rule says so."""
    configure(place, MD5)
    log.say(MD5_FAILED)
    result = place.treason("scan", "-v")
    assert "1 unconfirmed" in result.out
    assert f"unconfirmed: {MD5_FAILED}: nothing can confirm" in result.out
    assert banned(place) == {}
    configure(place, f'{MD5}confirm = "never"\n')
    log.say(MD5_FAILED)
    scanned(place)
    assert banned(place) == {STRANGER: "tcp-md5"}


# Waiting


def test_a_message_waits_for_the_verdict_and_is_read_once(
    place: Place, log: Log, lab: Peers
) -> None:
    """The cursor moves on; what a check shows, it does not take away."""
    configure(place, main=f'backends = ["file:{place.path}/list"]')
    attack(lab)
    log.say(shrunk())
    assert scanned(place)["waiting"] == 1
    assert doubts(place)[0][:2] == (ATTACKER, True)
    before = place.snapshot()
    checked = place.treason("reconcile", "--check", "-o", "json").json["sources"][0]
    assert checked["waiting"] == 1
    time.sleep(LASTING)
    checked = place.treason("reconcile", "--check", "-o", "json").json["sources"][0]
    assert checked["bans"] == [ATTACKER]
    assert place.snapshot() == before
    assert scanned(place)["bans"] == [ATTACKER]
    assert sql(place, "SELECT evidence, count FROM offences") == [(shrunk(), 1)]
    assert sql(place, "SELECT * FROM unconfirmed") == []
    again = scanned(place)
    assert (again["offences"], again["waiting"], again["known"]) == (0, 0, 0)


def test_a_check_before_any_pass_shows_what_it_would_do(place: Place, log: Log, lab: Peers) -> None:
    """It writes nothing, and the message is there for the next one."""
    configure(place)
    attack(lab)
    log.say(shrunk(), shrunk(STRANGER))
    checked = place.treason("reconcile", "--check", "-o", "json").json["sources"][0]
    assert (checked["waiting"], checked["unconfirmed"]) == (1, 1)
    assert not place.database.exists()
    assert judged(place, 2) == {ATTACKER: "unexpectedly-shrunk"}


def test_a_message_waits_anew_where_an_earlier_one_was_given_up(
    place: Place, log: Log, lab: Peers
) -> None:
    """Else who forges one in time lets the genuine one be lost, and what was suspected with it."""
    configure(place, '[policy]\nwindow = "2s"\n')
    established(lab)
    log.say(shrunk(CUSTOMER))
    scanned(place)
    time.sleep(2.1)
    log.say(shrunk(CUSTOMER))
    assert scanned(place)["waiting"] == 1
    assert [waits for _, waits, _ in doubts(place)] == [True, False]


def test_why_a_message_still_waits_is_of_the_last_pass(place: Place, log: Log, lab: Peers) -> None:
    """The port that an attacker left is a customer's now: it shows no attack."""
    configure(place)
    flow = attack(lab)
    log.say(shrunk())
    scanned(place)
    assert doubts(place) == [(ATTACKER, True, "seen for 0 s; it takes 1 s")]
    lab.send(flow, 4, 0, to=8080)
    time.sleep(0.3)
    established(lab, ATTACKER)
    scanned(place)
    assert doubts(place) == [(ATTACKER, True, "the connection shows no attack now")]


def test_what_waits_of_a_source_that_is_not_read_any_more_is_given_up(
    place: Place, log: Log, lab: Peers
) -> None:
    """When its window is over; until then it may be read again."""
    configure(place, '[policy]\nwindow = "2s"\n')
    established(lab)
    log.say(shrunk(CUSTOMER))
    scanned(place)
    configure(place, sources='"sockets"')
    scanned(place)
    assert [waits for _, waits, _ in doubts(place)] == [True]
    time.sleep(2.1)
    scanned(place)
    assert doubts(place) == [(CUSTOMER, False, "its source kmsg is not read any more")]


def test_a_restart_ends_the_wait(place: Place, log: Log, lab: Peers) -> None:
    """The connection has gone with the machine that had it."""
    configure(place)
    established(lab)
    log.say(shrunk(CUSTOMER))
    scanned(place)
    sql(place, "UPDATE unconfirmed SET waits_in = '00000000000000000000000000000000'")
    assert scanned(place)["unconfirmed"] == 1
    [(address, waits, why)] = doubts(place)
    assert (address, waits, why) == (
        CUSTOMER, False, "the machine was restarted before it was confirmed",
    )  # fmt: skip


def test_a_message_waits_though_another_one_gives_up(place: Place, log: Log, lab: Peers) -> None:
    """It came in the pass in which the wait of an earlier one of its connection is over."""
    configure(place, '[policy]\nwindow = "2s"\n')
    established(lab)
    log.say(shrunk(CUSTOMER))
    assert scanned(place)["waiting"] == 1
    time.sleep(2.1)
    log.say(shrunk(CUSTOMER))
    result = scanned(place)
    assert (result["unconfirmed"], result["waiting"]) == (1, 1)
    assert [(address, waits) for address, waits, _ in doubts(place)] == [
        (CUSTOMER, True), (CUSTOMER, False),
    ]  # fmt: skip


def test_what_waits_is_looked_at_though_its_source_is_not_read_any_more(
    place: Place, log: Log, lab: Peers
) -> None:
    """By the next source that is: the message is stored, and nobody else would look."""
    configure(place, sources='"dmesg"')
    attack(lab)
    log.say(shrunk())
    assert scanned(place)["waiting"] == 1
    time.sleep(LASTING)
    configure(place, sources='"kmsg"')
    assert scanned(place)["bans"] == [ATTACKER]
    assert doubts(place) == []


def test_connections_count_as_they_are_confirmed(place: Place, log: Log, lab: Peers) -> None:
    """With a threshold of two: not two messages of one, nor one of his and a forged one."""
    configure(place, "[policy]\nthreshold = 2\n")
    attack(lab)
    log.say(shrunk(), shrunk(), shrunk(port=4639))
    assert judged(place, 2) == {}
    attack(lab, port=4640)
    log.say(shrunk(port=4640))
    assert judged(place, 2) == {ATTACKER: "unexpectedly-shrunk"}


def test_the_same_record_by_two_sources_is_one_message(place: Place, log: Log, lab: Peers) -> None:
    """Whether it waits, is confirmed or never is."""
    configure(place, sources='"kmsg", "dmesg"')
    attack(lab)
    log.say(shrunk(), shrunk(STRANGER))
    result = place.treason("scan", "-o", "json").json["sources"]
    assert [(s["waiting"], s["unconfirmed"], s["known"]) for s in result] == [(1, 1, 0), (0, 0, 2)]
    assert judged(place, 2) == {ATTACKER: "unexpectedly-shrunk"}
    assert sql(place, "SELECT sum(count) FROM offences") == [(1,)]
    assert sql(place, "SELECT count(*) FROM unconfirmed") == [(1,)]


def test_many_messages_of_one_connection_wait_as_one(place: Place, log: Log, lab: Peers) -> None:
    """Whoever forges them cannot fill the database."""
    configure(place)
    established(lab)
    log.say(*[shrunk(CUSTOMER)] * 50)
    assert scanned(place)["waiting"] == 50
    assert sql(place, "SELECT count(*) FROM unconfirmed") == [(1,)]


@pytest.mark.parametrize("fault", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_where_nothing_can_be_stored_the_message_is_read_again(
    fault: str, place: Place, log: Log, lab: Peers, monkeypatch: pytest.MonkeyPatch,
    nft: Callable[..., str],
) -> None:  # fmt: skip
    """What has lasted is banned without it; what waits is not lost."""
    from reconciler.store.store import open_to_enforce  # noqa: PLC0415 - the one that is replaced

    impatient: Any = lambda path: open_to_enforce(path, timeout=0.05)  # noqa: E731 - as it is called
    monkeypatch.setattr("reconciler.passes.access.open_to_enforce", impatient)
    configure(place)
    assert place.treason("reconcile", "--no-scan").code == 0
    attack(lab)
    log.say(shrunk())
    with closing(sqlite3.connect(place.database, isolation_level=None)) as other:
        other.execute(fault)
        first = place.treason("reconcile", "-o", "json")
        assert first.code == 1
        assert first.json["sources"][0]["waiting"] == 1
        time.sleep(3)
        assert place.treason("reconcile", "-o", "json").json["sources"][0]["bans"] == [ATTACKER]
        assert ATTACKER in nft("list set inet treason banned4")
    assert scanned(place)["bans"] == [ATTACKER]


@pytest.mark.parametrize("table", ["unconfirmed", "rules_told", "suspects"])
def test_the_attacker_is_dropped_though_a_table_is_gone(
    table: str, place: Place, log: Log, lab: Peers, nft: Callable[..., str]
) -> None:
    """The pass says so, ends with 1, and enforces what it has seen."""
    configure(place, MD5)
    attack(lab)
    assert place.treason("reconcile", "--no-scan").code == 0
    sql(place, f"DROP TABLE {table}")
    time.sleep(3)
    log.say(shrunk())
    result = place.treason("reconcile")
    assert result.code == 1
    assert f"no such table: {table}" in result.err
    assert ATTACKER in nft("list set inet treason banned4")


# One offence under one policy


@pytest.mark.parametrize("sources", ['"kmsg", "sockets"', '"sockets", "kmsg"'])
def test_what_both_bring_is_one_offence_under_one_policy(
    sources: str, place: Place, log: Log, lab: Peers
) -> None:
    """That of zero-window, where the source sockets is configured: an hour, not for good."""
    configure(place, sources=sources)
    attack(lab)
    log.say(shrunk())
    assert judged(place, 3) == {ATTACKER: "zero-window"}
    assert sql(place, "SELECT until - since FROM bans") == [(3600,)]
    assert sql(place, "SELECT count(*), sum(count) FROM offences") == [(1, 1)]
    assert sql(place, "SELECT * FROM unconfirmed") == []
    assert [e["action"] for e in place.treason("history", "-o", "json").json["events"]] == ["ban"]


def test_a_rule_that_is_only_tried_leaves_the_message_its_own_policy(
    place: Place, log: Log, lab: Peers
) -> None:
    """zero-window only reports: then the message bans as before."""
    text = '[[rule]]\nname = "zero-window"\nreport_only = true\n'
    configure(place, text, sources='"kmsg", "sockets"')
    attack(lab)
    log.say(shrunk())
    assert judged(place, 3) == {ATTACKER: "unexpectedly-shrunk"}


def test_a_ban_that_was_lifted_is_not_made_again_of_what_was_seen_before(
    place: Place, log: Log, lab: Peers
) -> None:
    """The connection has gone; a message about it can be forged at any time."""
    configure(place)
    flow = attack(lab)
    log.say(shrunk())
    judged(place, 2)
    lab.send(flow, 4, 0, to=8080)
    time.sleep(1.1)
    assert place.treason("unban", ATTACKER).code == 0
    time.sleep(1.1)
    log.say(shrunk())
    assert judged(place, 1) == {}


# Who is not asked


def test_nobody_is_banned_while_the_policy_observes(place: Place, log: Log, lab: Peers) -> None:
    """The same verdict tells whom it would have banned."""
    configure(place, '[policy]\nmode = "observe"\n')
    attack(lab)
    log.say(shrunk(), shrunk(STRANGER))
    assert judged(place, 2) == {}
    found = place.treason("list", "--observed-only", "-o", "json").json["withheld"]
    assert [each["network"] for each in found] == [ATTACKER]


def test_what_a_person_names_is_not_asked(place: Place, tmp_path: Path, host: None) -> None:
    """A saved log tells of connections that are long gone."""
    saved = tmp_path / "kern.log"
    saved.write_text(shrunk(STRANGER) + "\n")
    configure(place)
    assert place.treason("scan", "--source", f"file:{saved}").code == 0
    assert banned(place) == {STRANGER: "unexpectedly-shrunk"}


@pytest.mark.skipif(not REAL_ROOT, reason="systemd-journal-remote writes for root")
def test_a_saved_journal_is_not_asked(place: Place, tmp_path: Path, host: None) -> None:
    """Named by hand; what the configuration names is the machine's own."""
    files = JournalFiles(tmp_path / "journal")
    files.write(shrunk(STRANGER))
    configure(place)
    assert place.treason("scan", "--source", f"journal:{files.path}").code == 0
    assert banned(place) == {STRANGER: "unexpectedly-shrunk"}


def test_what_userspace_lets_in_is_not_asked(place: Place, log: Log, host: None) -> None:
    """It is for tests: whoever switches it on believes every process."""
    configure(place, "[trust]\nuserspace = true\n")
    log.say(shrunk(STRANGER), facility=1)
    log.say(shrunk(CUSTOMER))
    scanned(place)
    assert banned(place) == {STRANGER: "unexpectedly-shrunk"}


def test_a_rules_never_beats_always(place: Place, log: Log, host: None) -> None:
    """And [trust] confirm = "never" believes every rule."""
    never = '[[rule]]\nname = "unexpectedly-shrunk"\nconfirm = "never"\n'
    configure(place, f'[trust]\nconfirm = "always"\n{never}')
    log.say(shrunk(STRANGER), probing(CUSTOMER))
    scanned(place)
    assert banned(place) == {STRANGER: "unexpectedly-shrunk"}
    configure(place, '[trust]\nconfirm = "never"\n')
    log.say(probing(CUSTOMER, 2))
    scanned(place)
    assert {*banned(place)} == {STRANGER, CUSTOMER}
    assert "local users can forge them" in place.treason("status").out


@pytest.mark.parametrize(("mode", "bans"), [("auto", {STRANGER}), ("always", set())])
def test_where_nobody_can_make_a_namespace_auto_asks_nobody(
    mode: str, bans: set[str], place: Place, log: Log, host: None, mocker: MockerFixture
) -> None:
    """user.max_net_namespaces is 0; `status` says so, and always asks all the same."""
    configure(place, f'[trust]\nconfirm = "{mode}"\n')
    say(mocker, {"max_net_namespaces": "0", "uid_map": "0 0 4294967295"})
    log.say(shrunk(STRANGER))
    scanned(place)
    assert {*banned(place)} == bans
    assert ("max_net_namespaces" in place.treason("status").out) == (mode == "auto")


@pytest.mark.parametrize(("mode", "only"), [("auto", False), ("always", True)])
def test_where_nobody_can_make_a_namespace_no_rule_is_said_to_ban_nobody(
    mode: str, only: bool, place: Place, log: Log, host: None, mocker: MockerFixture
) -> None:
    """Such a rule bans there, as it always did."""
    configure(place, f'[trust]\nconfirm = "{mode}"\n{MD5}')
    say(mocker, {"max_net_namespaces": "0", "uid_map": "0 0 4294967295"})
    log.say(MD5_FAILED)
    assert bool(place.treason("scan", "-o", "json").json["silenced"]) == only
    assert ("only reports" in place.treason("config", "check").out) == only
    assert (STRANGER in banned(place)) != only


def test_the_limit_of_a_user_namespace_proves_nothing(
    place: Place, log: Log, host: None, mocker: MockerFixture
) -> None:
    """There it is 0 for whoever is inside, and the log is of all."""
    configure(place)
    say(mocker, {"max_net_namespaces": "0", "uid_map": "0 1000 1"})
    log.say(shrunk(STRANGER))
    scanned(place)
    assert banned(place) == {}


def test_where_the_kernel_tells_no_window_auto_believes_messages(
    place: Place, log: Log, lab: Peers, mocker: MockerFixture
) -> None:
    """Before Linux 5.4, which `status` says; what nothing confirms is not believed there either."""
    configure(place, MD5)
    mocker.patch.object(proof, "_BLIND", "Linux 4.19 does not tell the window of a peer")
    real = Sockets.dump

    def blind(self: Sockets, *args: Any, **options: Any) -> Iterator[Any]:
        return (one._replace(window=None) for one in real(self, *args, **options))

    mocker.patch.object(Sockets, "dump", blind)
    log.say(shrunk(CUSTOMER), MD5_FAILED)
    scanned(place)
    assert banned(place) == {CUSTOMER: "unexpectedly-shrunk"}
    assert "not confirmed by sockets: Linux 4.19" in place.treason("status").out


# What cannot be asked


def test_where_sockets_cannot_be_asked_nothing_is_lost(
    place: Place, log: Log, lab: Peers, mocker: MockerFixture
) -> None:
    """The source fails, what is stored is enforced, and the next pass reads the message again."""
    from reconciler.netlink import Missing  # noqa: PLC0415 - for this one

    configure(place, main=f'backends = ["file:{place.path}/list"]')
    assert place.treason("ban", "198.51.100.1").code == 0
    attack(lab)
    time.sleep(3)
    log.say(shrunk())
    refusing = mocker.patch.object(Sockets, "dump", side_effect=Missing(2, "no such thing", ""))
    result = place.treason("reconcile")
    assert result.code == 1
    assert "kmsg: its messages cannot be confirmed: cannot ask the kernel about" in result.err
    assert "modprobe" in result.err
    assert (place.path / "list").read_text() == "198.51.100.1\n"
    mocker.stop(refusing)
    assert scanned(place)["bans"] == [ATTACKER]


def test_a_service_that_has_netlink_alone_can_confirm(
    place: Place, log: Log, lab: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit of kmsg gives it no IPv4, and need not be made anew."""
    configure(place)
    attack(lab)
    log.say(shrunk(), shrunk(STRANGER))
    real = socket.socket

    def sandboxed(family: int, *rest: int) -> socket.socket:
        if family not in {socket.AF_NETLINK, socket.AF_UNIX}:
            raise OSError(errno.EAFNOSUPPORT, "not in this sandbox")
        return real(family, *rest)

    with monkeypatch.context() as inside:
        inside.setattr(socket, "socket", sandboxed)
        first = scanned(place)
        time.sleep(LASTING)
        assert scanned(place)["bans"] == [ATTACKER]
    assert (first["waiting"], first["unconfirmed"]) == (1, 1)


@pytest.mark.parametrize(("mode", "follows"), [
    ("auto", "are not confirmed by sockets"), ("always", "ban nobody"),
])  # fmt: skip
def test_status_tells_that_sockets_cannot_be_asked(
    mode: str, follows: str, place: Place, log: Log, lab: Peers, mocker: MockerFixture
) -> None:
    """Before a message comes that would need it."""
    from reconciler.netlink import Missing  # noqa: PLC0415 - for this one

    configure(place, f'[trust]\nconfirm = "{mode}"\n')
    mocker.patch.object(Sockets, "dump", side_effect=Missing(2, "no such thing", ""))
    told = place.treason("status", "-o", "json").json["confirming"]
    assert [f"messages of 4 rules {follows}: cannot ask" in each for each in told] == [True]
    assert "each pass fails that has messages" in told[0]


def test_a_connection_with_an_address_or_a_device_of_its_own_is_found(
    place: Place, log: Log, lab: Peers
) -> None:
    """Bound to a device: an exact query does not see it, a dump does."""
    configure(place)
    attack(lab)
    for one in Sockets().dump():
        assert one.peer_port == 4638
    listener = Server("10.9.0.1", 8099)
    listener._listener.setsockopt(socket.SOL_SOCKET, 25, b"treason9")  # noqa: SLF001 - SO_BINDTODEVICE
    lab.connect("10.9.1.9", 4700, shrinking(), to=8099)
    lab.settle(2)
    log.say(shrunk("10.9.1.9", 4700, 8099))
    assert judged(place, 2) == {"10.9.1.9": "unexpectedly-shrunk"}
    listener.close()


# What people are told


def test_the_evidence_stands_everywhere(place: Place, log: Log, host: None) -> None:
    """In `scan -v`, `status`, JSON and `history`, with the reason."""
    configure(place)
    log.say(shrunk(STRANGER))
    told = f"unconfirmed: {shrunk(STRANGER)}: this machine has no such connection"
    assert told in place.treason("scan", "-v").out
    status = place.treason("status").out
    assert "1 message, the last at " in status
    assert told in status
    [found] = place.treason("status", "-o", "json").json["unconfirmed"]["latest"]
    assert found["evidence"] == shrunk(STRANGER)
    assert (found["peer_port"], found["local_port"]) == (4638, 8080)
    [event] = place.treason("history", STRANGER, "-o", "json").json["events"]
    assert (event["action"], event["network"]) == ("unconfirmed", STRANGER)
    assert shrunk(STRANGER) in event["reason"]


@pytest.mark.parametrize("command", ["scan", "status", "history"])
def test_what_programs_are_told_has_its_shape(
    command: str, place: Place, log: Log, lab: Peers
) -> None:
    """As the schema of the JSON output says, waiting messages included."""
    configure(place, MD5)
    established(lab)
    log.say(shrunk(STRANGER), shrunk(CUSTOMER), MD5_FAILED)
    if command != "scan":
        scanned(place)
    told = place.treason(command, "-o", "json").json
    assert "unconfirmed" in json.dumps(told)
    schema = json.loads((ROOT / "docs" / "reference" / "json.schema.json").read_text())
    jsonschema.validate(told, {"$defs": schema["$defs"], "$ref": f"#/$defs/{command}"})


def test_what_a_message_holds_reaches_no_terminal(place: Place, log: Log, host: None) -> None:
    """Control characters are made visible, wherever the evidence stands."""
    own = "[[rule]]\nname = 'odd'\nconfirm = 'none'\npattern = 'odd (?P<address>\\S+) .*'\n"
    configure(place, own)
    log.say(f"odd {STRANGER} \\x1b[2J\\x07 came")
    told = [place.treason(*words).out for words in (["scan", "-v"], ["status"], ["history"])]
    for each in told:
        assert f"odd {STRANGER} " in each
        assert "\x1b" not in each
        assert "\x07" not in each


def test_forgeries_do_not_hide_the_history(place: Place, log: Log, host: None) -> None:
    """Of all networks, no more than ten of them; of the one that is asked for, all."""
    configure(place)
    assert place.treason("ban", "198.51.100.1").code == 0
    log.say(*(shrunk(STRANGER, port) for port in range(1, 31)))
    scanned(place)
    events = place.treason("history", "-o", "json").json["events"]
    assert [each["action"] for each in events] == ["unconfirmed"] * 10 + ["ban"]
    assert len(place.treason("history", STRANGER, "-o", "json").json["events"]) == 30


def test_forgeries_do_not_hide_in_status_what_may_be_confirmed(
    place: Place, log: Log, lab: Peers
) -> None:
    """What waits stands before all that nothing confirms, but for the last one."""
    configure(place)
    attack(lab)
    log.say(shrunk(), *(shrunk(STRANGER, port) for port in range(1, 31)))
    scanned(place)
    assert [address for address, *_ in doubts(place)] == [STRANGER, ATTACKER, *[STRANGER] * 8]


def test_what_is_kept_of_forgeries_is_bounded(
    place: Place, log: Log, lab: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest go first, and never what waits."""
    monkeypatch.setattr("reconciler.store.unconfirmed.MOST", 20)
    configure(place)
    attack(lab)
    log.say(shrunk(), *(shrunk(STRANGER, port) for port in range(1, 101)))
    assert scanned(place)["waiting"] == 1
    assert sql(place, "SELECT count(*) FROM unconfirmed") == [(21,)]
    time.sleep(LASTING)
    assert scanned(place)["bans"] == [ATTACKER]


def test_rules_that_ban_nobody_any_more_are_named(
    place: Place, log: Log, host: None, mocker: MockerFixture
) -> None:
    """By the first pass, and by `config check` and `status` as long as they stand so."""
    own = "[[rule]]\nname = 'odd'\npattern = 'odd peer (?P<address>\\S+) came'\n"
    configure(place, own + MD5)
    said = "'odd', 'tcp-md5' only report what live sources bring"
    assert said in place.treason("reconcile", "--check", "--backend", f"file:{place.path}/l").err
    first = place.treason("scan", "-o", "json")
    assert first.json["silenced"] == ["odd", "tcp-md5"]
    assert said in first.err
    second = place.treason("scan", "-o", "json")
    assert (second.json["silenced"], second.err) == ([], "")
    assert said in place.treason("config", "check").out
    assert said in place.treason("status").out
    configure(place, f'{own}confirm = "none"\n{MD5}confirm = "never"\n')
    assert "only report" not in place.treason("config", "check").out
    configure(place, own, sources=f'"file:{place.path}/log"')
    assert "only report" not in place.treason("config", "check").out
    configure(place, FIREWALL)
    say(mocker, {"nf_log_all_netns": "1"})
    assert "'ufw-block' only reports" in place.treason("config", "check").out
    say(mocker, {"nf_log_all_netns": "0"})
    assert "only report" not in place.treason("config", "check").out
    configure(place, own)
    say(mocker, {"max_net_namespaces": "0", "uid_map": "0 0 4294967295"})
    assert "only report" not in place.treason("config", "check").out


@pytest.mark.parametrize(("text", "said"), [
    ('[trust]\nconfirm = "maybe"', "'maybe' is unknown: write 'auto', 'always' or 'never'"),
    ('[[rule]]\nname = "tcp-md5"\nconfirm = "yes"', "'yes' is no way to confirm a message"),
    ('[[rule]]\nname = "zero-window"\nconfirm = "socket"', "is for no messages"),
    ('[[rule]]\nname = "martian-source"\nconfirm = "socket"', "no group peer_port and no group lo"),
    ('[[rule]]\nname = "unexpectedly-shrunk"\nconfirm = "firewall"', "are not the firewall's"),
    ('[[rule]]\nname = "tcp-md5"\nconfirm = "firewall"', "are not the firewall's"),
    ("[[rule]]\nname = 'odd'\nconfirm = 'socket'\npattern = 'odd (?P<address>\\S+) came'",
     "a socket is found by both ports: the pattern has no group peer_port and no group local_port"),
])  # fmt: skip
def test_what_cannot_be_confirmed_so_is_refused(text: str, said: str, place: Place) -> None:
    """In one line that names the rule and the key."""
    place.configure(text)
    result = place.treason("config", "check")
    assert result.code == 1
    assert said in result.out


def test_a_rule_of_ones_own_can_be_confirmed_by_sockets(place: Place, log: Log, lab: Peers) -> None:
    """With both ports in its pattern."""
    own = (
        "[[rule]]\nname = 'odd'\nconfirm = 'socket'\n"
        "pattern = 'odd (?P<address>\\S+) (?P<peer_port>\\d+) (?P<local_port>\\d+)'\n"
    )
    configure(place, own)
    attack(lab)
    log.say(f"odd {ATTACKER} 4638 8080", f"odd {STRANGER} 4638 8080")
    assert judged(place, 2) == {ATTACKER: "odd"}


def test_a_check_reads_an_older_database(place: Place, log: Log, lab: Peers) -> None:
    """As it would be migrated, and leaves it as it is."""
    configure(place, main=f'backends = ["file:{place.path}/list"]')
    assert place.treason("ban", "198.51.100.1").code == 0
    with closing(sqlite3.connect(place.database)) as database:
        take_back_ninth(database)
    attack(lab)
    log.say(shrunk())
    before = place.snapshot()
    first = place.treason("reconcile", "--check", "-o", "json")
    assert first.code == 2, first.err
    assert first.json["sources"][0]["waiting"] == 1
    assert place.treason("status").code in {0, 1}
    assert place.snapshot() == before


def test_an_older_database_takes_part(place: Place, log: Log, lab: Peers) -> None:
    """What schema 8 held goes on."""
    configure(place)
    assert place.treason("ban", "198.51.100.1").code == 0
    with closing(sqlite3.connect(place.database)) as database:
        take_back_ninth(database)
    attack(lab)
    log.say(shrunk())
    assert judged(place, 2) == {"198.51.100.1": "manual", ATTACKER: "unexpectedly-shrunk"}
