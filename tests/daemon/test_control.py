"""The control socket: who is served, what is answered, and that nobody can hold the daemon up."""

import array
import errno
import json
import os
import resource
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
from attrs import asdict, evolve
from daemons import Answers, Loop, connect, process, serving, stop
from harness import REAL_ROOT
from residents import until

from reconciler import Network
from reconciler.daemon import control as server
from reconciler.daemon.control import MOST, claimed
from reconciler.errors import DaemonError
from reconciler.host import control
from reconciler.host.control import LIMIT, DaemonStatus, Enforced, Identity, connected
from reconciler.host.netns import Namespace
from reconciler.log import Log
from reconciler.networks import Networks

MANY = Networks.of(Network.of(4, number, 32) for number in range(1 << 24, (1 << 24) + 20_000))


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the client logs, whatever another test has made of logging."""
    texts: list[str] = []

    class Heard(Log):
        """Keeps it."""

        def info(self, text: str, *values: object) -> None:
            texts.append(text % values)

    monkeypatch.setattr(control, "_log", Heard("control"))
    return texts


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A socket's path, a configuration and a database."""
    database = tmp_path / "treason.db"
    database.touch()
    return tmp_path / "run" / "control", tmp_path / "treason.toml", database


@pytest.fixture
def answers(files: tuple[Path, Path, Path]) -> Answers:
    """What the daemon of this test says."""
    return Answers(Identity.of(*files[1:]), Networks.of([Network.parse("192.0.2.7")]))


@pytest.fixture
def loop(files: tuple[Path, Path, Path], answers: Answers) -> Iterator[Loop]:
    """The daemon of this test."""
    with serving(files[0], answers) as made:
        yield made


def answered(files: tuple[Path, Path, Path], within: float = 1.0) -> bool:
    """Return whether a command is answered in time."""
    begun = time.monotonic()
    with connected(*files) as client:
        assert client
        return bool(client.pending()) and time.monotonic() - begun < within


def rests(loop: Loop) -> bool:
    """Return whether nothing wakes the daemon, once it has seen who went away."""
    time.sleep(0.05)
    turns = loop.turns
    time.sleep(0.1)
    return loop.turns == turns


def open_now() -> list[int]:
    """Return the descriptors of this process."""
    return [int(each.name) for each in Path("/proc/self/fd").iterdir()]


def said(connection: socket.socket) -> dict[str, object]:
    """Return the next message."""
    message = json.loads(connection.recv(LIMIT))
    assert isinstance(message, dict)
    return message


def test_a_command_learns_what_is_in_force_and_how_things_are(
    files: tuple[Path, Path, Path], answers: Answers, loop: Loop
) -> None:
    """Also when it is more than a packet holds; one connection takes many questions."""
    answers.how = DaemonStatus(7, 1.5, ("kmsg",), ("dmesg",), 3, 2.5, "the set was empty", ("x",))
    with connected(*files) as client:
        assert client
        assert client.pid == os.getpid()
        assert client.pending() == answers.held
        answers.held = MANY
        assert client.pending() == MANY
        answers.held = Networks()
        assert client.pending() == Networks()
        assert client.status() == answers.how
        assert client.enforce() == Enforced(("nftables",))


def test_the_answer_to_enforce_comes_when_it_is_done(
    files: tuple[Path, Path, Path], answers: Answers, loop: Loop
) -> None:
    """Meanwhile others are answered; who has gone away is told nothing."""
    answers.patient = True
    gone, waiting = connect(files[0]), connect(files[0])
    for each in (gone, waiting):
        assert said(each)["pid"] == os.getpid()
        each.send(b'{"ask": "enforce"}')
        assert said(each) == {"accepted": True, "more": True}
    gone.close()
    assert answered(files)
    assert not select.select([waiting], [], [], 0.05)[0]
    for done in answers.waiting:
        loop.call(partial(done, Enforced((), "the disk is full")))
    assert said(waiting) == {"backends": [], "error": "the disk is full", "rests": False}
    waiting.send(b'{"ask": "status"}')
    assert said(waiting)["pid"] == 1
    waiting.close()


def test_the_socket_is_for_its_owner_alone(files: tuple[Path, Path, Path], loop: Loop) -> None:
    """From the moment on that it is there; at the end it is gone, and the lock stays."""
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700


@pytest.mark.skipif(not REAL_ROOT, reason="to become another user needs root")
def test_another_user_is_not_served(files: tuple[Path, Path, Path], loop: Loop) -> None:
    """Not even where somebody has opened the socket to all: the connection is closed unheard."""
    path, *_ = files
    for each in (path.parent, *path.parents[:4]):
        each.chmod(each.stat().st_mode | 0o755)
    path.chmod(0o666)
    asking = (
        "import socket,sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "s.connect(sys.argv[1]); s.settimeout(5)\nprint(s.recv(4096))"
    )
    asked = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    for before, expected in ((asked, b"b''\n"), ([], b"b'{")):
        command = [*before, "/usr/bin/env", "python3", "-c", asking, str(path)]
        told = subprocess.run(command, capture_output=True, check=False)
        assert told.stdout.startswith(expected), told.stderr
    assert answered(files)


@pytest.mark.skipif(not REAL_ROOT, reason="to become another user needs root")
def test_a_daemon_of_another_user_is_not_believed(
    files: tuple[Path, Path, Path], heard: list[str]
) -> None:
    """Unless it owns the database, and so decides on bans anyway."""
    path, _, database = files
    path.parent.mkdir()
    fake = (
        "import os,socket,sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "s.bind(sys.argv[1]); os.setuid(65534); s.listen(4); print('ready', flush=True)\n"
        "c, _ = s.accept(); c.recv(9)\nc, _ = s.accept(); c.send(b'{}'); c.recv(9)"
    )
    with subprocess.Popen([sys.executable, "-c", fake, path], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        with connected(*files) as client:
            assert client is None
        told = heard[-1]
        os.chown(database, 65534, -1)
        with pytest.raises(DaemonError, match="another version"), connected(*files):
            pass
    assert "runs as user 65534" in told


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"x",
        b'{"ask": "pend',
        b"[" * 60_000,
        b"9" * 60_000,
        b"[]",
        b"null",
        b'"\xff"',
        b'{"ask": ["pending"]}',
        b'{"ask": "' + b"a" * 60_000 + b'"}',
        b'{"ask": "pending"}' + b" " * LIMIT,
        b"\0" * (3 * LIMIT),
    ],
    ids=lambda packet: f"{packet[:20]!r}",
)
def test_senseless_questions_are_refused(
    packet: bytes, files: tuple[Path, Path, Path], loop: Loop
) -> None:
    """Whatever is sent, the next command is answered; nothing is quoted at length."""
    with connect(files[0]) as hostile:
        said(hostile)
        hostile.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        hostile.send(packet)
        if packet:  # an empty one looks like the end
            refusal = said(hostile)
            assert refusal.keys() == {"refused"}
            assert len(str(refusal)) < 200
        assert answered(files)


def test_descriptors_that_are_sent_along_are_not_kept(
    files: tuple[Path, Path, Path], answers: Answers, loop: Loop
) -> None:
    """The kernel closes them, since nobody takes them."""
    reading, writing = os.pipe()
    with connect(files[0]) as hostile:
        said(hostile)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writing] * 50).tobytes())
        for _ in range(20):
            hostile.sendmsg([b'{"ask": "status"}'], [rights])
            said(hostile)
        os.close(writing)
        assert os.read(reading, 1) == b""  # nobody else has it
        os.close(reading)
        assert answered(files)


def test_who_asks_and_never_reads_holds_nobody_up(
    files: tuple[Path, Path, Path], answers: Answers, loop: Loop
) -> None:
    """Its answer waits in the kernel, and is made no further than there is room for."""
    answers.held = MANY
    deaf = [connect(files[0]) for _ in range(20)]
    for each in deaf:
        each.send(b'{"ask": "pending"}')
    answers.held = MANY[:1]
    assert answered(files)
    assert rests(loop)
    for each in deaf:
        each.close()


def test_ten_thousand_connections_hold_nobody_up(
    files: tuple[Path, Path, Path], loop: Loop
) -> None:
    """Who holds many gives way to who has one; who asks nothing costs nothing."""
    flood = (
        "import resource,socket,sys,time\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "many = min(10000, hard - 50)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (many + 50, hard))\n"
        "held = []\n"
        "for _ in range(many):\n"
        "    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1])\n"
        "    held.append(s)\n"
        "print(many, flush=True)\nsys.stdin.read()"
    )
    before = len(open_now())
    with connect(files[0]) as patient:
        said(patient)
        with subprocess.Popen(
            [sys.executable, "-c", flood, files[0]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            took = []
            assert child.stdout
            while not select.select([child.stdout], [], [], 0)[0]:
                begun = time.monotonic()
                assert answered(files, 2.0)
                took.append(time.monotonic() - begun)
            assert int(child.stdout.readline()) >= 900
            assert answered(files)
            assert rests(loop)
            assert len(open_now()) < before + MOST + 100
            child.communicate()
        patient.send(b'{"ask": "pending"}')  # it was there before all of them
        assert said(patient)["networks"] == ["192.0.2.7"]


def test_without_descriptors_who_comes_is_turned_away(
    files: tuple[Path, Path, Path], loop: Loop
) -> None:
    """The daemon is not woken again and again for who waits, and answers once there are some."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    asking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    asking.settimeout(5)
    held = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(held[0], *open_now()) + 1, limits[1]))
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        asking.connect(str(files[0]))
        assert asking.recv(LIMIT) == b""
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    asking.close()
    assert rests(loop)
    assert answered(files)


def test_a_second_daemon_is_refused_with_the_first_ones_pid(files: tuple[Path, Path, Path]) -> None:
    """Also while the first is stopped; what is left of one that was killed is replaced."""
    path, configuration, database = files
    with process(configuration, database, path) as pid:
        for way in (lambda _pid: None, stop):
            way(pid)
            with pytest.raises(DaemonError, match=f"process {pid}"), claimed(path):
                pass
    assert path.is_socket()  # it was killed
    with claimed(path):
        assert path.is_socket()
        with pytest.raises(OSError, match=os.strerror(errno.ECONNREFUSED)):  # not before `Control`
            connect(path)
        with pytest.raises(DaemonError, match=f"process {os.getpid()}"), claimed(path):
            pass
    assert not path.exists()


def test_what_is_no_socket_is_not_replaced(files: tuple[Path, Path, Path]) -> None:
    """A file of somebody's, or a link to one."""
    path, _, database = files
    path.parent.mkdir()
    path.symlink_to(database)
    with pytest.raises(DaemonError, match="something else is there"), claimed(path):
        pass
    assert path.is_symlink()


def test_a_path_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """With what to do."""
    path = tmp_path / ("x" * 200) / "control"
    with (
        pytest.raises(DaemonError, match="cannot make the control socket") as refused,
        claimed(path),
    ):
        pass
    assert "[run] socket" in refused.value.hint


@pytest.mark.parametrize("state", ["missing", "dead", "file"])
def test_without_a_daemon_nobody_is_asked(state: str, files: tuple[Path, Path, Path]) -> None:
    """Nothing is there, or what a dead one left, or something else."""
    path, *_ = files
    path.parent.mkdir()
    if state == "file":
        path.touch()
    elif state == "dead":
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
            dead.bind(str(path))
    with connected(*files) as client:
        assert client is None


def test_a_daemon_that_guards_something_else_is_not_asked(
    files: tuple[Path, Path, Path],
    tmp_path: Path,
    host: None,
    heard: list[str],
) -> None:
    """Another configuration, another database or another network namespace, and it says which."""
    path, configuration, database = files
    other = tmp_path / "other.db"
    other.touch()
    with process(configuration, database, path):
        assert answered_by(path, configuration, database)
        assert not answered_by(path, tmp_path / "other.toml", database)
        assert "has another configuration" in heard[-1]
        assert not answered_by(path, configuration, other)
        assert "has another database open" in heard[-1]
        (tmp_path / "link").symlink_to(database)
        assert answered_by(path, configuration, tmp_path / "link")
        database.rename(tmp_path / "old.db")
        other.rename(database)
        assert not answered_by(path, configuration, database)
        namespace = Namespace()
        with namespace.entered():
            assert not answered_by(path, configuration, tmp_path / "old.db")
        namespace.close()
        assert "is in another network namespace" in heard[-1]


def answered_by(path: Path, configuration: Path, database: Path) -> bool:
    """Return whether the daemon takes us for its own."""
    with connected(path, configuration, database) as client:
        return client is not None


def test_a_daemon_that_is_stopped_does_not_answer(
    files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is asked for a connection, or has accepted it; that takes no longer than told."""
    monkeypatch.setattr(control, "PATIENCE", 0.2)
    path, configuration, database = files
    with process(configuration, database, path) as pid:
        with connected(*files) as client:
            stop(pid)
            assert client
            with pytest.raises(DaemonError, match=f"process {pid}"):
                client.pending()
        held = []
        for _ in range(80):  # the kernel takes those who come, until nobody accepts them
            begun = time.monotonic()
            with pytest.raises(DaemonError, match="does not answer"), connected(*files):
                pass
            assert time.monotonic() - begun < 1
            held += [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(20)]
            for each in held[-20:]:
                each.setblocking(False)
                try:
                    each.connect(str(path))
                except BlockingIOError:
                    break
            else:
                continue
            break
        begun = time.monotonic()
        with pytest.raises(DaemonError, match="takes no connections"), connected(*files):
            pass
        assert time.monotonic() - begun < 1
        for each in held:
            each.close()
        os.kill(pid, signal.SIGCONT)
        assert answered_by(*files)


@pytest.mark.parametrize(
    ("said_", "match"),
    [
        ({"format_version": 2}, "another version"),
        ({"format_version": 1}, "not understood: its Identity"),
        (
            {"format_version": 1, "configuration": 1, "database": "", "namespace": ""},
            "its Identity",
        ),
    ],
)
def test_a_greeting_that_is_not_understood_is_an_error(
    said_: dict[str, object],
    match: str,
    files: tuple[Path, Path, Path],
    answers: Answers,
    loop: Loop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be the daemon that guards the same: what it has in force is not known."""
    monkeypatch.setattr(server, "greeting", lambda _identity: said_)
    with pytest.raises(DaemonError, match=match), connected(*files):
        pass


def test_a_strange_list_is_not_taken_for_an_empty_one(
    files: tuple[Path, Path, Path], loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is a strange outcome one."""

    def ask(question: str) -> None:
        with connected(*files) as client:
            getattr(client, question)()

    for strange in ({}, {"networks": None}, {"networks": ["x"]}, {"networks": [1]}):
        monkeypatch.setattr(server, "_listed", lambda _networks, told=strange: [told])
        with pytest.raises(DaemonError, match="its list"):
            ask("pending")
    monkeypatch.setattr(server, "asdict", lambda _outcome: {"backends": [1]})
    with pytest.raises(DaemonError, match="its Enforced"):
        ask("enforce")


def test_what_the_daemon_refuses_is_told(
    files: tuple[Path, Path, Path], answers: Answers, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own words; the daemon goes on."""

    def fail() -> DaemonStatus:
        raise DaemonError("it is just stopping")

    monkeypatch.setattr(Answers, "status", lambda _self: fail())
    with connected(*files) as client:
        assert client
        with pytest.raises(DaemonError, match="refused: it is just stopping"):
            client.status()
        assert client.pending() == answers.held


def test_newer_keys_are_left_out(
    files: tuple[Path, Path, Path], answers: Answers, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that tells more is understood."""
    answers.how = evolve(answers.how, pid=9)
    original = asdict
    monkeypatch.setattr(server, "asdict", lambda each: {**original(each), "news": 1})
    with connected(*files) as client:
        assert client
        assert client.status().pid == 9


def test_a_hold_ends_with_its_connection(
    files: tuple[Path, Path, Path], answers: Answers, loop: Loop
) -> None:
    """It may ask more meanwhile; only who holds the daemon may let it stand still."""
    with connect(files[0]) as one, connect(files[0]) as two:
        for each in (one, two):
            said(each)
        two.send(b'{"ask": "stand still", "by": "teardown"}')
        assert "refused" in said(two)
        for each in (one, two):
            each.send(b'{"ask": "hold"}')
            assert said(each) == {"held": True}
        one.send(b'{"ask": "pending"}')
        assert said(one)["networks"] == ["192.0.2.7"]
        one.close()
        until(lambda: answers.rest.told()["held"] == (os.getpid(),))
        two.send(b'{"ask": "stand still", "by": "x\\u001b[2J"}')
        assert said(two) == {"still": True}
    until(lambda: answers.rest.text.endswith(f"(process {os.getpid()}); go on: treason resume"))
    with connected(*files) as client:
        assert client
        client.go_on()
    assert answers.rest.waking


def test_who_holds_the_daemon_gives_way_to_nobody(
    files: tuple[Path, Path, Path],
    answers: Answers,
    loop: Loop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many come; but of those who hold it there are not many."""
    monkeypatch.setattr(server, "MOST", 8)
    monkeypatch.setattr(server, "_HOLDERS", 4)
    with ExitStack() as stack:
        holders = [stack.enter_context(connect(files[0])) for _ in range(5)]
        for each in holders:
            said(each)
            each.send(b'{"ask": "hold"}')
        assert [said(each) for each in holders[:4]] == [{"held": True}] * 4
        assert said(holders[4]) == {"refused": "4 processes hold it already"}
        for _ in range(20):
            said(stack.enter_context(connect(files[0])))
        assert len(answers.rest.told()["held"]) == 4
        assert answered(files)
    until(lambda: answers.rest.waking)
