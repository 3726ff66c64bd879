"""The results as a page: the bars first, then a table for each work."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bench import plots
from bench.bar import Bar
from bench.bars import BARS
from bench.results import Results, Series

_HEAD: Final = """\
# Results

Written by `make bench` in one run; every figure is from it, and the raw samples are in
[results.json](results.json).

## Bars
"""
_METHOD: Final = """\
## How it was measured

Subjects take turns (A B A B), each in a network namespace of its own, new where something is
applied for the first time. A run is a whole process from its start to its end. A ratio is taken
within every round, between two that took their turns in it; the table gives the median of these.
Spread is from the least to the greatest. CPU is user and system time of all processes of a run;
memory is the peak of the greatest of them, and less than about 10 MB cannot be told from it.
`treason` reads its database, which holds the same addresses as the scripts of the tools; protection
is switched off, no source is read, and the pass is verified as always. fail2ban and crowdsec run
privately, as Debian packages them, with what their rows need and nothing else; their CPU is that of
what runs in the background, crowdsec's bouncer asks once a second instead of every ten, where its
row says nothing else. fail2ban reads its log with pyinotify, which it likes best, where its row
does not say "polling". One offender is a line that is appended to a log, until the kernel tells of
the new element; everybody stands in a namespace of his own and takes turns, and crowdsec reads the
log itself there, with a scenario that needs one line. "No more than a commit" is a program that
waits for the log and sends the address of its line to the kernel, and neither judges nor stores. A
daemon that goes on is told of so many offences by a thousand offenders, a thousand lines at a time,
and then each of so many elements is deleted by somebody, and back before the next; its brake is
taken out, which else would let it repair a few times a second. The fleet's hosts stand in
namespaces on one bridge, PostgreSQL in another one; it waits for the disk at each commit, and all
goes by TLS. One ban is measured from the drop in the kernel of the host that found the offender to
the drop in the other's, "line" from the line in its log. A thousand members are a thousand
connections in two processes, each of which waits and asks as a feed does. A million bans end within
a day; the time is that of the feed's first reading and of the pass, the memory that of the pass
alone, which is verified against the whole list. PostgreSQL is away until those that wait for it do
so as after an hour; the time begins when it lets members in. `ipset restore` is run plainly;
treason gives it `RES_OPTIONS=no-reload`, without which it looks at the resolver's file with each
address. "No size" is a set that grows; the others are declared large enough, which is faster. The
kernel's buffer is read again and again until 100,000 records came: by dd, which tells how long it
took, as many times, and by one process of the source; none of them holds a message about a peer,
one in a hundred of the journal's does. "Without the starts" is what dd says, and what treason takes
once Python and its modules are there (of /dev/kmsg the processor's time, since dd is too short to
be interrupted). The peers that keep the kernel telling are one program behind a TUN device: they
let the server's segments be small, shrink their windows, and acknowledge one by one; a daemon's
share is what it takes until the attacker among them is dropped, and not the pass behind that.
Healthy traffic is 375 MB, which the sender itself limits to 1 Gbit/s; wake-ups are all that the
kernel told meanwhile.
"""


_PROFILES: Final = """\
## Where the time goes

Under `cProfile`, which makes Python's own part slower than it is. In the first apply of nftables
the greatest part is the kernel's, which makes the sets inside the one call that sends the
transaction; then come the rows of the database, and the spreading over sixteen sets. With iptables
the time is that of `iptables-restore` and of the start of a Python program with its modules (about
90 ms). A scan costs this start as well, which is more than twice what `grep` needs for all; the
rest is spent on the ten thousand offences, which are decided on and stored, each in two tables.
"""

_COSTS: Final = {"wall", "cpu", "memory"}


def write(results: Results, directory: Path) -> None:
    """Write the page, the pictures and the raw samples."""
    results.save(directory / "results.json")
    pictures = plots.draw(results, directory / plots.DIRECTORY)
    (directory / "RESULTS.md").write_text(page(results, pictures))


def page(results: Results, pictures: Iterable[str] = ()) -> str:
    """Return the whole page."""
    parts = [_HEAD, bars(results, BARS), _METHOD]
    works = dict.fromkeys(key.work for key in results.series)
    for work in works:
        parts += [f"## {work[0].upper()}{work[1:]}\n", table(results, list(results.of(work)))]
    if results.profiles:
        told = (f"### {name}\n\n{_profile(each)}" for name, each in results.profiles.items())
        parts += [_PROFILES, *told]
    if results.notes:
        parts += ["## Not measured\n", "".join(f"- {note}\n" for note in results.notes)]
    if pictures:
        shown = (f"![{name.partition('.')[0]}]({plots.DIRECTORY}/{name})\n" for name in pictures)
        parts += ["## Pictures\n", *shown]
    if results.took:
        took = ((name, f"{seconds:.0f} s") for name, seconds in results.took.items())
        parts += ["## How long each work took\n", render(("Work", "Time"), took)]
    machine = ((name, value) for name, value in results.machine.items())
    parts += ["## Machine\n", render(("", ""), machine)]
    return "\n".join(parts)


def bars(results: Results, wanted: Iterable[Bar]) -> str:
    """Return the table of the bars."""
    return render(("Work", "Bar", "Measured", "Met"), (list(_bar(results, bar)) for bar in wanted))


def table(results: Results, series: Sequence[Series]) -> str:
    """Return the table of one work."""
    if any(each.figures("packets") for each in series):
        head: tuple[str, ...] = ("Size", "Subject", "Packets a second", "Spread", "Ratio", "Rounds")
        return render(head, (list(_packets(results, each)) for each in series))
    head = ("Size", "Subject", "Wall", "Spread", "CPU", "Memory", "Ratio", "Rounds")
    rows = [[*_costs(results, each)] for each in series]
    others = [_others(results, each) for each in series]
    if any(others):
        head = (*head, "Besides")
        rows = [[*row, other] for row, other in zip(rows, others, strict=True)]
    return render(head, rows)


def render(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    written = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in written)


def _profile(seconds_by: Mapping[str, float]) -> str:
    whole = sum(seconds_by.values())
    rows = ((f"{took / whole:.0%}", seconds(took), name) for name, took in seconds_by.items())
    return render(("Share", "Seconds", "Function"), rows)


def _bar(results: Results, bar: Bar) -> Iterator[str]:
    figure = bar.figure(results)
    yield bar.work
    yield bar.told()
    if figure is None:
        yield from ("not measured", "no")
        return
    low, high = f"{figure.low:.3g}", f"{figure.high:.3g}"
    yield f"{figure.median:.3g}{bar.suffix} ({low} to {high})"
    yield "yes" if bar.met(figure) else "**no**"


def _packets(results: Results, series: Series) -> Iterator[str]:
    yield f"{series.key.size:,}"
    yield series.key.subject
    rate = results.spread(series.key, "packets")
    yield f"{rate.median:,.0f}" if rate else ""
    yield f"{rate.low:,.0f} to {rate.high:,.0f}" if rate else ""
    yield _ratio(results, series, "packets")
    yield str(len(series.samples))


def _costs(results: Results, series: Series) -> Iterator[str]:
    yield f"{series.key.size:,}"
    yield series.key.subject
    wall = results.spread(series.key, "wall")
    yield seconds(wall.median) if wall else ""
    yield f"{seconds(wall.low)} to {seconds(wall.high)}" if wall else ""
    cpu = results.spread(series.key, "cpu")
    yield seconds(cpu.median) if cpu else ""
    memory = results.spread(series.key, "memory")
    yield f"{memory.median / 1e6:.0f} MB" if memory else ""
    yield _ratio(results, series, "wall")
    yield str(len(series.samples))


def _others(results: Results, series: Series) -> str:
    """Return the medians of what is measured besides."""
    names = dict.fromkeys(name for sample in series.samples for name in sample)
    spreads = ((name, results.spread(series.key, name)) for name in names if name not in _COSTS)
    return "; ".join(f"{name}: {each.median:,.4g}" for name, each in spreads if each)


def _ratio(results: Results, series: Series, measure: str) -> str:
    if series.reference is None:
        return ""
    ratio = results.ratio(series.key, series.reference, measure)
    if ratio is None:
        return ""
    reference = series.reference
    differs = reference.subject != series.key.subject
    return f"{ratio.median:.3g} to {reference.subject if differs else f'{reference.size:,}'}"


def seconds(value: float) -> str:
    """Write a time in a unit that suits it, with three digits."""
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"
