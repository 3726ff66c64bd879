"""What the tests share: namespaces of their own, and the command line run in this process."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from reconciler.cli import main
from reconciler.execute import run
from reconciler.netns import Namespace, Wire

DATA = Path(__file__).parent / "data"
SEED = """\
TCP: Treason uncloaked! Peer 117.79.83.112:4638/8080 shrinks window 3207520931:3207522811. Repaired.
TCP: Treason uncloaked! Peer 218.14.17.182:4771/8080 shrinks window 2946511037:2946513358. Repaired.
TCP: Treason uncloaked! Peer 218.14.17.182:4771/8080 shrinks window 2946511037:2946513358. Repaired.
TCP: Treason uncloaked! Peer 218.14.17.182:4771/8080 shrinks window 2946511037:2946513358. Repaired.
"""


@attrs.frozen
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@attrs.frozen
class Place:
    """A directory with a configuration, a database and a lock of its own."""

    path: Path
    capture: pytest.CaptureFixture[str]

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.path / "treason.toml"

    @property
    def database(self) -> Path:
        """The database."""
        return self.path / "treason.db"

    def configure(self, text: str = "", *, main: str = "") -> None:
        """Write the configuration: ``main`` goes into ``[treason]``, ``text`` behind it."""
        self.config.write_text(
            f'[treason]\ndatabase = "{self.database}"\nlock = "{self.path}/lock"\n{main}\n{text}\n'
        )

    def treason(self, *arguments: str) -> Result:
        """Run the command line in this process."""
        self.capture.readouterr()
        argv, sys.argv = sys.argv, ["treason", "--config", str(self.config), *arguments]
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            sys.argv = argv
        captured = self.capture.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Result(code, captured.out, captured.err)

    def snapshot(self) -> dict[str, tuple[int, int, bytes]]:
        """Give mode, time of change and content of every file."""
        return {
            str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
            for path in sorted(self.path.rglob("*"))
            if path.is_file()
        }


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
def nft(host: None) -> Callable[[str], str]:
    """Run nft in the test's namespace, as somebody else would."""

    def command(text: str) -> str:
        return run(["nft", text]).output

    return command


@pytest.fixture
def kmsg() -> Iterator[Callable[[str], None]]:
    """Write a record to /dev/kmsg, as a process can; skip where that is not allowed."""
    try:
        descriptor = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        pytest.skip(f"/dev/kmsg: {error.strerror}; run as root")
    yield lambda text: os.write(descriptor, text.encode()) and None
    os.close(descriptor)
