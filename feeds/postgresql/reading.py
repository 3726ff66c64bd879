"""What the fleet's database says: where its clock stands, and what the other members ban.

All is read in one transaction that sees one moment, so that no ban is between what was read and the
position behind it.
"""

import re
from collections.abc import Iterable, Iterator
from math import ceil
from typing import Final

from attrs import evolve, frozen

from feeds.postgresql import ends
from feeds.postgresql.failures import Refused, line
from feeds.postgresql.session import Row, Session, Statement
from reconciler import FeedBan, FeedLift, Networks

SHORT: Final = 10.0
"""Seconds for an answer that is small."""

_LONG: Final = 60.0
"""Seconds for all bans."""

_LOOKED_AT: Final = 20_000
"""Bans whose members are counted before all bans are read."""

_FEW, _SHARE = 4_000, 32
"""So many different members, reasons and ends a snapshot may have in any case, and one for so many
bans: the more there are, the longer everything takes that reads them (a feed's file may hold
100,000)."""

REREAD: Final = 85_000
"""Likewise, with all that came since: then all is read again, and its ends made coarser."""

_BEGIN: Final = Statement(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", (), b"begin")
_LISTEN: Final = Statement(b"LISTEN fleet")
_LASTING, _USED = 90, 60
"""Seconds for which a session is open that stays, and within which one asks that is in use."""

_OTHERS: Final = b"""
    SELECT count(*)::int8 FROM pg_stat_activity
    WHERE usename = session_user AND application_name = 'treason' AND pid <> pg_backend_pid()
        AND backend_start < statement_timestamp() - make_interval(secs => $1::int8)
        AND state_change > statement_timestamp() - make_interval(secs => $2::int8)
"""
_COMMIT: Final = Statement(b"COMMIT", (), b"commit")
_POSITION: Final = (
    b"SELECT version::int8, epoch::text, seq::int8, mark::text, floor::int8, members::int8, known"
    b" FROM fleet.position($1::int8, $2::text)"
)
_MEMBERS: Final = Statement(
    b"SELECT count(DISTINCT member) FROM (SELECT member FROM fleet.news LIMIT %d) AS counted"
    % _LOOKED_AT
)
_PLANNED: Final = (
    Statement(b"SET LOCAL work_mem = '64MB'"),
    Statement(b"SET LOCAL enable_sort = off"),
    Statement(b"SET LOCAL jit = off"),
)
"""To put a million bans together takes a table of their groups, and no sorting."""

_NEWS: Final = b"""
SELECT member::text, gone, reason, until,
    string_agg(packed, ''::bytea) FILTER (WHERE is_four),
    string_agg(packed, ''::bytea) FILTER (WHERE NOT is_four),
    max(seq)
FROM (
    SELECT member, cidr_send(network) AS packed, family(network) = 4 AS is_four, seq, gone,
        CASE WHEN NOT gone THEN reason END AS reason,
        CASE WHEN NOT gone THEN -(-($2::int8 + seconds) >> bits) << bits END AS until
    FROM (
        SELECT member, network, seq, reason, seconds,
            removed OR coalesce(seconds < 1, false) AS gone,
            greatest(floor(ln(greatest(seconds, 1)::float8) * 1.4426950408889634)::int - $3::int, 0)
                AS bits
        FROM fleet.news WHERE seq > $1::int8
    ) AS told
    WHERE $1::int8 >= 0 OR NOT gone
) AS rounded
GROUP BY member, gone, reason, until
"""
"""As `ends.rounded`, where most bans are put together. cidr_send gives family, length, a flag and
the number of bytes before those of the address (src/backend/utils/adt/network.c)."""

_SENT: Final = {4: 8, 6: 20}
"""Bytes of cidr_send."""

_MAPPED: Final = bytes(10) + b"\xff\xff"
_CURSOR: Final = re.compile(r"([0-9]{1,18}):([!-9;-~]{0,100}):([!-9;-~]{1,100}):([0-9]{1,9})")

Change = FeedBan | FeedLift


@frozen
class Cursor:
    """How far was read, in which epoch, and how many different groups may be known by that."""

    seq: int
    mark: str
    epoch: str
    groups: int

    @classmethod
    def read(cls, text: str | None) -> "Cursor | None":
        """Return what a text says; None where it means nothing."""
        found = _CURSOR.fullmatch(text or "")
        return found and cls(int(found[1]), found[2], found[3], int(found[4]))

    def __str__(self) -> str:
        return f"{self.seq}:{self.mark}:{self.epoch}:{self.groups}"


@frozen
class Position:
    """Where the fleet's clock stands, and whether it has been where the cursor says."""

    version: int
    epoch: str
    seq: int
    mark: str
    floor: int
    members: int
    known: bool

    @classmethod
    def of(cls, rows: list[Row]) -> "Position":
        """Return what the row says. Raise `Refused` where there is none."""
        if not rows:
            raise Refused("", "the fleet has no clock")
        version, epoch, seq, mark, floor, members, known = rows[0]
        return cls(
            version=_number(version),
            epoch=_text(epoch),
            seq=_number(seq),
            mark=_text(mark),
            floor=_number(floor),
            members=_number(members),
            known=known == b"\x01",
        )


@frozen
class News:
    """What the members said: bans by member, reason and end, and networks that are banned no more.

    ``seq`` is the latest tick of any of it, ``asked`` (seconds since the epoch) when it was asked
    for: ends are as if the server had reckoned what is left at that time.
    """

    bans: dict[str, ends.Says]
    gone: dict[str, list[ends.Packed]]
    seq: int = 0
    asked: int = 0

    @property
    def groups(self) -> int:
        """How many different members, reasons and ends there are."""
        return sum(map(len, self.bans.values()))

    @property
    def number(self) -> int:
        """How many bans there are."""
        parts = (part for says in self.bans.values() for each in says.values() for part in each)
        return sum(len(four) // _SENT[4] + len(six) // _SENT[6] for four, six in parts)

    def changes(self, now: float) -> Iterator[Change]:
        """Yield them, with the seconds that are left from ``now`` on.

        The server reckoned at some time between; as if that were now, so that no ban ends early.
        """
        asked = int(now) - max(ceil(now) - self.asked, 0)
        for member, parts in self.gone.items():
            yield FeedLift(_networks(parts), member)
        for member, says in self.bans.items():
            for (reason, until), parts in says.items():
                left = None if until is None else max(until - asked, 1)
                yield FeedBan(_networks(parts), left, member, reason)


def news(session: Session, cursor: Cursor, now: int, members: int) -> tuple[Position, News]:
    """Return where the clock stands, and what came since the cursor."""
    since = (_int(cursor.seq), _int(now), _int(ends.fine(members)))
    _, position, groups, _ = session.run(
        [
            _BEGIN,
            Statement(_POSITION, (_int(cursor.seq), cursor.mark.encode()), b"position"),
            Statement(_NEWS, since, b"news"),
            _COMMIT,
        ],
        SHORT,
    )
    return Position.of(position), _news(groups, now)


def everything(session: Session, now: int, members: int) -> tuple[Position, News]:
    """Return where the clock stands, and all bans there are; ``members`` are known to listen."""
    [[row]] = session.run([_MEMBERS], SHORT)
    fine = ends.fine(max(members, _number(row[0])))
    answers = session.run(
        [
            _BEGIN,
            *_PLANNED,
            Statement(_POSITION, (None, None)),
            Statement(_NEWS, (b"-1", _int(now), _int(fine))),
            _COMMIT,
        ],
        _LONG,
    )
    position, said = Position.of(answers[-3]), _news(answers[-2], now)
    most = max(_FEW, said.number // _SHARE)
    if said.groups > most:
        said = evolve(said, bans=ends.fitted(said.bans, now, most))
    return position, said


def listen(session: Session) -> str:
    """Let the session be told of changes. Return why that cannot be; empty where it can."""
    try:
        session.run([_LISTEN], SHORT)
    except Refused as error:
        return line(error.text)
    return ""


def seen(session: Session, seq: int) -> None:
    """Note how far this member has read."""
    session.run([Statement(b"SELECT fleet.seen($1::int8)", (_int(seq),), b"seen")], SHORT)


def is_shared(session: Session) -> bool:
    """Return whether another process reads as this member, in a session that goes on and is used.

    Behind a pooler that cannot be told.
    """
    if session.is_pooled:
        return False
    [[row]] = session.run([Statement(_OTHERS, (_int(_LASTING), _int(_USED)), b"others")], SHORT)
    return bool(_number(row[0]))


def _news(rows: list[Row], asked: int) -> News:
    found = News({}, {})
    latest = 0
    texts: dict[bytes | None, str] = {}
    for member, gone, reason, until, four, six, seq in rows:
        for text in (member, reason):
            if text not in texts:
                texts[text] = line((text or b"").decode(errors="replace"))
        who, packed = texts[member], (four or b"", six or b"")
        latest = max(latest, _number(seq))
        if gone == b"\x01":
            found.gone.setdefault(who, []).append(packed)
        else:
            key = texts[reason], None if until is None else _number(until)
            found.bans.setdefault(who, {}).setdefault(key, []).append(packed)
    return evolve(found, seq=latest, asked=asked)


def _networks(parts: Iterable[ends.Packed]) -> Networks:
    """Return what cidr_send gave, one behind another; what is mapped is of IPv4."""
    four, six = map(b"".join, zip(*parts, strict=True))
    packed4, packed6 = _packed(four, _SENT[4]), _packed(six, _SENT[6])
    networks = Networks.of_packed(packed4, packed6)
    if _MAPPED in packed6:
        return Networks.of([network.unmapped for network in networks])
    return networks


def _packed(sent: bytes, step: int) -> bytes:
    """Return the addresses and their lengths, each of so many bytes, as `Networks` packs them."""
    size = step - 4
    packed = bytearray(len(sent) // step * (size + 1))
    if packed:
        for byte in range(size):
            packed[byte :: size + 1] = sent[4 + byte :: step]
        packed[size :: size + 1] = sent[1::step]
    return bytes(packed)


def _int(number: int) -> bytes:
    return b"%d" % number


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", signed=True)


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")
