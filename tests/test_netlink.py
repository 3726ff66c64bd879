"""Netlink, spoken with the real kernel in a namespace of its own."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from unittest.mock import ANY

import pytest
from pytest_mock import MockerFixture

from reconciler import Network, netlink
from reconciler.execute import run
from reconciler.host.netns import Namespace
from reconciler.netlink import (
    CREATE,
    DUMP,
    NESTED,
    NFTABLES,
    NFTABLES_EVENTS,
    AnswerLost,
    Connection,
    Full,
    Message,
    Missing,
    NetlinkError,
    Present,
    Stale,
    TooLong,
    attribute,
    attributes,
    generation,
    nested,
    number,
    text,
)

Nft = Callable[..., str]

IPV4 = 2  # NFPROTO_IPV4
NEW_TABLE, GET_TABLE, DELETE_TABLE = 0, 1, 2  # NFT_MSG_*, linux/netfilter/nf_tables.h
NEW_ELEMENT, GET_ELEMENT, DELETE_ELEMENT = 12, 13, 14
EXCLUSIVE = 0x200  # NLM_F_EXCL


def table(kind: int, name: str, flags: int = 0) -> Message:
    """Return a message about a table of IPv4."""
    return Message(NFTABLES << 8 | kind, IPV4, text(1, name), flags)


def elements(kind: int, addresses: bytes) -> Message:
    """Return a message about elements of the set ``t s``, for each byte the address 10.0.0.byte."""
    listed = [nested(1, nested(1, attribute(1, bytes([10, 0, 0, last])))) for last in addresses]
    body = text(1, "t") + text(2, "s") + nested(3, *listed)
    return Message(NFTABLES << 8 | kind, IPV4, body, CREATE if kind == NEW_ELEMENT else 0)


def names(answers: list[Message]) -> list[bytes]:
    """Return the tables that the answers tell of."""
    return [dict(attributes(answer.body))[1] for answer in answers]


@pytest.fixture
def kernel(host: None) -> Connection:
    """A connection in the test's namespace."""
    return Connection()


@pytest.fixture
def four(nft: Nft) -> None:
    """A set ``t s`` that has room for four."""
    nft("add table t; add set t s { type ipv4_addr; size 4; }")
    nft("add element t s { 10.0.0.1, 10.0.0.2 }")


def test_attributes_are_read_as_they_were_written() -> None:
    """Whatever their length and padding, with the flags of their types taken off."""
    inner = text(1, "abc") + number(2, 258)
    body = attribute(3, b"") + attribute(4, b"12345") + nested(5, inner) + text(6, "é")
    assert [*attributes(body)] == [(3, b""), (4, b"12345"), (5, inner), (6, "é\0".encode())]
    assert [*attributes(inner)] == [(1, b"abc\0"), (2, b"\0\0\1\2")]
    assert len(body) % 4 == 0


@pytest.mark.parametrize("body", [b"\0\0\1\0", b"\3\0\1\0abcd", b"\1"])
def test_attributes_that_make_no_sense_end_the_reading(body: bytes) -> None:
    """A length that is less than its own header, or none at all, loops nowhere."""
    assert [*attributes(body)] == []


def test_a_nested_attribute_says_so(kernel: Connection, four: None) -> None:
    """The kernel takes a list of elements only with NLA_F_NESTED."""
    assert nested(3)[2:4] == (3 | NESTED).to_bytes(2, sys.byteorder)
    kernel.commit([elements(NEW_ELEMENT, b"\3")])


def test_a_transaction_is_carried_out(kernel: Connection, nft: Nft, four: None) -> None:
    """All of it, as nft lists it."""
    kernel.commit([
        table(NEW_TABLE, "other", CREATE),
        elements(DELETE_ELEMENT, b"\1"),
        elements(NEW_ELEMENT, b"\3\4"),
    ])  # fmt: skip
    assert "table ip other" in nft("list tables")
    listed = nft("list set ip t s")
    assert [f"10.0.0.{last}" in listed for last in (1, 2, 3, 4)] == [False, True, True, True]


@pytest.mark.parametrize(
    ("refused", "kind", "code"),
    [
        (table(DELETE_TABLE, "none"), Missing, errno.ENOENT),
        (elements(DELETE_ELEMENT, b"\1\7"), Missing, errno.ENOENT),
        (table(NEW_TABLE, "t", CREATE | EXCLUSIVE), Present, errno.EEXIST),
        (elements(NEW_ELEMENT, b"\3\4\5"), Full, errno.ENFILE),
        (table(NEW_TABLE, "n" * 300, CREATE), NetlinkError, errno.ERANGE),
    ],
)
def test_a_refused_transaction_changes_nothing_and_tells_why(
    refused: Message, kind: type[NetlinkError], code: int,
    kernel: Connection, nft: Nft, four: None,
) -> None:  # fmt: skip
    """One message that fails takes the others along, and the next transaction goes well."""
    before = nft("list ruleset")
    good = table(NEW_TABLE, "other", CREATE)
    with pytest.raises(NetlinkError) as told:
        kernel.commit([good, refused, good])
    assert (type(told.value), told.value.code) == (kind, code)
    assert os.strerror(code) in str(told.value)
    assert nft("list ruleset") == before
    kernel.commit([good])
    assert "table ip other" in nft("list tables")


def test_an_overlapping_interval_is_present(kernel: Connection, nft: Nft) -> None:
    """EEXIST, as for an element with other data."""
    nft("add table t; add set t s { type ipv4_addr; flags interval; elements = { 10.0.0.0/24 } }")
    with pytest.raises(Present):
        kernel.commit([elements(NEW_ELEMENT, b"\x80")])


def test_what_the_kernel_says_besides_is_told(kernel: Connection) -> None:
    """The text of its extended acknowledgement follows the error's own."""
    with pytest.raises(NetlinkError, match=f"{os.strerror(errno.ERANGE)}: Attribute failed"):
        kernel.commit([table(NEW_TABLE, "n" * 300, CREATE)])


def test_a_commit_for_another_generation_is_refused(kernel: Connection, nft: Nft) -> None:
    """It is stale, changes nothing, and the right number lets it through."""
    before = kernel.generation()
    nft("add table other")
    with pytest.raises(Stale, match="the ruleset has changed"):
        kernel.commit([table(NEW_TABLE, "t", CREATE)], lambda: before)
    assert nft("list tables") == "table ip other\n"
    kernel.commit([table(NEW_TABLE, "t", CREATE)], lambda: before + 1)
    assert nft("list tables") == "table ip other\ntable ip t\n"


def test_a_generation_of_0_is_no_condition(kernel: Connection, nft: Nft) -> None:
    """Such a commit goes through, whatever happened."""
    nft("add table other")
    kernel.commit([table(NEW_TABLE, "t", CREATE)])
    assert "table ip t" in nft("list tables")


@pytest.mark.parametrize(
    ("command", "rise"),
    [
        (["nft", "add table other"], 1),
        (["nft", "add table t { flags dormant; }"], 1),
        (["iptables-nft", "-P", "INPUT", "ACCEPT"], 1),
        (["nft", "add table t"], 0),  # it is there
        (["nft", "list ruleset"], 0),
        (["ipset", "create", "other", "hash:ip"], 0),
    ],
)
def test_every_commit_of_nf_tables_raises_the_generation(
    command: list[str], rise: int, kernel: Connection, nft: Nft
) -> None:
    """By whatever program; but not what changes nothing of its ruleset."""
    nft("add table t")
    before = kernel.generation()
    run(command)
    assert kernel.generation() - before == rise


def test_our_own_commit_raises_the_generation_by_one(kernel: Connection) -> None:
    """However many messages it has."""
    before = kernel.generation()
    kernel.commit([table(NEW_TABLE, name, CREATE) for name in "abc"])
    assert kernel.generation() == before + 1


def test_each_namespace_has_its_own_number(kernel: Connection) -> None:
    """Equal for two connections in one, different in another."""
    other = Namespace()
    with other.entered():
        elsewhere = Connection().namespace
    other.close()
    assert kernel.namespace == Connection().namespace
    assert None not in {kernel.namespace, elsewhere}
    assert kernel.namespace != elsewhere


def test_a_kernel_that_numbers_no_namespace_is_no_error(
    kernel: Connection, mocker: MockerFixture
) -> None:
    """Before Linux 5.14 there is no such option."""
    mocker.patch.object(netlink.connection, "_NETNS_COOKIE", 9999)
    assert kernel.namespace is None


def test_a_connection_stays_in_the_namespace_where_it_was_opened(
    kernel: Connection, nft: Nft
) -> None:
    """Also when its thread has gone elsewhere."""
    other = Namespace()
    with other.entered():
        kernel.commit([table(NEW_TABLE, "t", CREATE)])
        assert run(["nft", "list tables"]).output == ""
    other.close()
    assert nft("list tables") == "table ip t\n"


def test_a_dump_gives_everything(kernel: Connection, nft: Nft) -> None:
    """One message for each table, however many answers that takes."""
    wanted = sorted(f"table{place:04}\0".encode() for place in range(1000))
    nft("; ".join(f"add table {name[:-1].decode()}" for name in wanted))
    request = Message(NFTABLES << 8 | GET_TABLE, IPV4, b"", DUMP)
    assert sorted(names([*kernel.ask(request)])) == wanted


def test_a_dump_of_nothing_is_empty(kernel: Connection) -> None:
    """That is no error."""
    assert [*kernel.ask(Message(NFTABLES << 8 | GET_TABLE, IPV4, b"", DUMP))] == []


def test_a_question_by_name_gives_one_answer(kernel: Connection, nft: Nft) -> None:
    """With the family that the thing has."""
    nft("add table t; add table u")
    [answer] = kernel.ask(table(GET_TABLE, "u"))
    assert (answer.family, names([answer])) == (IPV4, [b"u\0"])


def test_a_question_for_what_is_not_there_is_an_error(kernel: Connection) -> None:
    """It is missing, and the next question is answered."""
    with pytest.raises(Missing):
        [*kernel.ask(table(GET_TABLE, "u"))]
    assert kernel.generation() == 1


def test_elements_are_asked_for_by_key(kernel: Connection, four: None) -> None:
    """All that are there are told; one that is not is missing."""
    assert [*kernel.ask(elements(GET_ELEMENT, b"\1\2"))]
    with pytest.raises(Missing):
        [*kernel.ask(elements(GET_ELEMENT, b"\1\3"))]


def test_an_answer_that_is_left_unread_disturbs_no_later_one(kernel: Connection, nft: Nft) -> None:
    """Answers are told apart by the number of their question."""
    nft("add table t; add table u")
    next(kernel.ask(Message(NFTABLES << 8 | GET_TABLE, IPV4, b"", DUMP)))
    assert names([*kernel.ask(table(GET_TABLE, "u"))]) == [b"u\0"]


def test_who_joined_is_told_of_every_commit(host: None, nft: Nft) -> None:
    """What was changed, then the generation; and nothing twice."""
    events = Connection([NFTABLES_EVENTS])
    before = events.generation()
    assert [*events.events()] == []
    nft("add table t")
    new, end = events.events()
    assert (new.kind, new.family, names([new])) == (NFTABLES << 8 | NEW_TABLE, IPV4, [b"t\0"])
    assert generation(new) is None
    assert generation(end) == before + 1
    assert [*events.events()] == []


def test_waiting_ends_when_something_comes_or_the_time_is_over(host: None, nft: Nft) -> None:
    """At once in the one case, without an event in the other."""
    events = Connection([NFTABLES_EVENTS])
    events.wait(0.01)
    assert [*events.events()] == []
    nft("add table t")
    events.wait(60)
    assert len([*events.events()]) == 2


def test_events_that_do_not_fit_are_told_as_lost(
    host: None, nft: Nft, mocker: MockerFixture
) -> None:
    """Once; then those are told that come after."""
    mocker.patch.object(netlink.connection, "_KEPT", 1 << 12)
    events = Connection([NFTABLES_EVENTS])
    for name in range(30):
        nft(f"add table t{name}")
    with pytest.raises(AnswerLost):
        [*events.events()]
    [*events.events()]
    nft("add table last")
    assert names([*events.events()][:1]) == [b"last\0"]


def test_an_answer_that_does_not_fit_is_told_as_lost(
    kernel: Connection, nft: Nft, mocker: MockerFixture
) -> None:
    """A transaction with more errors than the socket holds: it is an error, never a success."""
    mocker.patch.object(netlink.connection, "_KEPT", 1 << 12)
    small = Connection()
    with pytest.raises(AnswerLost, match="No buffer space"):
        small.commit([table(DELETE_TABLE, f"none{place}") for place in range(100)])


def test_a_transaction_that_is_too_long_is_not_sent(
    kernel: Connection, nft: Nft, mocker: MockerFixture
) -> None:
    """Where the socket may not grow, as in a user namespace: an error that says what limits it."""
    mocker.patch.object(Connection, "_make_room")
    with pytest.raises(TooLong) as told:
        kernel.commit([table(NEW_TABLE, f"t{place}", CREATE) for place in range(20_000)])
    assert "net.core.wmem_max" in told.value.hint
    assert kernel.generation() == 1


def test_without_the_capability_nothing_is_permitted(host: None) -> None:
    """Neither to change, nor to ask, nor to listen; the hint tells what it takes."""
    tried = """
from reconciler.netlink import Connection, NotPermitted
for attempt in (
    lambda: Connection().commit([]),
    lambda: Connection().generation(),
    lambda: Connection([7]),
):
    try:
        attempt()
    except NotPermitted as error:
        print(error.hint)
"""
    bare = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    done = subprocess.run(
        [*bare, sys.executable, "-c", tried], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("CAP_NET_ADMIN") == 3


def test_a_system_without_netlink_is_an_error_of_ours(mocker: MockerFixture) -> None:
    """As in a sandbox that allows no such socket."""
    refused = OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
    mocker.patch("socket.socket", side_effect=refused)
    with pytest.raises(NetlinkError, match="Address family not supported") as told:
        Connection()
    assert told.value.code == errno.EAFNOSUPPORT


def test_nothing_is_left_open(host: None) -> None:
    """A connection that nobody has any more has closed its socket."""
    open_now = Path("/proc/self/fd")
    before = len([*open_now.iterdir()])
    for _ in range(10):
        Connection([NFTABLES_EVENTS]).generation()
    assert len([*open_now.iterdir()]) == before


class Interrupting:
    """A socket whose first answer says that something changed meanwhile (NLM_F_DUMP_INTR)."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self._turns = count()

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def recv(self, size: int, flags: int) -> bytes:
        """Set the flag in the header."""
        data = bytearray(self._real.recv(size, flags))
        if next(self._turns) == 0:
            data[6 if sys.byteorder == "little" else 7] |= 0x10
        return bytes(data)


def test_an_interrupted_list_is_read_to_its_end(host: None, nft: Nft) -> None:
    """So the next question on the same socket is answered; the interruption is told."""
    nft("add table ip x;" + "".join(f"add chain ip x c{number};" for number in range(2_000)))
    kernel = Connection()
    kernel._socket = Interrupting(kernel._socket)  # type: ignore[assignment]  # noqa: SLF001 - to say so
    chains = Message(NFTABLES << 8 | 4, IPV4, b"", DUMP)  # NFT_MSG_GETCHAIN
    with pytest.raises(Stale):
        [*kernel.ask(chains)]
    assert len([*kernel.ask(chains)]) == 2_000


def test_an_event_names_the_port_of_whoever_caused_it(host: None) -> None:
    """Ours, or that of somebody else."""
    listener, ours, others = Connection([NFTABLES_EVENTS]), Connection(), Connection()
    assert len({listener.port, ours.port, others.port}) == 3
    for name, connection in (("a", ours), ("b", others)):
        connection.commit([Message(NFTABLES << 8, 1, text(1, name), CREATE)])
        listener.wait(2)
        assert {event.port for event in listener.events()} == {connection.port}


@pytest.fixture
def pair(host: None) -> Iterator[tuple[socket.socket, socket.socket, socket.socket]]:
    """A listener of both families, and both ends of a connection over IPv4."""
    run(["ip", "link", "set", "lo", "up"])
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(("::", 0))
        listener.listen()
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])) as client:
            served, _ = listener.accept()
            with served:
                yield listener, client, served


def test_sockets_are_listed_with_what_they_are(
    pair: tuple[socket.socket, socket.socket, socket.socket],
) -> None:
    """Both ends of a connection; the one of IPv6 that serves IPv4 with its IPv4 addresses."""
    listener, client, _ = pair
    port, other = listener.getsockname()[1], client.getsockname()[1]
    client.send(b"hello")
    found = {one.local_port: one for one in netlink.Sockets().dump()}
    assert found.keys() == {port, other}
    assert found[port].family == socket.AF_INET6
    assert found[other].family == socket.AF_INET
    for one in found.values():
        assert str(one.local) == str(one.peer) == "127.0.0.1"
        assert one.window
        assert one.in_flight == 0
    assert found[port].unread == 5
    assert found[other].sent == found[port].unread


@pytest.mark.parametrize("number", [1, 2, 3, 50])
def test_sockets_are_chosen_by_the_kernel_and_by_us(
    number: int, pair: tuple[socket.socket, socket.socket, socket.socket]
) -> None:
    """By ports, however many; by timer, state and peer."""
    sockets, port = netlink.Sockets(), pair[0].getsockname()[1]
    ports = [*range(1, number), port]
    assert [one.local_port for one in sockets.dump(ports=ports)] == [port]
    assert [one.local_port for one in sockets.dump(ports=ports[::-1])] == [port]
    assert [*sockets.dump(ports=[*range(1, number + 1)])] == []
    assert [*sockets.dump(timer=1)] == []
    assert [one.state for one in sockets.dump(states=(10,))] == [10]
    assert len([*sockets.dump(peers=[Network.parse("127.0.0.1")])]) == 2
    assert [*sockets.dump(peers=[Network.parse("127.0.0.2")])] == []


def test_one_socket_is_asked_for_and_ended(
    pair: tuple[socket.socket, socket.socket, socket.socket],
) -> None:
    """By its addresses, or as it was found; the listener, which answers for it, is not it."""
    listener, client, served = pair
    port, other = listener.getsockname()[1], client.getsockname()[1]
    sockets, loopback = netlink.Sockets(), Network.parse("127.0.0.1")
    one = sockets.find(loopback, port, loopback, other)
    assert one is not None
    assert sockets.exact(one) == one._replace(since_sent=ANY, since_heard=ANY, expires=ANY)
    served.setblocking(False)
    served.send(bytes(100_000))
    again = sockets.exact(one)
    assert again is not None
    assert again.memory == 0 or again.memory > one.memory
    assert sockets.destroy(one)
    assert not sockets.destroy(one)
    assert sockets.exact(one) is None
    assert sockets.find(loopback, port, loopback, other) is None
    assert sockets.find(loopback, port, None, 0) is not None
    client.settimeout(5)
    with pytest.raises(ConnectionResetError):
        client.send(b"more")


def test_many_sockets_of_different_shapes_are_all_listed(
    pair: tuple[socket.socket, socket.socket, socket.socket],
) -> None:
    """Also where the messages of one block have different lengths."""
    made = []
    for place in range(100):
        host = "::1" if place % 2 else "127.0.0.1"
        made.append(socket.create_connection((host, pair[0].getsockname()[1])))
        if place % 3 == 0:  # its congestion control tells a value of its own
            made[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    mine = {each.getsockname()[1] for each in made}
    found = {one.local_port for one in netlink.Sockets().dump()}
    for each in made:
        each.close()
    assert mine <= found
