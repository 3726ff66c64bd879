"""How things stand, for people: on one screen, what matters first."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from reconciler.detection.policy import OBSERVE
from reconciler.lines import counted, first_few
from reconciler.passes.enforce import State
from reconciler.report import text
from reconciler.report.columns import BAD, DOUBTFUL, GOOD, Row, aligned
from reconciler.report.plain import plain, plain_lines
from reconciler.report.times import iso, past

if TYPE_CHECKING:  # importing them takes longer than printing
    from reconciler.host.control import DaemonStatus
    from reconciler.passes.enforce import Outcome
    from reconciler.passes.status import BackendCount, Status
    from reconciler.store.counts import OriginCount, SourceCount

_OBSERVED: Final = "see: treason list --observed-only"
_ORIGINS: Final = 10
"""Origins of bans that are named."""

_COLOURS: Final = {State.IN_SYNC: GOOD, State.DRIFT: DOUBTFUL, State.FAILED: BAD}
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def status(found: Status) -> Iterator[str]:
    """Yield how things stand."""
    told = (_firewall(found), _stored(found), _sources(found), _feeds(found), _machine(found))
    return aligned([*chain.from_iterable(told)])


def daemon(how: DaemonStatus) -> Iterator[str]:
    """Yield how the daemon is."""
    return aligned([_daemon(how)])


def _firewall(found: Status) -> Iterator[Row]:
    """Yield what is in force, and by whom."""
    if found.paused:
        name, _, end = text.paused(found.paused, found.now).partition(" ")
        yield name, end, DOUBTFUL
    for each in found.outcomes:
        yield each.backend, _standing(each), _COLOURS.get(each.state, "")
    yield from _dropped(found)
    yield "to drop", counted(found.desired, "network")
    if found.daemon:
        yield _daemon(found.daemon)
    if found.unasked:
        yield "daemon", found.unasked, BAD


def _dropped(found: Status) -> Iterator[Row]:
    lines = [line for each in found.dropped for line in _counts(each, found.now)]
    if len(found.dropped) > 1:
        names = [each.backend for each in found.dropped if each.dropped or each.error]
        lines = [f"{name}: {line}" for name, line in zip(names, lines, strict=True)]
    if lines:
        yield "dropped", "\n".join(lines)


def _counts(each: BackendCount, now: int) -> Iterator[str]:
    if each.error:
        yield f"not to be told: {each.error.partition(chr(10))[0]}"
    if (told := each.dropped) is not None:
        since = f"since {past(told.since, now)}" if told.since else "since the chain was made"
        yield f"{counted(told.packets, 'packet')}, {_size(told.bytes)} {since}"


def _size(number: int) -> str:
    """Return a number of bytes, rounded."""
    if number < 1024:
        return counted(number, "byte")
    power = min((number.bit_length() - 1) // 10, len(_UNITS))
    return f"{number / 1024**power:,.1f} {_UNITS[power - 1]}"


def _daemon(how: DaemonStatus) -> Row:
    where = "" if how.paused else "in force and "
    pending = f"{counted(how.pending, 'network')} {where}not stored yet"
    lines = [f"running since {iso(how.since)} (process {how.pid}); {pending}"]
    if how.paused:
        lines.append("holds nothing, as everything is paused")
    if how.rests:
        lines.append(how.rests)
    if how.awake:
        lines.append(f"woken by {', '.join(how.awake)}")
    if how.timed:
        lines.append(f"reads by a timer: {', '.join(how.timed)}")
    lines += [f"{name} sees by {way}" for name, way in how.ways.items()]
    if how.repaired is not None:
        lines.append(f"repaired the firewall last at {iso(how.repaired)}: {how.repair}")
    colour = BAD if how.troubles else DOUBTFUL if how.rests or how.paused else GOOD
    return "daemon", plain_lines("\n".join([*lines, *how.troubles])), colour


def _stored(found: Status) -> Iterator[Row]:
    """Yield what is remembered."""
    counts = found.counts
    bans = f"{counts.permanent:,} permanent, {counts.temporary:,} temporary"
    if not_enforced := text.refused(found.refused):
        bans += f"; not enforced: {not_enforced}"
    named = map(_origin, islice(counts.origins, _ORIGINS))
    rest = counts.origins[_ORIGINS:]
    more = sum(each.permanent + each.temporary for each in rest)
    others = [f"{more:,} of {counted(len(rest), 'other origin')}"] if rest else []
    yield "bans", "\n".join([bans, *named, *others])
    if line := _observed(found):
        yield "observed", line, DOUBTFUL
    last = f", the last at {iso(counts.last_offence)}" if counts.offences else ""
    yield "offences", f"{counts.offences:,}{last}" if counts.offences else "none yet"
    yield from _unconfirmed(found)
    yield "exempt", f"{found.whitelisted:,} whitelisted, {found.protected:,} protected"


def _origin(each: OriginCount) -> str:
    parts = ((each.permanent, "permanent"), (each.temporary, "temporary"))
    return f"{plain(each.origin)}: {', '.join(f'{n:,} {what}' for n, what in parts if n)}"


def _sources(found: Status) -> Iterator[Row]:
    """Yield how far each source has come."""
    lines = [_source(each, found) for each in found.counts.of_sources]
    yield "sources read", "\n".join(lines) or "none yet"
    for line in text.silence(found.silent):
        yield "silent source", line, DOUBTFUL


def _source(each: SourceCount, found: Status) -> str:
    """Return when a source brought something last, and what."""
    name = plain(each.source) or "from before sources were noted"
    parts = []
    if each.moved is not None:
        parts.append(f"moved on at {past(each.moved, found.now)}")
    if found.daemon and each.source in (*found.daemon.awake, *found.daemon.timed):
        parts.append("at once" if each.source in found.daemon.awake else "by a timer")
    if each.offences and each.last is not None:
        number = counted(each.offences, "offence")
        parts.append(f"{number}, the last at {past(each.last, found.now)}")
    return f"{name}: {'; '.join(parts)}" if parts else name


def _feeds(found: Status) -> Iterator[Row]:
    """Yield how feeds stand."""
    if found.feeds:
        from reconciler.report import feed_standing  # noqa: PLC0415 - many configurations have none

        yield from feed_standing.section(found.feeds, found.now)


def _machine(found: Status) -> Iterator[Row]:
    """Yield what else there is to know of this machine."""
    from reconciler.host import kernel_message  # noqa: PLC0415 - no other command needs it

    message = found.kernel_message
    yield "kernel message", kernel_message.advice(message) or message.value
    for warning in found.warnings:
        yield "advice", warning
    if found.clock:
        yield "clock", found.clock, DOUBTFUL
    yield "database", f"{found.database}{'' if found.exists else ' (does not exist yet)'}"


def _standing(outcome: Outcome) -> str:
    notes = (f"note: {plain(note)}" for note in outcome.notes)
    return "\n".join([outcome.failure or _advised(outcome.state), *notes])


def _advised(state: State) -> str:
    drift = "; see what differs: treason reconcile --check" if state is State.DRIFT else ""
    return f"{state.value}{drift}"


def _observed(found: Status) -> str:
    """Return who would have been banned while rules ban nobody; empty if that never was so."""
    number, observes = found.counts.withheld, found.mode == OBSERVE
    if not (observes or number):
        return ""
    mode = "rules ban nobody now ([policy] mode)" if observes else "rules ban again"
    if not number:
        return f"{mode}; they would have banned nobody so far"
    some = first_few([each.ban.network for each in found.withheld])
    while_ = "would be banned" if observes else "would have been banned before"
    return f"{mode}; {counted(number, 'network')} {while_}: {some}\n{_OBSERVED}"


def _unconfirmed(found: Status) -> Iterator[Row]:
    """Yield the messages that nothing confirms, with their evidence, and what there is to know."""
    if number := found.counts.unconfirmed:
        last = iso(found.doubted[0].time) if found.doubted else ""
        some = "".join(f"\n{text.doubt(each)}" for each in found.doubted)
        yield "unconfirmed", f"{counted(number, 'message')}, the last at {last}{some}"
    yield from (("confirming", plain(line)) for line in found.confirming)
