"""The bars: which ratio is to be reached, and whether it was; and the guards of the quick run."""

from typing import Final

from attrs import evolve, frozen

from bench.results import Key, Results
from bench.stats import Spread


@frozen
class Bar:
    """A figure and its limit.

    The figure is a ratio where ``reference`` names the subject to divide by, else the measure
    itself, divided by ``unit``. ``least`` says that it must be at least, not at most, the limit.
    """

    work: str
    limit: float
    key: Key
    reference: Key | None = None
    measure: str = "wall"
    least: bool = False
    unit: float = 1
    suffix: str = ""

    def figure(self, results: Results) -> Spread | None:
        """Return what was measured; None if it was not."""
        if self.reference:
            return results.ratio(self.key, self.reference, self.measure)
        found = results.spread(self.key, self.measure)
        if found is None:
            return None
        low, middle, high = (f / self.unit for f in (found.low, found.median, found.high))
        return Spread(low, middle, high, found.count)

    def met(self, figure: Spread) -> bool:
        """Return whether the median is within the limit."""
        return figure.median >= self.limit if self.least else figure.median <= self.limit

    def told(self) -> str:
        """Return the limit as text."""
        return f"at {'least' if self.least else 'most'} {self.limit:g}{self.suffix}"

    def broken(self, results: Results) -> str | None:
        """Return in one line why the bar is not met; None if it is."""
        figure = self.figure(results)
        if figure is None:
            return f"{self.work}: not measured (limit: {self.told()})"
        if self.met(figure):
            return None
        return f"{self.work}: {figure.median:.3g}{self.suffix} (limit: {self.told()})"


_TREASON: Final = "treason"
_SCAN: Final = Key("scan", "treason scan", 1_000_000)


def _first(backend: str, size: int, tool: str, limit: float) -> Bar:
    work = f"first apply, {backend}"
    keys = Key(work, _TREASON, size), Key(work, tool, size)
    return Bar(f"{work}, {size:,} bans, to `{tool}`", limit, *keys)


def _sizes(work: str, size: int, limit: float) -> Bar:
    name = f"{work}, nftables"
    keys = Key(name, _TREASON, size), Key(name, _TREASON, 10)
    return Bar(f"{name}, with {size:,} bans, to 10 bans", limit, *keys)


def _full(size: int, limit: float) -> Bar:
    tool = "nft -j list set"
    keys = Key("full, nftables", _TREASON, size), Key("full, nftables", tool, size)
    return Bar(f"`--full`, nftables, {size:,} bans, to `{tool}`", limit, *keys)


def _start(command: str, limit: float) -> Bar:
    keys = Key("start-up", command, 10), Key("start-up", "python3 -c pass", 10)
    return Bar(f"`{command}` to `python3 -c pass`", limit, *keys)


def _reading(carrier: str, tool: str, how: str = "") -> Bar:
    work = f"reading {carrier}{how}"
    keys = Key(work, _TREASON, 100_000), Key(work, tool, 100_000)
    return Bar(f"100,000 records: {work}, to `{tool}`", 2.5, *keys)


def _beside(whom: str, limit: float) -> Bar:
    keys = (
        Key("one ban beside others", f"{_TREASON}, {whom}", 1),
        Key("one ban beside others", f"{_TREASON}, alone", 1),
    )
    return Bar(f"one ban {whom}, to alone", limit, *keys)


_NEIGHBOURS: Final = (
    _beside("beside 20,000 rules", 1.3),
    _beside("beside a commit every 0.3 s", 2),
    Bar(
        "reading our structure, 16 shards, in process, to `nft -t list ruleset`",
        0.5,
        Key("reading the structure", _TREASON, 150_000),
        Key("reading the structure", "nft -t list ruleset", 150_000),
    ),
)

_ROUTES: Final = Bar(
    "an unchanged pass beside 50,000 routes: CPU time more than beside 10",
    60,
    Key("beside routes", _TREASON, 50_000),
    measure="more",
    unit=0.001,
    suffix=" ms",
)

_LISTS: Final = Bar(
    "1,000 bans given at once with 2,000 whitelisted networks, to none",
    1.5,
    Key("many bans by hand", "treason, 2,000 whitelisted", 1_000),
    Key("many bans by hand", "treason, no whitelist", 1_000),
)


def _sockets(size: int, limit: float) -> Bar:
    keys = Key("looking at sockets", _TREASON, size), Key("looking at sockets", "ss -tinH", size)
    return Bar(f"{size:,} sockets, dumped and judged in process, to `ss -tinH`", limit, *keys)


_SOCKETS: Final = (
    _sockets(10_000, 0.35),
    _sockets(50_000, 0.3),
    Bar(
        "one socket, asked for exactly",
        25,
        Key("asking for one socket", _TREASON, 1),
        unit=1e-6,
        suffix=" µs",
    ),
)


def _restored(size: int, limit: float) -> Bar:
    work = "a set flushed by others"
    keys = Key(work, _TREASON, size), Key(work, "plain netlink load", size)
    return Bar(f"{size:,} bans, flushed by others, restored, to the plain load", limit, *keys)


def _damaged(work: str, limit: float, size: int = 1_000) -> Bar:
    key = Key(work, _TREASON, size)
    return Bar(f"{work}, {size:,} bans: restored", limit, key, unit=1e-3, suffix=" ms")


_REFLEXES: Final = (
    _damaged("a set flushed by others", 1, 100),
    *(
        _damaged(work, 10)
        for work in ("a chain emptied", "an accept inserted", "a table dormant", "a table deleted")
    ),
    Bar(
        "one ban more by reflex, beside 1,000",
        0.2,
        Key("one ban by reflex", _TREASON, 1_000),
        unit=1e-3,
        suffix=" ms",
    ),
    Bar(
        "1,000 commits a second in other tables: times that the reflexes wake",
        0,
        Key("commits elsewhere", _TREASON, 1_000),
        measure="wakes",
    ),
)


def _memory(size: int, limit: float) -> Bar:
    key = Key("ready after start", _TREASON, size)
    name = f"an idle daemon with {size:,} bans: resident memory"
    return Bar(name, limit, key, measure="memory", unit=1e6, suffix=" MB")


def _told(work: str, limit: float) -> Bar:
    return Bar(work, limit, Key(work, _TREASON, 10), unit=1e-3, suffix=" ms")


_APPENDED: Final = "from a line appended to an element in force"
_RESIDENT: Final = (
    _told("from a kernel message to an element in force", 3),
    _told(_APPENDED, 1),
    Bar(
        f"{_APPENDED}, beside 1,000,000 bans, to 10",
        1.3,
        Key(_APPENDED, _TREASON, 1_000_000),
        Key(_APPENDED, _TREASON, 10),
    ),
    Bar(
        f"{_APPENDED}, each commit 500 ms slower",
        1.3,
        Key(_APPENDED, "each commit 500 ms slower", 10),
        unit=1e-3,
        suffix=" ms",
    ),
    Bar(
        "10,000 offenders in a second: all in force after the last line",
        1,
        Key("10,000 offenders in a second", _TREASON, 10_000),
        suffix=" s",
    ),
    Bar(
        "an idle daemon: wake-ups in a minute",
        0,
        Key("an idle daemon", _TREASON, 10),
        measure="wakes",
    ),
    _memory(10, 22),
    _memory(100_000, 30),
    _memory(1_000_000, 60),
    Bar(
        "ready after start, 1,000,000 bans in force already",
        0.3,
        Key("ready after start", _TREASON, 1_000_000),
        suffix=" s",
    ),
)

_CONFIRMING: Final = Bar(
    "1,000 messages confirmed beside 10,000 sockets, in process",
    50,
    Key("confirming messages", _TREASON, 1_000),
    unit=0.001,
    suffix=" ms",
)

BARS: Final = (
    _first("nftables", 100_000, "nft -f", 1.5),
    _first("nftables", 1_000_000, "nft -f", 1.0),
    evolve(
        _first("nftables", 1_000_000, "nft -f", 0.5),
        work="its peak memory",
        measure="memory",
    ),
    _sizes("unchanged", 100_000, 1.3),
    _sizes("unchanged", 1_000_000, 1.3),
    _sizes("ten more", 1_000_000, 1.5),
    _full(100_000, 1.0),
    _full(1_000_000, 0.15),
    _first("ipset", 100_000, "ipset restore", 1.6),
    _first("ipset", 1_000_000, "ipset restore", 1.4),
    _first("iptables-nft", 10_000, "iptables-nft-restore", 2.0),
    Bar(
        "one more rule on top of 10,000: rules that the kernel kept as they were",
        100,
        Key("one more rule", _TREASON, 10_000),
        measure="kept",
        least=True,
        unit=0.01,
        suffix=" %",
    ),
    Bar(
        "5,000 bans from log file to kernel: fail2ban to treason",
        50,
        Key("from log to kernel", "fail2ban", 5_000),
        Key("from log to kernel", _TREASON, 5_000),
        least=True,
    ),
    _start("treason --version", 6),
    _start("treason --help", 6),
    _start("treason reconcile --check", 13),
    Bar(
        "1,000,000 lines of 139 MB to bans in the database, to `grep -oP | sqlite3 .import`",
        3,
        _SCAN,
        Key("scan", "grep -oP, sqlite3 .import", 1_000_000),
    ),
    Bar("its peak memory", 60, _SCAN, measure="memory", unit=1e6, suffix=" MB"),
    _reading("/dev/kmsg", "dd", ", without the starts"),
    _reading("the journal", "journalctl -k -o cat --grep"),
    *_NEIGHBOURS,
    _ROUTES,
    _LISTS,
    *_SOCKETS,
    *_REFLEXES,
    *_RESIDENT,
    _restored(100_000, 1.3),
    _restored(1_000_000, 1.3),
    _CONFIRMING,
    Bar(
        "the database after 60,000 bans came and went, to its greatest size",
        0.25,
        Key("came and went", _TREASON, 60_000),
        measure="size",
    ),
)
"""What must be reached, in the order in which it was asked for."""

_SCANNED: Final = {"wall": 6, "memory": 2.5}
"""How far a scan may be from its bars: it takes ten times as long as the tools, not three."""

GUARDS: Final = (
    _first("nftables", 100_000, "nft -f", 3),
    _sizes("unchanged", 100_000, 2),
    _sizes("ten more", 100_000, 2.5),
    _full(100_000, 2),
    _first("ipset", 100_000, "ipset restore", 3.2),
    _first("iptables-nft", 10_000, "iptables-nft-restore", 4),
    *(bar for bar in BARS if bar.measure in {"kept", "size"}),
    _start("treason --version", 12),
    _start("treason --help", 12),
    _start("treason reconcile --check", 26),
    *(evolve(bar, limit=bar.limit * _SCANNED[bar.measure]) for bar in BARS if bar.key == _SCAN),
    *(evolve(bar, limit=2 * bar.limit) for bar in (*_NEIGHBOURS, _ROUTES, _LISTS)),
    evolve(_CONFIRMING, limit=2 * _CONFIRMING.limit, measure="cpu"),
    *(evolve(bar, limit=2 * bar.limit) for bar in _SOCKETS if bar.key.size != 50_000),
    *(evolve(bar, limit=5 * bar.limit) for bar in _REFLEXES),
    *(evolve(bar, limit=1.3 * bar.limit) for bar in (_memory(10, 22), _memory(100_000, 30))),
    evolve(_told(_APPENDED, 1), limit=20),
    _restored(100_000, 2.6),
    evolve(_restored(100_000, 2.6), measure="cpu"),  # a busy machine adds to the waits of two
)
"""What no change may break: about twice the bars, in sizes that a quick run can afford."""


def verdict(results: Results, *, complete: bool) -> tuple[list[str], int]:
    """Return which guards are broken, in a line each, and give the exit code.

    In a user namespace the kernel takes no great transactions, from no program. Where the
    results are not ``complete`` for this, guards without figures are not held against treason.
    """
    guards = [guard for guard in GUARDS if complete or guard.figure(results)]
    broken = [line for guard in guards if (line := guard.broken(results))]
    summary = f"bench-quick: {len(guards)} guards, {len(broken)} broken"
    if len(guards) < len(GUARDS):
        summary += f"; {len(GUARDS) - len(guards)} more need root of the machine"
    return [*broken, summary], 1 if broken else 0
