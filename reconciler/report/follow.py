"""What is told of a source that is followed: a line for people, or an object for programs, each."""

import json as standard
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from attrs import asdict, define, field

from reconciler.lines import counted
from reconciler.model import Offence, Suspect
from reconciler.passes.follow import (
    Began,
    Cleared,
    Event,
    Failed,
    Judged,
    Looked,
    Missed,
    Noted,
    Suspected,
)
from reconciler.report.json import FORMAT_VERSION
from reconciler.report.plain import plain
from reconciler.report.times import iso
from reconciler.report.trial import SHOWN, follows, peer

BPF: Final = "bpf"
DUMP: Final = "dump"
"""How suspects are found: the kernel tells of them, or all sockets are looked through."""


_WORDS: Final[Mapping[type[Event], str]] = {
    Began: "begin",
    Looked: "look",
    Suspected: "suspect",
    Cleared: "clear",
    Missed: "near",
    Judged: "judged",
    Noted: "note",
    Failed: "error",
}
"""What an event is called, for people and for programs."""

_WIDTH: Final = max(map(len, _WORDS.values()))


@define
class Lines:
    """Makes lines for people. Of the near misses of one look so many are told without ``-v``.

    A look that has found nothing new, and suspects nobody, is told with ``-v`` alone.
    """

    verbose: bool
    _near: int = field(default=0, init=False)
    _new: bool = field(default=False, init=False)

    def of(self, event: Event) -> Iterator[str]:
        """Yield what is to be told of an event, now."""
        if self._is_told(event):
            told = plain(_TEXTS[type(event)](event))
            if isinstance(event, Looked) and self._hidden:
                told += f"; {self._hidden:,} near misses are not shown, -v shows all"
            yield f"{iso(time.time())} {_WORDS[type(event)]:<{_WIDTH}}  {told}"
        if isinstance(event, Looked):
            self._near, self._new = 0, False

    @property
    def _hidden(self) -> int:
        return 0 if self.verbose else max(0, self._near - SHOWN)

    def _is_told(self, event: Event) -> bool:
        if isinstance(event, Looked):
            return self.verbose or self._new or event.suspects > 0
        self._new = True
        if isinstance(event, Missed):
            self._near += 1
            return not self._hidden
        return True


def _of_way(began: Began) -> str:
    how = f"the kernel itself tells of suspects (way {BPF})"
    if not began.wakes:
        hint = f" ({began.hint})" if began.hint else ""
        how = f"looking through all sockets now and then (way {DUMP}): {began.why}{hint}"
    return f"{how}; by {', '.join(began.rules)}; Ctrl-C ends it"


def _of_look(look: Looked) -> str:
    by = "woken by the kernel" if look.woken else "by the clock"
    many = f"{counted(look.suspects, 'suspect')}, {look.near:,} near an offence"
    return f"{by}: {many}, in {look.seconds * 1000:.1f} ms"


def _of_judgement(judged: Judged) -> str:
    if judged.refused:
        return f"not counted, {judged.refused}"
    return follows(judged.verdict) if judged.verdict else "an offence"


def _of_suspect(suspected: Suspected) -> str:
    return f"{peer(suspected.suspect)}, by {suspected.suspect.rule}"


_TEXTS: Final[Mapping[type[Event], Callable[[Any], str]]] = {
    Began: _of_way,
    Looked: _of_look,
    Suspected: _of_suspect,
    Cleared: lambda cleared: f"{peer(cleared.suspect)}: gone, or not so any more",
    Missed: lambda missed: f"{missed.near.text}: {missed.near.why}",
    Judged: lambda judged: f"{judged.offence.evidence}: {_of_judgement(judged)}",
    Noted: lambda noted: noted.text,
    Failed: lambda failed: "; ".join(filter(None, (failed.what, failed.hint))),
}


def json(event: Event) -> str:
    """Return an event for programs, in one line."""
    head = {"format_version": FORMAT_VERSION, "event": _WORDS[type(event)]}
    return standard.dumps(head | {"time": iso(time.time())} | _value(event))


def _value(event: Event) -> dict[str, Any]:
    """Return all that is told of an event."""
    match event:
        case Began(rules, why, hint):
            way = BPF if event.wakes else DUMP
            return {"way": way, "why": why or None, "hint": hint or None, "rules": [*rules]}
        case Looked(woken, suspects, near_misses, seconds):
            found = {"suspects": suspects, "near_misses": near_misses}
            return {"woken": woken, **found, "seconds": round(seconds, 6)}
        case Suspected(suspect) | Cleared(suspect):
            return _ends(suspect) | {"looks": suspect.looks, "judged": suspect.judged}
        case Judged(offence):
            return _ends(offence) | {"text": offence.evidence} | _fate(event)
        case Missed(near):
            return {"rule": near.rule, "text": near.text, "why": near.why}
        case _:
            return asdict(event)


def _fate(judged: Judged) -> dict[str, Any]:
    verdict = judged.verdict
    return {
        "counted": not judged.refused,
        "state": verdict.state.value if verdict else None,
        "until": iso(verdict.until) if verdict else None,
        "why": judged.refused or (verdict.why if verdict else "") or None,
    }


def _ends(one: Suspect | Offence) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "address": str(one.address),
        "peer_port": one.peer_port,
        "local_port": one.local_port,
    }
