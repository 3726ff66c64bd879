"""Draw one offender's way through the daemon, from a real run: ``python -m bench.timeline``.

The daemon is traced by strace(1), which makes each of its calls some hundredths of a millisecond
slower. As root, in a network namespace: what is measured is a line in a watched file.
"""

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from bench.run import Bench
from bench.works.resident import running

PICTURE: Final = Path(__file__).parent.parent / "docs" / "explanation" / "one-offender.svg"
_WHOLE: Final = re.compile(
    r"(?P<task>\d+) +(?P<time>\d+\.\d+) (?P<call>\w+)\((?P<rest>.*) = .* <(?P<took>[\d.]+)>"
)
_RESUMED: Final = re.compile(
    r"(?P<task>\d+) +(?P<time>\d+\.\d+) <\.\.\. (?P<call>\w+) resumed>(?P<rest>.*) = .*"
    r" <(?P<took>[\d.]+)>"
)
"""Lines of strace(1): a call, or the end of one that another thread's calls have cut."""

_WIDTH, _ROW, _LEFT, _TOP = 720, 30, 210, 46
_SETTLED: Final = 1.0
_WAITING: Final = ("poll", "restart_syscall")
_LINE: Final = "TCP: Treason uncloaked! Peer 203.0.113.7:4638/8080 shrinks window 1:2. Repaired.\n"


class Call(NamedTuple):
    """A system call of a thread: which, when it began, when it ended (epoch seconds)."""

    task: int
    name: str
    begun: float
    ended: float
    text: str


class Step(NamedTuple):
    """A row of the picture: what was done, from when to when (milliseconds)."""

    name: str
    begun: float
    ended: float
    durable: bool = False


def main() -> None:
    """Run it once, and write the picture."""
    with TemporaryDirectory() as directory, running(Bench(Path(directory)), 10, "file") as daemon:
        trace = Path(directory) / "trace"
        tracer = subprocess.Popen(
            [
                "strace",
                "-f",
                "-qq",
                "-ttt",
                "-T",
                "-s",
                "300",
                "-o",
                trace,
                "-p",
                str(daemon.process.pid),
            ]
        )
        time.sleep(_SETTLED)
        started = time.time()
        daemon.append(_LINE.encode())
        time.sleep(_SETTLED)
        tracer.terminate()
        tracer.wait()
        steps = _steps([*_calls(trace, started)], started)
    PICTURE.write_text(_drawn(steps))


def _calls(trace: Path, since: float) -> Iterator[Call]:
    for line in trace.read_text().splitlines():
        if found := _WHOLE.match(line):
            begun, took = float(found["time"]), float(found["took"])
        elif found := _RESUMED.match(line):
            took = float(found["took"])
            begun = float(found["time"]) - took
        else:
            continue
        if begun + took > since:
            yield Call(int(found["task"]), found["call"], begun, begun + took, found["rest"])


def _steps(calls: Sequence[Call], since: float) -> list[Step]:
    """Return what was done: told from the calls that stand at the borders of each step."""

    def at(moment: float) -> float:
        return (moment - since) * 1000

    sent = next(call for call in calls if call.name == "sendmsg" and "nl_pid" not in call.text)
    loop = [call for call in calls if call.task == sent.task]
    woken = [call for call in loop if call.name in _WAITING and call.ended <= sent.begun][-1]
    told = next(call for call in loop if call.name == "recvfrom" and call.begun >= sent.ended)
    writer = [call for call in calls if call.task != sent.task and call.begun >= sent.begun]
    opened = next(call for call in writer if call.name == "flock" or "treason.db" in call.text)
    committed = next(call for call in writer if call.name == "unlink")  # the journal
    synced = [
        call
        for call in writer
        if call.name in {"fsync", "fdatasync"} and call.begun < committed.begun
    ]
    return [
        Step("wait in poll(2), until inotify tells", 0.0, at(woken.ended)),
        Step("read the line, recognise, decide", at(woken.ended), at(sent.begun)),
        Step("netlink: one transaction", at(sent.begun), at(told.ended)),
        Step("take the lock, write the journal", at(opened.begun), at(synced[0].begun), True),
        Step(f"{len(synced)} times fdatasync(2)", at(synced[0].begun), at(synced[-1].ended), True),
        Step("remove the journal: stored", at(committed.begun), at(committed.ended), True),
    ]


def _drawn(steps: Sequence[Step]) -> str:
    """Return the steps as SVG: a row for each, on one scale of milliseconds."""
    whole = max(step.ended for step in steps)
    scale = (_WIDTH - _LEFT - 70) / whole
    in_force = next(step.ended for step in steps if step.name.startswith("netlink"))
    rows = [_row(number, step, scale) for number, step in enumerate(steps)]
    bottom = _TOP + _ROW * len(steps)
    x = _LEFT + in_force * scale
    mark = (
        f'<line x1="{x:.1f}" y1="{_TOP - 14}" x2="{x:.1f}" y2="{bottom}" stroke="#b00"'
        ' stroke-dasharray="4 3"/>'
        f'<text x="{x + 4:.1f}" y="{_TOP - 18}" fill="#b00">in force after {in_force:.2f} ms</text>'
    )
    text = "\n".join([*rows, mark])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 12}"'
        ' font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{text}\n</svg>\n'
    )


def _row(number: int, step: Step, scale: float) -> str:
    y = _TOP + _ROW * number
    x, width = _LEFT + step.begun * scale, max(1.0, (step.ended - step.begun) * scale)
    colour = "#9ab" if step.durable else "#468"
    took = f"{step.ended - step.begun:.2f} ms"
    return (
        f'<text x="6" y="{y + 16}" fill="#000">{step.name}</text>'
        f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="{_ROW - 12}" fill="{colour}"/>'
        f'<text x="{x + width + 4:.1f}" y="{y + 17}" fill="#555">{took}</text>'
    )


if __name__ == "__main__":
    main()
