"""What the fleet's database says: where its clock stands, and what the other members ban.

All is read in one transaction that sees one moment, so that no ban is between what was read and the
position behind it.
"""

import re
from collections.abc import Iterator
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

_MANY: Final = 50_000
"""Bans, above which their ends are coarse from the beginning."""

_GROUPS: Final = 32_000
"""Different members, reasons and ends of a snapshot: a feed's file may hold 100,000."""

REREAD: Final = 85_000
"""Likewise, with all that came since: then all is read again, and its ends made coarser."""

_BEGIN: Final = Statement(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", (), b"begin")
_COMMIT: Final = Statement(b"COMMIT", (), b"commit")
_POSITION: Final = (
    b"SELECT version::int8, epoch::text, seq::int8, mark::text, floor::int8, members::int8, known"
    b" FROM fleet.position($1::int8, $2::text)"
)
_COUNT: Final = b"SELECT count(*) FROM (SELECT FROM fleet.news LIMIT $1::int8) AS counted"
_MEMORY: Final = Statement(b"SET LOCAL work_mem = '64MB'")
_NEWS: Final = b"""
SELECT member, gone, reason, until,
    string_agg(cidr_send(network), ''::bytea) FILTER (WHERE family(network) = 4),
    string_agg(cidr_send(network), ''::bytea) FILTER (WHERE family(network) = 6),
    max(seq)
FROM (
    SELECT member::text, network, seq, gone,
        CASE WHEN NOT gone THEN reason END AS reason,
        CASE WHEN NOT gone THEN -(-($2::int8 + seconds) >> bits) << bits END AS until
    FROM (
        SELECT member, network, seq, reason, seconds,
            removed OR coalesce(seconds < 1, false) AS gone,
            greatest(floor(ln(greatest(seconds, 1)::float8) / ln(2::float8))::int - $3::int, 0)
                AS bits
        FROM fleet.news WHERE seq > $1::int8
    ) AS told
    WHERE $1::int8 >= 0 OR NOT gone
) AS rounded
GROUP BY 1, 2, 3, 4
"""
"""As `ends.rounded`, where most bans are put together. cidr_send gives family, length, a flag and
the number of bytes before those of the address (src/backend/utils/adt/network.c)."""

_NOTHING: Final = Networks()
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
            _number(version), _text(epoch), _number(seq), _text(mark), _number(floor),
            _number(members), known == b"\x01",
        )  # fmt: skip


@frozen
class News:
    """What the members said: bans by member, reason and end, and networks that are banned no more.

    ``seq`` is the latest tick of any of it.
    """

    bans: dict[str, ends.Says]
    gone: dict[str, Networks]
    seq: int = 0

    @property
    def groups(self) -> int:
        """How many different members, reasons and ends there are."""
        return sum(map(len, self.bans.values()))

    def changes(self, now: int) -> Iterator[Change]:
        """Yield them, with the seconds that are left from ``now`` on."""
        for member, networks in self.gone.items():
            yield FeedLift(networks, member)
        for member, says in self.bans.items():
            for (reason, until), parts in says.items():
                left = None if until is None else max(until - now, 1)
                yield FeedBan(Networks.union(parts), left, member, reason)


def news(session: Session, cursor: Cursor, now: int) -> tuple[Position, News]:
    """Return where the clock stands, and what came since the cursor."""
    since = (_int(cursor.seq), _int(now), b"%d" % ends.FINE)
    _, position, groups, _ = session.run(
        [
            _BEGIN,
            Statement(_POSITION, (_int(cursor.seq), cursor.mark.encode()), b"position"),
            Statement(_NEWS, since, b"news"),
            _COMMIT,
        ],
        SHORT,
    )
    return Position.of(position), _news(groups)


def everything(session: Session, now: int) -> tuple[Position, News]:
    """Return where the clock stands, and all bans there are."""
    [[row]] = session.run([Statement(_COUNT, (b"%d" % (_MANY + 1),))], SHORT)
    fine = ends.COARSE if _number(row[0]) > _MANY else ends.FINE
    _, _, position, groups, _ = session.run(
        [
            _BEGIN,
            _MEMORY,
            Statement(_POSITION, (None, None)),
            Statement(_NEWS, (b"-1", _int(now), b"%d" % fine)),
            _COMMIT,
        ],
        _LONG,
    )
    said = _news(groups)
    if said.groups > _GROUPS:
        said = evolve(said, bans=ends.fitted(said.bans, now, _GROUPS))
    return Position.of(position), said


def listen(session: Session) -> str:
    """Let the session be told of changes. Return why that cannot be; empty where it can."""
    try:
        session.run([Statement(b"LISTEN fleet")], SHORT)
    except Refused as error:
        return line(error.text)
    return ""


def seen(session: Session, seq: int) -> None:
    """Tell how far this member has read."""
    session.run([Statement(b"SELECT fleet.seen($1::int8)", (_int(seq),), b"seen")], SHORT)


def _news(rows: list[Row]) -> News:
    found = News({}, {})
    latest = 0
    for member, gone, reason, until, four, six, seq in rows:
        who, networks = line(_text(member)), _networks(four or b"", six or b"")
        latest = max(latest, _number(seq))
        if gone == b"\x01":
            found.gone[who] = found.gone.get(who, _NOTHING) | networks
        else:
            key = line(_text(reason)), None if until is None else _number(until)
            found.bans.setdefault(who, {}).setdefault(key, []).append(networks)
    return evolve(found, seq=latest)


def _networks(four: bytes, six: bytes) -> Networks:
    """Return what cidr_send gave, one behind another; what is mapped is of IPv4."""
    packed4 = bytearray(len(four) // 8 * 5)
    for byte in range(4):
        packed4[byte::5] = four[4 + byte :: 8]
    packed4[4::5] = four[1::8]
    packed6 = bytearray(len(six) // 20 * 17)
    for byte in range(16):
        packed6[byte::17] = six[4 + byte :: 20]
    packed6[16::17] = six[1::20]
    networks = Networks.of_packed(packed4, packed6)
    if _MAPPED in packed6:
        return Networks.of([network.unmapped for network in networks])
    return networks


def _int(number: int) -> bytes:
    return b"%d" % number


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", signed=True)


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")
