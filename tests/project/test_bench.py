"""The benchmarks' own arithmetic: nothing is timed here."""

import json
import os
import time
from pathlib import Path

import pytest

from bench import report
from bench.bar import Bar
from bench.bars import BARS, GUARDS, verdict
from bench.inputs import addresses, more
from bench.life import life
from bench.logs import kernel_log, syslog
from bench.measure import Failed, Sample
from bench.results import Key, Results, Series, load
from bench.run import Bench, Subject
from bench.stats import Spread, ratios, spread
from bench.works.sources import copied

TOOL = Key("first apply, nftables", "nft -f", 100_000)
OURS = Key("first apply, nftables", "treason", 100_000)


def results(tool: list[float], ours: list[float]) -> Results:
    """Results of the two who load a hundred thousand bans, from their seconds."""
    made = Results({"kernel": "6.1"})
    made.add(Series(TOOL, [{"wall": each, "memory": 2e6} for each in tool]))
    made.add(Series(OURS, [{"wall": each, "memory": 1e6} for each in ours], TOOL))
    return made


def bar(limit: float, **more: object) -> Bar:
    """A bar for the ratio of the two."""
    return Bar("loading", limit, OURS, TOOL, **more)  # type: ignore[arg-type]  # the fields vary


def test_dd_tells_what_it_copied(tmp_path: Path) -> None:
    """The records of the last copy, and the seconds of all; one that copied nothing is none."""
    said = tmp_path / "said"
    once = "dd: error\n0+{} records in\n0+9 records out\n9 bytes copied, {} s, 1 MB/s\n"
    said.write_text(once.format(7, "0.25") + once.format(9, "2.5e-01"))
    assert copied(said) == (9, 0.5)
    said.write_text("dd: failed to open '/dev/kmsg': Operation not permitted\n")
    with pytest.raises(Failed, match="not permitted"):
        copied(said)


def test_a_spread_has_the_middle_of_the_figures() -> None:
    """An outlier moves the greatest, and not the middle."""
    assert spread([3.0, 1.0, 90.0]) == Spread(1.0, 3.0, 90.0, 3)


def test_ratios_are_taken_pair_by_pair() -> None:
    """What slows both of a pair leaves the ratio as it is."""
    assert ratios([2.0, 20.0, 3.0], [1.0, 10.0, 1.0]) == Spread(2.0, 2.0, 3.0, 3)
    assert ratios([], [1.0]) is None


@pytest.mark.parametrize(
    ("limit", "least", "met"), [(1.5, False, True), (1.4, False, False), (1.4, True, True)]
)
def test_a_bar_is_met_by_the_median_of_the_ratios(limit: float, least: bool, met: bool) -> None:
    """At most the limit, or at least."""
    measured = results([1.0, 1.0, 1.0], [1.5, 1.2, 9.0])
    assert (bar(limit, least=least).broken(measured) is None) is met


def test_a_broken_bar_names_work_ratio_and_limit() -> None:
    """In one line."""
    assert bar(1.0).broken(results([1.0], [3.0])) == "loading: 3 (limit: at most 1)"


def test_a_bar_without_figures_is_not_met() -> None:
    """What was not measured is no success."""
    assert bar(1.0).broken(Results()) == "loading: not measured (limit: at most 1)"
    assert "| loading | at most 1 | not measured | no |" in report.bars(Results(), [bar(1.0)])


def test_a_bar_may_limit_a_measure_itself() -> None:
    """In a unit of its own."""
    level = Bar("memory", 2.0, OURS, measure="memory", unit=1e6, suffix=" MB")
    assert report.bars(results([1.0], [1.0]), [level]).splitlines()[-1] == (
        "| memory | at most 2 MB | 1 MB (1 to 1) | yes |"
    )


def test_the_page_begins_with_the_bars_and_has_every_work_and_note() -> None:
    """Sections in the order in which they were measured."""
    measured = results([1.0, 2.0], [0.5, 1.0])
    measured.notes.append("fail2ban is not there")
    page = report.page(measured)
    found = [line for line in page.splitlines() if line.startswith("## ")]
    assert found == [
        "## Bars",
        "## How it was measured",
        "## First apply, nftables",
        "## Not measured",
        "## Machine",
    ]
    row = "| 100,000 | treason | 750 ms | 500 ms to 1 s | | 1 MB | 0.5 to nft -f | 2 |"
    assert row in page.replace("|  |", "| |")
    assert "- fail2ban is not there" in page
    assert "| kernel | 6.1 |" in page


def test_results_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    """Samples, references and notes."""
    measured = results([1.0], [2.0])
    measured.notes.append("a note")
    measured.save(tmp_path / "results.json")
    assert load(tmp_path / "results.json") == measured


def test_what_is_measured_besides_has_a_column() -> None:
    """The medians, by their names; without any there is no such column."""
    measured = results([1.0], [2.0])
    measured.add(Series(Key("rest", "treason", 1), [{"memory": 3e6, "wakes": 2}], None))
    page = report.page(measured)
    assert "| Besides |" not in page[: page.index("## Rest")]
    assert "wakes: 2 |" in page[page.index("## Rest") :]


def test_how_long_each_work_took_is_kept(tmp_path: Path) -> None:
    """For the plan of the next run; results from before tell nothing about it."""
    measured = results([1.0], [2.0])
    measured.took["scan"] = 7.5
    measured.save(tmp_path / "results.json")
    assert load(tmp_path / "results.json").took == {"scan": 7.5}
    document = json.loads((tmp_path / "results.json").read_text())
    del document["took"]
    (tmp_path / "results.json").write_text(json.dumps(document))
    assert load(tmp_path / "results.json").took == {}


def test_subjects_take_turns(tmp_path: Path) -> None:
    """A B A B, and each result knows whom it is compared with."""
    order: list[str] = []

    def turn(name: str) -> Sample:
        order.append(name)
        return {"wall": 1.0}

    bench = Bench(tmp_path)
    one = Subject("one", 10, lambda: turn("one"))
    bench.compare("work", [one, Subject("two", 10, lambda: turn("two"), ("one", 10))], rounds=2)
    assert order == ["one", "two", "one", "two"]
    ratio = bench.results.ratio(Key("work", "two", 10), Key("work", "one", 10))
    assert ratio == Spread(1.0, 1.0, 1.0, 2)


def test_who_fails_is_left_out_and_told(tmp_path: Path) -> None:
    """The others go on."""

    def fail() -> Sample:
        raise Failed("program not found")

    bench = Bench(tmp_path)
    subjects = [Subject("bad", 10, fail), Subject("good", 10, lambda: {"wall": 1.0})]
    bench.compare("work", subjects, rounds=2)
    assert [key.subject for key in bench.results.series] == ["good"]
    assert bench.results.notes == ["work: bad, 10: program not found"]


def test_addresses_are_distinct_and_always_the_same() -> None:
    """Fewer are the beginning of more, and the spare ones are others."""
    many = addresses(2_000)
    assert len(set(many)) == 2_000
    assert addresses(10) == many[:10]
    assert not set(more(0, 1_000)) & set(many)


def test_messages_have_a_stamp_each() -> None:
    """Lines that share one are parts of one message, and so is what the next call gives."""
    written = syslog(addresses(3)) + syslog(addresses(2))
    stamps = [line.partition("[")[2].partition("]")[0] for line in written.splitlines()]
    assert stamps == sorted(set(stamps))
    assert len(stamps) == 5


def test_a_process_is_found_to_have_waited() -> None:
    """Each wait that something else ends is a wake-up; memory is that of now."""
    before = life(os.getpid())
    for _ in range(20):
        time.sleep(0.001)
    after = life(os.getpid())
    assert after.wakes >= before.wakes + 20
    assert after.cpu >= before.cpu
    assert after.memory > 1_000_000


def test_one_line_in_a_hundred_is_about_a_peer(tmp_path: Path) -> None:
    """One of ten of these about a peer that was there."""
    log = tmp_path / "log"
    kernel_log(log, 10_000)
    found = [line for line in log.read_text().splitlines() if "Treason uncloaked" in line]
    assert (len(found), len({line.partition("Peer")[2] for line in found})) == (100, 90)


def test_a_broken_guard_fails_the_quick_run() -> None:
    """Each in a line of its own, before the sum."""
    lines, code = verdict(results([1.0], [9.0]), complete=False)
    assert code == 1
    assert lines == [
        "first apply, nftables, 100,000 bans, to `nft -f`: 9 (limit: at most 3)",
        f"bench-quick: 1 guards, 1 broken; {len(GUARDS) - 1} more need root of the machine",
    ]


def test_what_root_did_not_measure_is_broken() -> None:
    """Others are only told that it was left out."""
    measured = results([1.0], [1.0])
    lines, code = verdict(measured, complete=True)
    assert (len(lines), code) == (len(GUARDS), 1)
    assert verdict(measured, complete=False)[1] == 0


def test_every_guard_is_milder_than_its_bar() -> None:
    """The quick run forgives noise, and measures only what it can afford."""
    limits = {b.work: b.limit for b in BARS}
    for guard in GUARDS:
        assert guard.limit >= limits.get(guard.work, 0)
        assert "1,000,000 bans" not in guard.work
