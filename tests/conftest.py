"""What the tests share: namespaces, packets and files of their own."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harness import REAL_ROOT, SEED, Place
from hypothesis import settings
from peers import Peers

from reconciler.execute import run
from reconciler.host.netns import Namespace, Wire

if TYPE_CHECKING:
    from fleetplaces import Fleet, Member
    from listservers import Site
    from postgres import Postgres
    from thieves import Raw

settings.register_profile("unhurried", deadline=None)  # a busy machine is no fault
settings.load_profile("unhurried")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a run of CI as root fail that skips a test: something was not installed."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", ()) if reporter else ()
    if skipped and REAL_ROOT and os.environ.get("CI"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    """A directory of the test's own, configured."""
    made = Place(tmp_path, capsys)
    made.configure()
    return made


@pytest.fixture
def seed_log(tmp_path: Path) -> Path:
    """The original script's four sample lines."""
    path = tmp_path / "seed.log"
    path.write_text(SEED)
    return path


@pytest.fixture
def host() -> Iterator[None]:
    """An empty network namespace around the test."""
    namespace = Namespace()
    with namespace.entered():
        yield
    namespace.close()


@pytest.fixture
def peers(host: None) -> Iterator[Peers]:
    """Peers on a device of the test's own namespace."""
    made = Peers()
    yield made
    made.close()


@pytest.fixture
def wire(host: None) -> Iterator[Callable[..., Wire]]:
    """Make a cable to peers of any addresses."""
    made: list[Wire] = []

    def make(*peers: str) -> Wire:
        made.append(Wire(peers))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def site(host: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["Site"]:
    """Servers of lists on loopback of the test's own namespace, and the feeds that ask them."""
    from listservers import PROXIES, Site  # noqa: PLC0415 - makes certificates, and few tests need them

    run(["ip", "link", "set", "lo", "up"])
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    made = Site(tmp_path)
    yield made
    made.close()


@pytest.fixture
def nft(host: None) -> Callable[..., str]:
    """Run nft in the test's namespace, as somebody else would."""

    def command(text: str, *options: str) -> str:
        return run(["nft", *options, text]).output

    return command


@pytest.fixture(autouse=True, scope="session")
def xtables_lock(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A lock of the tests' own: that of the machine is not everybody's, and not ours to hold."""
    lock = tmp_path_factory.mktemp("xtables") / "lock"
    lock.touch()
    os.environ["XTABLES_LOCKFILE"] = str(lock)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nft's words for a rule as long as it takes on a busy machine."""
    monkeypatch.setattr("backends.nftables.foreign._PATIENCE", 60.0)


@pytest.fixture
def kmsg() -> Iterator[Callable[[str], None]]:
    """Write a record to /dev/kmsg, as a process can; skip where that is not allowed."""
    try:
        descriptor = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        pytest.skip(f"/dev/kmsg: {error.strerror}; run as root")
    # A record without its newline may be continued, so readers do not see it yet.
    yield lambda text: (os.write(descriptor, f"{text}\n".encode()), None)[1]
    os.close(descriptor)


@pytest.fixture(scope="module")
def fleet_server() -> Iterator["Postgres"]:
    """A PostgreSQL for the fleets of a module, one after the other."""
    from fleetplaces import server  # noqa: PLC0415 - imports psycopg, and few tests need it

    with server() as made:
        yield made


@pytest.fixture
def fleet(
    fleet_server: "Postgres", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator["Fleet"]:
    """A fleet without members, and its administrator."""
    from fleetplaces import founded  # noqa: PLC0415 - as above

    with founded(fleet_server, tmp_path, capsys) as made:
        yield made


@pytest.fixture
def good(fleet: "Fleet") -> "Member":
    """An honest member with a ban that another one knows."""
    from thieves import honest  # noqa: PLC0415 - as above

    return honest(fleet)


@pytest.fixture
def other(fleet: "Fleet", good: "Member") -> "Member":
    """That other one."""
    return fleet.members["other"]


@pytest.fixture
def thief(fleet: "Fleet", good: "Member") -> Iterator["Raw"]:
    """Whoever has the password of a third one."""
    with closing(fleet.add("web9", max_new=50).raw()) as connection:
        yield connection
