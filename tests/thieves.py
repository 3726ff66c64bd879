"""Who has stolen a member's password, and the honest members of that fleet."""

import time
from typing import Any

import psycopg
from fleetplaces import Fleet, Member

Raw = psycopg.Connection[Any]
KEPT = "203.0.113.1"


def honest(fleet: Fleet) -> Member:
    """Add two members, ``good`` and ``other``: the first has a ban that the other knows."""
    good, other = fleet.grow("good", "other")
    good.bans(KEPT)
    good.settles()
    other.settles()
    assert other.told() == {"good": {KEPT}}
    return good


def goes_on(fleet: Fleet, *, within: float = 30.0) -> None:
    """Ban on one, and have it dropped on the other in time; what was before is there."""
    good, other = fleet.members["good"], fleet.members["other"]
    begun = time.monotonic()
    fresh = "203.0.113.7"
    good.bans(fresh)
    good.settles()
    other.settles()
    assert {KEPT, fresh} <= other.dropped()
    assert time.monotonic() - begun < within


def publish(connection: Raw, *networks: str, seconds: int | None = None, reason: str = "") -> int:
    """Publish as the functions allow it, and return how many were accepted."""
    number = len(networks)
    row = connection.execute(
        "SELECT fleet.publish(%s::cidr[], %s::bigint[], %s::text[])",
        [[*networks], [seconds] * number, [reason] * number],
    ).fetchone()
    assert row is not None
    return int(row[0])
