"""The how-to about the fleet, followed by a new user on three machines: it does what it says."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
from attrs import define, field
from authors import clean
from harness import ROOT
from postgres import Postgres

from reconciler.execute import run

PAGE = ROOT / "docs" / "how-to" / "share-bans.md"
STEP = re.compile(r"^On (`[^\n]*:)$|^```(\w*)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
TIME = r"[-0-9]{10}T[0-9:]{8}Z"
RESTART = "systemctl restart postgresql\n"
HBA = "local all postgres trust\n"
"""What Debian lets in by itself, as its user postgres."""

TREASON = """
[treason]
database = "{path}/treason.db"
lock = "{path}/lock"
sources = []
backends = [{backend}]
[run]
socket = "{path}/control"
"""


@define
class Machines:
    """The three of the page: each file that it names in ``/etc`` is in a directory of its own."""

    path: Path
    server: Postgres
    told: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        (self.server.directory / "etc").mkdir(0o755)
        (self.server.data / "pg_hba.conf").write_text(HBA)
        for name, backend in (("web1", "nftables"), ("web2", f"file:{self.path}/web2/dropped")):
            place = self.path / name
            (place / "fleet").mkdir(parents=True)
            place.chmod(0o700)
            text = TREASON.format(path=place, backend=f'"{backend}"')
            (place / "treason.toml").write_text(text)

    def restart(self) -> None:
        """Restart the server."""
        self.server.stop()
        self.server.start()

    def configure(self, table: str) -> None:
        """Write what the page shows to the members' configurations."""
        for name in ("web1", "web2"):
            where = f"host=db.example hostaddr={self.server.address} port={self.server.port}"
            text = table.replace("user=web1", f"user={name}").replace("host=db.example", where)
            place = self.path / name
            (place / "fleet.crt").write_bytes(
                (self.server.directory / "etc/fleet.crt").read_bytes()
            )
            with (place / "treason.toml").open("a") as file:
                file.write(
                    f"{text}store = '/etc/treason/fleet/feed.db'\n".replace(
                        "/etc/treason", str(place)
                    )
                )

    def do(self, name: str, commands: str) -> str:
        """Run commands on one of them; return what they print."""
        place = self.path / name
        for real, ours in (
            ("/etc/postgresql", str(self.server.directory / "etc")),
            ("/var/backups", str(self.path)),
            ("/etc/treason", str(place)),
            ("sudo -u postgres ", ""),
        ):
            commands = commands.replace(real, ours)
        env = clean(self.path) | {"PGHOST": str(self.server.directory), "PGUSER": "postgres"}
        env |= {"PGPORT": str(self.server.port), "TREASON_CONFIG": str(place / "treason.toml")}
        done = subprocess.run(
            ["sh", "-ec", commands.replace(RESTART, "")], env=env, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
        )  # fmt: skip
        if RESTART in commands:
            self.restart()
        self.told.append(f"{name}: {commands}{done.stdout}")
        assert done.returncode == 0, "\n".join(self.told)
        for member, password in re.findall(
            r"member (\w+) added.*\n.*\n(\S+)$", done.stdout, re.MULTILINE
        ):
            file = self.path / member / "fleet.password"
            file.touch(0o600)
            file.write_text(f"{password}\n")
        told = done.stdout.replace(str(self.server.directory), "/var/run/postgresql")
        return told.replace(str(place), "/etc/treason")


@pytest.fixture
def machines(nft: object, tmp_path: Path) -> Iterator[Machines]:
    """The database's server as Debian leaves it, and two members that know nothing of it yet."""
    run(["ip", "link", "set", "lo", "up"])
    with postgres.running(tls=True) as server:
        yield Machines(tmp_path, server)


@postgres.needed
def test_bans_are_shared_as_told(machines: Machines) -> None:
    """Every command does what it says, in the order of the page, and prints what is shown."""
    printed, where = "", list[str]()
    for name, language, text in STEP.findall(PAGE.read_text()):
        if name:
            where = re.findall(r"`(\S+)`", name)
        elif language == "sh":
            printed = "".join(machines.do(each, text) for each in where)
        elif language == "toml":
            machines.configure(text)
        elif text.startswith("hostssl"):
            line = text.replace("10.1.0.0/16", "127.0.0.0/8")
            (machines.server.data / "pg_hba.conf").write_text(HBA + line)
        else:
            missing = {*_lines(text)} - {*_lines(printed)}
            assert missing == set(), "\n".join(machines.told)


def _lines(text: str) -> list[str]:
    """Return the lines, whatever the time."""
    return re.sub(rf"{TIME}( \(in \d+ min\))?", "T", text).splitlines()
