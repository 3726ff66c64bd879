"""The bars: which ratio is to be reached, and whether it was; and the guards of the quick run."""

from typing import Final

from attrs import evolve

from bench import bpf_bars, fleet_bars, resident_bars
from bench.bar import Bar
from bench.results import Key, Results

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


_COMPLETING: Final = Bar(
    "bans completed out of 100,000, to `treason --version`",
    2.5,
    Key("completing", "treason complete", 100_000),
    Key("completing", "treason --version", 100_000),
)

_CONFIRMING: Final = Bar(
    "1,000 messages confirmed beside 10,000 sockets, in process",
    50,
    Key("confirming messages", _TREASON, 1_000),
    unit=0.001,
    suffix=" ms",
)


def _from_list(size: int, limit: float, measure: str = "wall") -> Bar:
    work = "from a list to the kernel"
    keys = Key(work, _TREASON, size), Key(work, "nft -f", size)
    name = f"a list of {size:,} to the kernel, to `nft -f`"
    return Bar(name if measure == "wall" else "its peak memory", limit, *keys, measure=measure)


_UNCHANGED_LIST: Final = Bar(
    "unchanged beside a list of 100,000, to as many bans without feeds",
    1.2,
    Key("unchanged beside a list", _TREASON, 100_000),
    Key("unchanged beside a list", "treason, bans of its own", 100_000),
)
_CHANGED_LIST: Final = Bar(
    "100 of a list of 100,000 changed, in force by a pass",
    0.5,
    Key("100 of a list changed", _TREASON, 100_000),
    suffix=" s",
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
    _COMPLETING,
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
    _UNCHANGED_LIST,
    _CHANGED_LIST,
    _from_list(1_000_000, 1.5),
    _from_list(1_000_000, 0.4, "memory"),
    *_SOCKETS,
    *bpf_bars.BARS,
    *resident_bars.BARS,
    *fleet_bars.BARS,
    _CONFIRMING,
    Bar(
        "the database after 60,000 bans came and went, to its greatest size",
        0.25,
        Key("came and went", _TREASON, 60_000),
        measure="size",
    ),
)
"""What must be reached, in the order in which it was asked for."""

_SCANNED: Final = {"wall": 9, "memory": 2.5}
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
    evolve(_COMPLETING, limit=2 * _COMPLETING.limit),
    *(evolve(bar, limit=bar.limit * _SCANNED[bar.measure]) for bar in BARS if bar.key == _SCAN),
    *(evolve(bar, limit=2 * bar.limit) for bar in (*_NEIGHBOURS, _ROUTES, _LISTS)),
    evolve(_UNCHANGED_LIST, limit=2 * _UNCHANGED_LIST.limit),
    evolve(_CHANGED_LIST, limit=5 * _CHANGED_LIST.limit),
    _from_list(100_000, 3),
    evolve(_CONFIRMING, limit=5 * _CONFIRMING.limit, measure="cpu"),
    *(evolve(bar, limit=2 * bar.limit) for bar in _SOCKETS if bar.key.size != 50_000),
    *bpf_bars.GUARDS,
    *resident_bars.GUARDS,
    *fleet_bars.GUARDS,
)
"""What no change may break: about twice the bars, in sizes that a quick run can afford.

Five times where a bar is in seconds: some machines are half as fast as others.
"""


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
