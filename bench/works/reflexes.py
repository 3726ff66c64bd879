"""What others do to the table, and how soon the reflexes have undone it.

A set that others flush is compared with the same elements loaded plainly, by the same messages, in
a namespace where nobody listens. A time begins when the commit of the others has returned.
"""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final, Self

from backends.nftables import expressions, layout
from backends.nftables import statements as nft
from backends.nftables.backend import Nftables
from bench.inputs import hosts
from bench.measure import PYTHON, Failed, Sample
from bench.run import Bench, Subject
from reconciler.host.netns import Namespace
from reconciler.model import Change, Desired, Plan
from reconciler.netlink import CREATE, Connection, Message, number, text

FLUSHED: Final = "a set flushed by others"
PLAIN: Final = "plain netlink load"
ADDED: Final = "one ban by reflex"
ELSEWHERE: Final = "commits elsewhere"
_BANS: Final = 1_000
_COMMITS: Final = 1_000
"""In about a second."""

_FREED: Final = 1e-6
"""Seconds in which the kernel frees an element, and more."""

_CHAIN: Final = text(2, layout.CHAIN)
_ACCEPT: Final = nft.Rule("accept", expressions.decide(expressions.ACCEPT))


def _inserted() -> list[Message]:
    """Return what puts the rule `accept` ahead of all others."""
    return [
        Message(each.kind, each.family, each.body, CREATE)
        for each in _ACCEPT.messages(layout.CHAIN)
    ]


DAMAGES: Final[dict[str, Sequence[Message]]] = {
    "a chain emptied": [nft.message(8, _CHAIN)],  # NFT_MSG_DELRULE, of all rules
    "an accept inserted": _inserted(),
    "a table dormant": [nft.message(nft.NEW_TABLE, number(2, 1))],  # NFT_TABLE_F_DORMANT
    "a table deleted": [nft.message(nft.DELETE_TABLE)],
}


class _Table:
    """A namespace with the table in it, and somebody in it who changes what he likes."""

    def __init__(self, size: int) -> None:
        self.desired = Desired(hosts(size))
        self.namespace = Namespace()
        with self.namespace.entered():
            backend = Nftables()
            damage = backend.observe().damage
            backend.apply(Plan(Change(self.desired.banned), Change(), damage, self.desired))
            self.somebody = Connection()
        shape = layout.shape_for(self.desired)
        sets = shape.hosts(4)
        parts = layout.spread(self.desired.banned.hosts(4), sets)
        self.flush = [nft.message(nft.DELETE_ELEMENT, text(2, each.name)) for each in sets]
        self.load = [
            message
            for each, part in zip(sets, parts, strict=True)
            for message in nft.Hosts(each, part).messages()
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.namespace.close()

    def loaded(self) -> Sample:
        """Flush, and measure the load of the same elements, once the kernel has freed the old."""
        self.somebody.commit(self.flush)
        time.sleep(_FREED * len(self.desired.banned))
        return _timed(partial(self.somebody.commit, self.load))


class _Guarded(_Table):
    """The same with reflexes, in a process of their own."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        with self.namespace.entered():
            self._process = subprocess.Popen(
                [PYTHON, "-m", "bench.reflex", str(size)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self.other = Connection()
        if self._line() != "ready\n":
            raise Failed("the reflexes do not begin")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        super().__exit__()

    def restored(self, damage: Sequence[Message]) -> Sample:
        """Do damage, and measure from its end until it is undone."""
        self.somebody.commit(damage)
        returned = time.perf_counter()
        moment, _, _ = self._line().partition(" ")
        _, cpu = self.ask("cost").split()
        return {"wall": max(float(moment) - returned, 0.0), "cpu": float(cpu)}

    def added(self) -> Sample:
        """Measure one ban more."""
        return {"wall": float(self.ask("add"))}

    def undisturbed(self) -> Sample:
        """Commit elsewhere, a thousand times in a second, and count how often they wake."""
        self.ask("cost")
        table = text(1, "other")
        made = Message(nft.message(nft.NEW_TABLE).kind, 1, table, CREATE)
        started = time.perf_counter()
        for turn in range(_COMMITS):
            named = Message(nft.message(nft.NEW_CHAIN).kind, 1, table + text(3, f"c{turn}"), CREATE)
            self.somebody.commit([made, named])
            time.sleep(max(0.0, started + (turn + 1) / _COMMITS - time.perf_counter()))
        wall = time.perf_counter() - started
        wakes, cpu = self.ask("cost").split()
        self.somebody.commit([Message(nft.message(nft.DELETE_TABLE).kind, 1, table)])
        return {"wall": wall, "cpu": float(cpu), "wakes": float(wakes)}

    def ask(self, what: str) -> str:
        """Ask the process for something, and return its answer."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{what}\n")
            self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise Failed("the reflexes ended")
        return line


def measure(bench: Bench) -> None:
    """Flush sets of three sizes; with a thousand bans, all other damage."""
    for size in (100, *bench.sizes(100_000, 1_000_000)[: 1 if bench.quick else 2]):
        with ExitStack() as stack:
            plain, guarded = stack.enter_context(_Table(size)), stack.enter_context(_Guarded(size))
            bench.compare(FLUSHED, [*_flushed(size, plain, guarded)], rounds=_rounds(size))
        bench.settle(size)
    with _Guarded(_BANS) as guarded:
        for name, damage in DAMAGES.items():
            turn = partial(guarded.restored, damage)
            bench.compare(name, [Subject("treason", _BANS, turn)], rounds=_rounds(_BANS))
        bench.compare(ADDED, [Subject("treason", _BANS, guarded.added)])
        bench.compare(ELSEWHERE, [Subject("treason", _COMMITS, guarded.undisturbed)], rounds=3)


def _rounds(size: int) -> int:
    return 101 if size < 100_000 else 7


def _flushed(size: int, plain: _Table, guarded: _Guarded) -> Iterator[Subject]:
    yield Subject(PLAIN, size, plain.loaded)
    yield Subject("treason", size, partial(guarded.restored, guarded.flush), (PLAIN, size))


def _timed(work: Callable[[], object]) -> Sample:
    started, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall": time.perf_counter() - started, "cpu": time.process_time() - cpu}
