"""A fleet to be measured: PostgreSQL, and members that are added as they are needed."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, Self

from bench.fleet.engine import DATABASE, Engine
from bench.fleet.member import Member
from bench.fleet.switch import Switch
from bench.measure import PYTHON, Failed

RULE: Final = "treason-uncloaked"
_MOST: Final = 1_000_000
"""New networks in an hour: as many as the bench likes."""

_ENGINE: Final = "engine"
_CROWD: Final = "one-for-all"
_UNLIMITED: Final = "max_new = 0\n[source.file]\ntrusted = true"

_MEMBERS: Final = (
    "INSERT INTO fleet.members (member, max_new)"
    " SELECT format('web%%s', n), %s FROM generate_series(0, %s) n"
)
_BANS: Final = (
    "INSERT INTO fleet.bans (network, member, until, reason, seq, told, gone)"
    " SELECT network, format('web%%s', number %% %s), until, %s, %s, until,"
    " until + interval '30 days' FROM (SELECT *,"
    " clock_timestamp() + make_interval(secs => 3600 + random() * 86400) AS until FROM given) g"
)


class Fleet:
    """A switch, PostgreSQL with a fleet in it, and members. All is gone at the end of ``with``."""

    def __init__(self, parent: Path, **settings: str) -> None:
        self.path = Path(mkdtemp(dir=parent))
        self._stack = ExitStack()
        self.switch = Switch()
        self.engine = Engine(self.switch.join(_ENGINE), self.path, **settings)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.switch)
            stack.enter_context(self.engine)
            self.engine.treason("init")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def member(self, name: str) -> Member:
        """Add a member, whose daemon watches a log of its own, and that tells of what it finds."""
        made = self._stack.enter_context(Member(self.switch.join(name), self.path / name))
        password = str(made.password)
        given = ("--max-new", str(_MOST), "--password-file", password)
        self.engine.treason("add-member", name, *given)
        made.log.touch()
        made.configure(
            self.engine.member_dsn(name), self.engine.ca,
            publish=[RULE], sources=[f"file:{made.log}"], more=_UNLIMITED,
        )  # fmt: skip
        return made

    def crowd(self, size: int) -> list[str]:
        """Add so many members with one password, without a host; return their names."""
        names = [f"crowd{number}" for number in range(size)]
        with self.engine.owner() as owner:
            owner.execute(f"CREATE ROLE crowd PASSWORD '{_CROWD}'")
            query = "SELECT rolpassword FROM pg_authid WHERE rolname = 'crowd'"
            [(verifier,)] = owner.execute(query).fetchall()
            for name in names:
                role = f"CREATE ROLE {name} LOGIN IN ROLE treason_fleet_member"
                owner.execute(f"{role} PASSWORD '{verifier!s}'")
                owner.execute("INSERT INTO fleet.members (member) VALUES (%s)", (name,))
        return names

    def crowd_dsn(self) -> str:
        """Return how the crowd connects, but for the names."""
        dsn = self.engine.server.dsn("crowd", DATABASE, sslrootcert=str(self.engine.ca))
        return f"{dsn} sslmode=verify-full password={_CROWD}"

    def floor(self, schema: str) -> str:
        """Make a database and a role ``floor`` besides; return how it connects."""
        with self.engine.owner() as owner:
            owner.execute("CREATE DATABASE floor")
        with self.engine.owner("floor") as owner:
            owner.execute(schema)
            owner.execute(f"ALTER ROLE floor PASSWORD '{_CROWD}'")
        dsn = self.engine.server.dsn("floor", "floor", sslrootcert=str(self.engine.ca))
        return f"{dsn} sslmode=verify-full password={_CROWD}"

    @contextmanager
    def program(self, module: str, port: str, told: object) -> Iterator["subprocess.Popen[str]"]:
        """Run a program of the bench at a port, told this in a line, from when it is ready."""
        with self.switch.ports[port].entered():
            process = subprocess.Popen(
                [PYTHON, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        try:
            if process.stdin is not None:
                process.stdin.write(told if isinstance(told, str) else json.dumps(told))
                process.stdin.write("\n")
                process.stdin.flush()
            if line(process) != "ready\n":
                raise Failed(f"{module} does not begin")
            yield process
        finally:
            process.kill()
            process.communicate()

    def memory(self) -> int:
        """Return the bytes of PostgreSQL's processes, what they share counted once (Pss)."""
        return sum(map(_share, self.engine.processes()))


def line(process: "subprocess.Popen[str]") -> str:
    """Return the next line that a program prints; raise `Failed` where it has ended."""
    text = process.stdout.readline() if process.stdout else ""
    if not text:
        raise Failed(f"a program ended: {process.args!r}")
    return text


def _share(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return 1024 * sum(int(each.split()[1]) for each in lines if each.startswith("Pss:"))


def fill(fleet: Fleet, members: int, networks: Sequence[str]) -> None:
    """Put bans of so many members into the database, as if each had told its share of them.

    They end within a day, at all seconds of it.
    """
    with fleet.engine.owner() as owner:
        owner.execute("CREATE TEMP TABLE given (number bigint, network cidr)")
        with owner.cursor().copy("COPY given FROM STDIN") as copy:
            for start in range(0, len(networks), 10_000):
                chunk = enumerate(networks[start : start + 10_000], start)
                copy.write("".join(f"{number}\t{network}\n" for number, network in chunk))
        owner.execute("SELECT setseed(%s)", (0.2026,))
        with owner.transaction():
            [(tick,)] = owner.execute("SELECT fleet.tick()").fetchall()
            owner.execute("SET LOCAL session_replication_role = replica")  # no triggers, no quota
            owner.execute(_MEMBERS, (_MOST, members - 1))
            owner.execute(_BANS, (members, RULE, tick))
        owner.execute("ANALYZE")
