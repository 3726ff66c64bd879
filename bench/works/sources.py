"""The sources that are no files: 100,000 records, beside the tools that only copy them."""

import re
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from bench.inputs import sync
from bench.logs import kernel_texts
from bench.measure import PYTHON, Failed, Sample
from bench.measure import measure as run
from bench.results import Key, Series
from bench.run import Bench, Subject
from reconciler import execute
from reconciler.detection.detect import RULES

SIZE: Final = 100_000
KMSG: Final = "reading /dev/kmsg"
JOURNAL: Final = "reading the journal"
ALONE: Final = ", without the starts"
DD: Final = "dd"
JOURNALCTL: Final = "journalctl -k -o cat --grep"
TREASON: Final = "treason"
_REMOTE: Final = "/lib/systemd/systemd-journal-remote"
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
# cat would wait for more at the end; dd ends there, with an error.
_COPY: Final = """\
i=0
while [ $i -lt $1 ]; do
    dd if=/dev/kmsg iflag=nonblock bs=8192 of=/dev/null
    i=$((i + 1))
done 2> "$2"
"""


def measure(bench: Bench) -> None:
    """Read the kernel's own buffer again and again, and a journal that holds nothing else."""
    _kmsg(bench)
    _journal(bench)


def _kmsg(bench: Bench) -> None:
    said = bench.directory / "said"
    _copy(1, said)
    held, _ = copied(said)
    times = -(-SIZE // held)
    bench.tell(f"/dev/kmsg holds {held:,} records, it is read {times} times")
    _compare(bench, KMSG, DD, partial(_copy, times, said), partial(_read, bench, "kmsg", times))


def _journal(bench: Bench) -> None:
    directory = bench.directory / "journal"
    directory.mkdir()
    bench.tell(f"writing a journal of {SIZE:,} records")
    _write(directory)
    grep = "|".join(re.escape(rule.needle) for rule in RULES)
    command = ["journalctl", "--no-pager", "-D", str(directory), "-k", "-o", "cat"]
    tool = partial(run, [*command, f"--grep={grep}", "--case-sensitive=yes"])
    ours = partial(_read, bench, f"journal:{directory}", 1)
    _compare(bench, JOURNAL, JOURNALCTL, tool, ours)
    shutil.rmtree(directory)


def _compare(
    bench: Bench, work: str, name: str, tool: Callable[[], Sample], ours: Callable[[], Sample]
) -> None:
    """Measure whole processes; give besides what was read without their starts."""
    subjects = [Subject(name, SIZE, tool), Subject(TREASON, SIZE, ours, (name, SIZE))]
    bench.compare(work, subjects)
    for subject in subjects:
        whole = bench.results.series.get(Key(work, subject.name, SIZE))
        if whole is not None:
            alone = [{"wall": sample.get("reading", sample["wall"])} for sample in whole.samples]
            reference = Key(work + ALONE, name, SIZE) if subject.against else None
            bench.results.add(Series(Key(work + ALONE, subject.name, SIZE), alone, reference))


def _copy(times: int, said: Path) -> Sample:
    """Copy the buffer with dd; it tells itself how long each copy took."""
    sample = run(["sh", "-c", _COPY, "sh", str(times), str(said)])
    return {**sample, "reading": copied(said)[1]}


def copied(said: Path) -> tuple[int, float]:
    """Return the records of the last copy, and the seconds of all."""
    text = said.read_text()
    records = re.findall(r"0\+([0-9]+) records in", text)
    seconds = re.findall(r"copied, ([0-9.e-]+) s", text)
    if not records or not int(records[-1]):
        raise Failed(f"dd copied nothing of /dev/kmsg: {text.strip()[:200]}")
    return int(records[-1]), sum(map(float, seconds))


def _read(bench: Bench, source: str, times: int) -> Sample:
    """Read as a scan does, in a process that does nothing else."""
    told = bench.directory / "told"
    sample = run([PYTHON, "-m", "bench.reading", source, str(times)], output=told)
    seconds, _, offences = told.read_text().split()
    if source != "kmsg" and int(offences) != SIZE // 100:
        raise Failed(f"{source}: {offences} offences were read")
    return {**sample, "reading": float(seconds)}


def _write(directory: Path) -> None:
    """Make journal files of the kernel's records, all of one boot."""
    boot = _BOOT.read_text().strip().replace("-", "")
    now = time.time_ns() // 1000 - SIZE
    entries = (
        f"__REALTIME_TIMESTAMP={now + number}\n__MONOTONIC_TIMESTAMP={number + 1}\n"
        f"_BOOT_ID={boot}\n_TRANSPORT=kernel\nPRIORITY=7\nSYSLOG_FACILITY=0\n"
        f"SYSLOG_IDENTIFIER=kernel\n_SOURCE_MONOTONIC_TIMESTAMP={number}\nMESSAGE={text}\n\n"
        for number, text in enumerate(kernel_texts(SIZE))
    )
    path = directory / "system.journal"
    execute.run([_REMOTE, "--output", str(path), "-"], given="".join(entries), timeout=300)
    sync(path)
