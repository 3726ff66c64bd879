"""The open database: what is asked of it and written to it, and what it says when it refuses."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from reconciler.errors import InvalidNetwork
from reconciler.network import Network
from reconciler.store.refusals import as_store_error


@frozen(eq=False)
class Database:
    """An open connection, and the file that every error names. All raise `StoreError`."""

    connection: sqlite3.Connection
    path: Path

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """Return all rows that a query finds."""
        with as_store_error(self.path):
            return self.connection.execute(query, values).fetchall()

    def stream(self, query: str, values: Sequence[object]) -> Iterator[Any]:
        """Yield the rows that a query finds, while it runs."""
        with as_store_error(self.path):
            for row in self.connection.execute(query, values):  # noqa: UP028 - it closes the rows
                yield row  # after the connection, where nobody reads on

    def blocks(self, query: str, values: Sequence[object], size: int) -> Iterator[list[Any]]:
        """Yield the rows that a query finds, ``size`` at a time."""
        with as_store_error(self.path):
            cursor = self.connection.execute(query, values)
            while block := cursor.fetchmany(size):
                yield block

    def execute(self, statement: str, values: Sequence[object] | Mapping[str, object] = ()) -> None:
        """Carry out a statement that writes."""
        with as_store_error(self.path):
            self.connection.execute(statement, values)

    def run(self, statement: str) -> None:
        """Carry out a statement that takes many steps (`execute` takes one of a PRAGMA)."""
        with as_store_error(self.path):
            self.connection.executescript(statement)

    def execute_many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Carry out a statement for each of the rows."""
        with as_store_error(self.path):
            self.connection.executemany(statement, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep together what is written inside: all of it is stored, or nothing."""
        inside = self.connection.in_transaction
        if inside:
            yield  # it is a part of the one around it
            return
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        finally:
            if self.connection.in_transaction:
                self.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


def texts(networks: Iterable[Network]) -> str:
    """Return the networks' texts as a JSON list, as SQLite's json_each() takes it."""
    return json.dumps([str(network) for network in networks])


def network_of(text: object) -> Network | None:
    """Read a stored network; None of what is none: another program may have written it."""
    try:
        return Network.parse(str(text))
    except InvalidNetwork:
        return None
