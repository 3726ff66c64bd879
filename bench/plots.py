"""The results as pictures, drawn with matplotlib (the extra ``bench``)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from bench.results import Key, Results

DIRECTORY: Final = "plots"
_WIDTH, _HEIGHT = 7.0, 4.2  # inches
_DPI: Final = 120
_UNITS: Final = {"wall": (1.0, "seconds"), "memory": (1e6, "MB, peak")}


@frozen
class Lines:
    """A picture of one measure over the number of bans: who did what, by the line's label."""

    file: str
    title: str
    measure: str
    subjects: Mapping[str, tuple[str, str]]


_APPLY: Final = {
    "treason, nftables": ("first apply, nftables", "treason"),
    "nft -f": ("first apply, nftables", "nft -f"),
    "nft -f, no size": ("first apply, nftables", "nft -f, no size"),
    "treason, ipset": ("first apply, ipset", "treason"),
    "ipset restore": ("first apply, ipset", "ipset restore"),
    "treason, iptables-nft": ("first apply, iptables-nft", "treason"),
    "iptables-nft-restore": ("first apply, iptables-nft", "iptables-nft-restore"),
    "treason, file": ("first apply, file", "treason"),
}
_PASSES: Final = {
    "treason, unchanged": ("unchanged, nftables", "treason"),
    "treason, --check": ("check, nftables", "treason"),
    "treason, ten more": ("ten more, nftables", "treason"),
    "treason, --full": ("full, nftables", "treason"),
    "nft -j list set": ("full, nftables", "nft -j list set"),
    "ten more with nft -f": ("ten more, nftables", "nft -f"),
}
_LOG: Final = {
    name: ("from log to kernel", name)
    for name in (
        "treason",
        "original script, iptables-nft",
        "original script, iptables-legacy",
        "fail2ban",
        "crowdsec",
    )
}
PICTURES: Final = (
    Lines("first-apply.png", "First apply", "wall", _APPLY),
    Lines("memory.png", "First apply: memory", "memory", _APPLY),
    Lines("passes.png", "Later passes, nftables", "wall", _PASSES),
    Lines("from-log.png", "From log to kernel", "wall", _LOG),
)


def draw(results: Results, directory: Path) -> list[str]:
    """Draw all pictures for which there are figures; give their names."""
    directory.mkdir(exist_ok=True)
    drawn = [picture.file for picture in PICTURES if _lines(results, picture, directory)]
    return drawn + (["packets.png"] if _packets(results, directory / "packets.png") else [])


def points(results: Results, work: str, subject: str, measure: str) -> list[tuple[int, float]]:
    """Return sizes and medians of one subject, in order."""
    sizes = sorted(key.size for key in results.series if (key.work, key.subject) == (work, subject))
    spreads = ((size, results.spread(Key(work, subject, size), measure)) for size in sizes)
    return [(size, spread.median) for size, spread in spreads if spread]


def _lines(results: Results, picture: Lines, directory: Path) -> bool:
    unit, name = _UNITS[picture.measure]
    curves = {
        label: points(results, *subject, picture.measure)
        for label, subject in picture.subjects.items()
    }
    if not any(curves.values()):
        return False
    figure, axes = _figure(picture.title)
    for label, curve in curves.items():
        if curve:
            style = "o-" if label.startswith("treason") else "o--"
            sizes, values = zip(*curve, strict=True)
            axes.plot(sizes, [each / unit for each in values], style, markersize=3, label=label)
    axes.set(xscale="log", yscale="log", xlabel="bans", ylabel=name)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(directory / picture.file, dpi=_DPI)
    return True


def _packets(results: Results, path: Path) -> bool:
    found = list(results.of("packets that pass"))
    if not found:
        return False
    figure, axes = _figure("Packets that pass beside 10,000 bans")
    rates = {
        each.key.subject: spread.median / 1000
        for each in reversed(found)
        if (spread := results.spread(each.key, "packets"))
    }
    axes.barh(list(rates), list(rates.values()))
    axes.set(xlabel="thousand packets a second")
    figure.savefig(path, dpi=_DPI)
    return True


def _figure(title: str) -> tuple[Any, Any]:
    """Return an empty picture; matplotlib's types are not at hand where the extra is missing."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who draws needs the extra

    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes
