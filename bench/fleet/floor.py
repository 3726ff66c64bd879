"""The least that it takes from one host to another by PostgreSQL: ``python -m bench.fleet.floor``.

It waits for a notification, reads the row, and adds its address to the table's set. Nothing is
judged, nothing stored. The DSN is the first line of standard input; it ends with its input.
"""

import select
import sys
from typing import Final

import psycopg

from backends.nftables import layout
from backends.nftables import statements as nft
from backends.nftables.backend import Nftables
from reconciler.model import Change, Desired, Plan
from reconciler.netlink import Connection
from reconciler.network import Network
from reconciler.networks import Networks

SCHEMA: Final = (
    "CREATE TABLE floor (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, network cidr);"
    " CREATE ROLE floor LOGIN; GRANT SELECT, INSERT ON floor TO floor;"
    " GRANT USAGE ON SCHEMA public TO floor"
)
INSERT: Final = (
    "WITH made AS (INSERT INTO floor (network) VALUES (%s) RETURNING seq)"
    " SELECT pg_notify('floor', seq::text) FROM made"
)
"""What a host does that tells of a network."""

_NEWS: Final = "SELECT seq, host(network) FROM floor WHERE seq > %s ORDER BY seq"


def main() -> None:
    """Make the table, then wait for notifications."""
    dsn = sys.stdin.readline().strip()
    backend, nothing = Nftables(), Desired(Networks())
    backend.apply(Plan(Change(), Change(), backend.observe().damage, nothing))
    hashed = layout.shape_for(nothing).hosts(4)[0]
    kernel, read = Connection(), 0
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=0) as connection:
        connection.execute("LISTEN floor")
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        poll.register(sys.stdin.fileno(), select.POLLIN)
        print("ready", flush=True)
        while sys.stdin.fileno() not in {descriptor for descriptor, _ in poll.poll()}:
            connection.pgconn.consume_input()
            while connection.pgconn.notifies():
                pass
            for seq, network in connection.execute(_NEWS, (read,)).fetchall():
                packed = Networks.of([Network.parse(network)]).hosts(4)
                kernel.commit([*nft.Hosts(hashed, packed).messages()])
                read = seq


if __name__ == "__main__":
    main()
