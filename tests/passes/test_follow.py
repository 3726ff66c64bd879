"""``test-rule --sockets --follow``: what happens is told as it happens, and nothing is changed."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any

import jsonschema
import pytest
from attrs import define, evolve, field
from harness import ROOT, Place
from peers import Flow, Peers, Server, healthy, shrinking, slow

from reconciler import (
    Answer,
    Connection,
    Judgement,
    NearMiss,
    Network,
    Record,
    Seen,
    SourceUnreadable,
    Suspect,
)
from reconciler.config.setup import Setup
from reconciler.passes import follow, trial_run
from reconciler.passes.follow import Began, Event, Failed, Judged, Looked, Missed, Noted
from reconciler.report.follow import Lines
from reconciler.report.follow import json as as_json

SCHEMA = json.loads((ROOT / "docs" / "reference" / "json.schema.json").read_text())
SHAPE = jsonschema.Draft202012Validator(SCHEMA | {"$ref": "#/$defs/test-rule-follow"})
MAIN = 'sources = ["sockets"]'
LASTING = '[source.sockets]\nlasting = "1s"\n'
PEER = Network.parse("192.0.2.7")
PATIENCE = 20


def hold(line: str) -> Any:
    """Return an event that has the shape that is written down."""
    value = json.loads(line)
    SHAPE.validate(value)
    return value


@define
class Follower:
    """A command that follows; what it prints is read line by line."""

    process: "subprocess.Popen[bytes]"
    rest: bytes = b""

    def until(self, wanted: Callable[[str], bool]) -> list[str]:
        """Return its lines up to the first that is wanted."""
        assert self.process.stdout is not None
        lines: list[str] = []
        while not lines or not wanted(lines[-1]):
            while b"\n" not in self.rest:
                assert select.select([self.process.stdout], [], [], PATIENCE)[0], lines
                more = os.read(self.process.stdout.fileno(), 1 << 16)
                assert more, lines
                self.rest += more
            line, _, self.rest = self.rest.partition(b"\n")
            lines.append(line.decode())
        return lines

    def events(self, last: str) -> list[Any]:
        """Return its events up to the first of this kind, of a JSON output."""
        return [hold(line) for line in self.until(lambda line: hold(line)["event"] == last)]


@contextmanager
def following(place: Place, *words: str, before: Sequence[str] = ()) -> Iterator[Follower]:
    """Follow for as long as the block; then Ctrl-C ends it with 0, and nothing was complained."""
    command = [sys.executable, "-m", "reconciler", "--config", str(place.config)]
    with subprocess.Popen(
        [*before, *command, "test-rule", "--sockets", "--follow", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
    ) as process:  # fmt: skip
        try:
            yield Follower(process)
            process.send_signal(signal.SIGINT)
            _, complaints = process.communicate(timeout=PATIENCE)
            assert (process.returncode, complaints) == (0, b"")
        finally:
            process.kill()


@pytest.fixture
def lab(host: None) -> Iterator[Peers]:
    """Peers and a server."""
    made, server = Peers(), Server("::")
    yield made
    server.close()
    made.close()


@pytest.fixture
def watched(place: Place) -> Place:
    """A place that looks at sockets, with a short `lasting`."""
    place.configure(LASTING, main=MAIN)
    return place


def attacked(lab: Peers, address: str) -> Flow:
    """Begin an attack."""
    return lab.connect(address, 4638, shrinking())


@pytest.mark.parametrize("address", ["10.9.1.7", "fd00:9::7"])
def test_an_attack_is_told_and_judged(address: str, lab: Peers, watched: Place) -> None:
    """In JSON: the suspect, then the verdict; the honest are no suspects."""
    attacked(lab, address)
    lab.connect("10.9.1.8", 4638, healthy)
    lab.connect("10.9.1.9", 4638, slow)
    before = watched.snapshot()
    with following(watched, "-o", "json") as follower:
        events = follower.events("judged")
        follower.events("look")
    begin, judged = events[0], events[-1]
    assert begin["event"] == "begin"
    assert begin["rules"][0] == "zero-window"
    suspects = [each["address"] for each in events if each["event"] == "suspect"]
    assert suspects == [address]
    ends = (judged["address"], judged["peer_port"], judged["local_port"])
    assert ends == (address, 4638, 8080)
    assert (judged["counted"], judged["state"]) == (True, "ban")
    assert judged["until"] is not None
    assert watched.snapshot() == before


def test_what_has_not_lasted_is_told_with_what_it_takes(lab: Peers, watched: Place) -> None:
    """And is no offence."""
    watched.configure('[source.sockets]\nlasting = "1h"\n', main=MAIN)
    attacked(lab, "10.9.1.7")
    with following(watched, "-o", "json") as follower:
        near = follower.events("near")[-1]
    assert near["text"].startswith("10.9.1.7:4638 → :8080 established, ")
    assert near["why"].endswith("it takes 3600 s")


def test_people_are_told_in_lines_and_each_is_there_at_once(lab: Peers, watched: Place) -> None:
    """Without a terminal; what was found is told before the next look."""
    watched.configure(f'{LASTING}way = "dump"\n', main=MAIN)
    flow = attacked(lab, "10.9.1.7")
    with following(watched) as follower:
        lines = follower.until(lambda line: " judged " in line)
        assert '(way dump): [source.sockets] has way = "dump"' in lines[0]
        assert any(" suspect  10.9.1.7 port 4638 to 8080, by zero-window" in each for each in lines)
        assert "window 0, for " in lines[-1]
        assert "1 connection: a ban until " in lines[-1]
        lab.send(flow, 4, 0)  # a reset
        [*_, clear] = follower.until(lambda line: " clear " in line)
    assert "10.9.1.7 port 4638 to 8080: gone, or not so any more" in clear


def test_whoever_reads_no_more_ends_it_quietly(lab: Peers, watched: Place) -> None:
    """At once, and not with the next line."""
    with following(watched, "-v") as follower:
        follower.until(lambda line: " look " in line)
        assert follower.process.stdout is not None
        follower.process.stdout.close()
        assert follower.process.wait(PATIENCE) == 0
        assert follower.process.stderr is not None
        assert follower.process.stderr.read() == b""
        follower.process.stdout = None


def test_an_ordinary_user_looks_through_all_sockets_and_is_told_why(
    lab: Peers, watched: Place
) -> None:
    """Nothing is missing but the kernel's own word."""
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--"]
    attacked(lab, "10.9.1.7")
    with following(watched, "-o", "json", before=bare) as follower:
        events = follower.events("judged")
    assert (events[0]["event"], events[0]["way"]) == ("begin", "dump")
    assert events[0]["why"]


@define
class Scripted:
    """A source that brings what the test says, look by look; it wakes if it has a descriptor."""

    looks: list[Any]
    wakes: int | None = None
    waker: int | None = None
    pause: float = 0.0
    recalled: list[Sequence[Suspect]] = field(factory=list)
    closed: bool = False
    now: Any = None

    def fileno(self) -> int:
        """Return the descriptor."""
        if self.wakes is None:
            raise SourceUnreadable("it does not wake here", "ask for it")
        return self.wakes

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def recall(self, suspects: Sequence[Suspect]) -> None:
        """Note it."""
        self.recalled.append(suspects)

    def read(self, _cursor: str | None, _needles: Sequence[str]) -> Iterator[Record]:
        """Yield what this look brings."""
        if self.wakes is not None and select.select([self.wakes], [], [], 0)[0]:
            os.read(self.wakes, 100)
        self.now = self.looks.pop(0) if self.looks else {}
        if self.waker is not None and self.looks:
            os.write(self.waker, b"x")
        if isinstance(self.now, Exception):
            raise self.now
        yield from self.now.get("records", ())

    def cursor(self) -> str | None:
        """Return none."""
        return None

    def suspects(self) -> Sequence[Suspect]:
        """Return those of this look."""
        return [*self.now.get("suspects", ())]

    def near_misses(self) -> Sequence[NearMiss]:
        """Return those of this look."""
        return [*self.now.get("near", ())]

    def notes(self) -> Sequence[str]:
        """Return those of this look."""
        return [*self.now.get("notes", ())]

    def due(self) -> float:
        """Return when the script goes on."""
        return inf if self.wakes is not None else self.pause


SUSPECT = Suspect(thing="1", rule="zero-window", address=PEER, since=1.0, looks=2)
NEAR = NearMiss("zero-window", "192.0.2.7 near", "not yet")


def told(place: Place, source: Scripted, number: int, *until: int, text: str = "") -> list[Event]:
    """Return what is told of so many looks."""
    place.configure(text, main="sources = []")
    setup = Setup(str(place.config))
    setup.__dict__["sources"] = lambda _named: {"sockets": lambda: source}
    found: list[Event] = []
    following = follow.follow(setup, trial_run.judged(setup, (), 0), "sockets", lambda: until)
    for event in following:
        found.append(event)
        if sum(isinstance(each, Looked | Failed) for each in found) == number:
            break
    following.close()
    return found


def test_what_does_not_wake_is_looked_through_when_it_is_due(place: Place) -> None:
    """It says why; the next look is given what the last one suspected."""
    source = Scripted([{"suspects": [SUSPECT]}, {}])
    events = told(place, source, 2)
    assert events[0] == Began(events[0].rules, "it does not wake here", "ask for it")  # type: ignore[union-attr]  # the first
    kinds = [type(each).__name__ for each in events]
    assert kinds == ["Began", "Suspected", "Looked", "Cleared", "Looked"]
    assert source.recalled[-1] == [SUSPECT]
    assert not source.closed


def test_what_wakes_is_read_again_and_closed_in_the_end(place: Place) -> None:
    """One object; between its words nothing is looked at."""
    reading, writing = os.pipe()
    source = Scripted([{}, {"near": [NEAR]}], wakes=reading, waker=writing)
    [began, first, missed, second] = told(place, source, 2)
    os.close(writing)
    os.close(reading)
    assert began == Began(began.rules)  # type: ignore[union-attr]  # the first
    assert missed == Missed(NEAR)
    woken = [each.woken for each in (first, second) if isinstance(each, Looked)]
    assert woken == [False, True]
    assert source.closed
    assert len(source.recalled) <= 1


@define
class Witness(Scripted):
    """The same, which can tell that a connection is gone."""

    def blindness(self) -> str | None:
        """Return None."""
        return None

    def confirm(self, connections: Collection[Connection]) -> dict[Connection, Answer]:
        """Return of each that it is gone."""
        return dict.fromkeys(connections, Answer(Seen.NOTHING))


def test_a_connection_that_is_gone_clears_a_source_that_wakes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the source suspects it until its next list; it is not suspected again."""
    reading, writing = os.pipe()
    monkeypatch.setattr(follow, "_RESTING", 0.0)
    there = evolve(SUSPECT, peer_port=4638, local_port=8080)
    looks = [{"near": [evolve(NEAR, suspect=there)]}, {"suspects": [there]}, {"suspects": [there]}]
    events = told(place, Witness([*looks], wakes=reading, waker=writing), 3)
    os.close(writing)
    os.close(reading)
    kinds = [type(each).__name__ for each in events]
    assert kinds == ["Began", "Suspected", "Missed", "Looked", "Cleared", "Looked", "Looked"]


def test_the_same_near_miss_is_told_once(place: Place) -> None:
    """Again once it says something else, or was away."""
    later = NearMiss(NEAR.rule, NEAR.text, "nearly")
    looks = [{"near": [NEAR]}, {"near": [NEAR]}, {"near": [later]}, {}, {"near": [later]}]
    events = told(place, Scripted([*looks]), 5)
    assert [each.near for each in events if isinstance(each, Missed)] == [NEAR, later, later]


def test_what_ripens_is_suspected_from_the_first(place: Place) -> None:
    """Though the source stores it later; it is told once."""
    ripening = NearMiss(NEAR.rule, NEAR.text, NEAR.why, SUSPECT)
    events = told(place, Scripted([{"near": [ripening]}, {"suspects": [SUSPECT]}, {}]), 3)
    kinds = [type(each).__name__ for each in events]
    looks = [each.suspects for each in events if isinstance(each, Looked)]
    assert kinds == ["Began", "Suspected", "Missed", "Looked", "Looked", "Cleared", "Looked"]
    assert looks == [1, 1, 0]


def test_a_look_that_fails_is_told_and_the_next_one_is_made(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But the first one ends it, as any command that cannot read its source."""
    monkeypatch.setattr(follow, "_RESTING", 0.0)
    trouble = SourceUnreadable("the kernel is silent", "load the module")
    events = told(place, Scripted([{}, trouble, {}]), 3)
    assert Failed("the kernel is silent", "load the module") in events
    assert isinstance(events[-1], Looked)
    with pytest.raises(SourceUnreadable):
        told(place, Scripted([trouble]), 1)


def test_what_is_judged_says_what_would_follow(place: Place) -> None:
    """By the policy of its rule; what is not tried, or nothing listens for, does not count."""
    judged = Judgement("zero-window", PEER, 4638, None)
    elsewhere = Judgement("zero-window", PEER, 4639, 9)
    other = Judgement("another-rule", PEER)
    records = [
        Record("text", carrier="sockets", trusted=True, time=time.time(), judgement=each)
        for each in (judged, elsewhere, other)
    ]
    events = told(
        place, Scripted([{"records": records}]), 1, text="[policy]\nlisteners_only = true\n"
    )
    first, second = (each for each in events if isinstance(each, Judged))
    assert first.verdict is not None
    assert (first.verdict.state.value, first.refused) == ("ban", "")
    assert second.verdict is None
    assert second.refused.startswith("nothing listens on port 9 here")
    assert [each.near.rule for each in events if isinstance(each, Missed)] == ["another-rule"]


def test_what_strangers_chose_cannot_move_the_cursor(place: Place) -> None:
    """In every event, in both forms; each is one line."""
    evil = "\x1b[2J\n\r\x9b31m"
    record = Record(
        evil, carrier="x", trusted=True, time=1.0, judgement=Judgement("zero-window", PEER)
    )
    looks = [
        {
            "records": [record],
            "near": [NearMiss("zero-window", evil, evil)],
            "notes": [evil],
            "suspects": [SUSPECT],
        },
        SourceUnreadable(evil, evil),
    ]
    events = told(place, Scripted(looks), 2)
    assert {type(each) for each in events} >= {Judged, Missed, Noted, Failed}
    lines = Lines(verbose=False)
    for event in [*events, Began((), evil, evil)]:
        for line in [*lines.of(event), as_json(event)]:
            assert line.isprintable()
        hold(as_json(event))


def test_of_many_near_misses_people_see_the_first(place: Place) -> None:
    """And how many more there are, at the end of the look."""
    near = [NearMiss("zero-window", f"number {number}", "why") for number in range(50)]
    events = told(place, Scripted([{"near": near}, {}]), 2)
    short, full = Lines(verbose=False), Lines(verbose=True)
    shown = [line for event in events for line in short.of(event)]
    assert sum("number" in line for line in shown) == 20
    assert "30 near misses are not shown, -v shows all" in shown[-1]
    assert sum("number" in line for event in events for line in full.of(event)) == 50
    assert len([line for line in shown if " look " in line]) == 1  # the other has nothing new


def test_it_goes_with_sockets_alone(place: Place) -> None:
    """A log is read to its end."""
    place.configure(main="sources = []")
    result = place.treason("test-rule", "--follow", "log")
    assert (result.code, result.out) == (64, "")
    assert "--follow goes with --sockets" in result.err


def test_a_terminal_that_is_gone_is_no_reader(place: Place) -> None:
    """Whatever hangs up ends it."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        events = told(place, Scripted([{}], pause=60), 2, writing)
    finally:
        os.close(writing)
    assert [type(each).__name__ for each in events] == ["Began", "Looked"]
