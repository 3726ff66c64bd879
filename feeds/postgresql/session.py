"""A connection to the fleet's database: whole pipelines of statements, each within a time."""

import select
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import psycopg
from psycopg import pq
from psycopg.pq import abc

from feeds.postgresql.failures import Lost, Refused, Silent

_CHANNEL: Final = b"fleet"
_BINARY: Final = 1

Row = tuple[bytes | None, ...]


class Statement(NamedTuple):
    """A statement of SQL; one with a name is prepared at its first use."""

    sql: bytes
    parameters: tuple[bytes | None, ...] = ()
    name: bytes = b""


class Notification(NamedTuple):
    """A NOTIFY: whose backend sent it, and what it says."""

    pid: int
    payload: bytes


class Session:
    """A connection that was made, in libpq's pipeline mode, until `close`."""

    def __init__(self, connection: abc.PGconn) -> None:
        self._connection = connection
        self._prepared: set[bytes] = set()
        connection.nonblocking = 1
        connection.enter_pipeline_mode()
        self.is_pooled = False
        """Whether somebody between gives each transaction another session of the server."""

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._connection.status == pq.ConnStatus.OK

    @property
    def pid(self) -> int:
        """The process that serves it, as the server told at the beginning."""
        return self._connection.backend_pid

    def fileno(self) -> int:
        """Return the socket of an open session."""
        return self._connection.socket

    def close(self) -> None:
        """Close it, also repeatedly."""
        self._connection.finish()

    def run(self, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        """Return the rows of each, in binary, by one round trip within so many seconds.

        Each is a transaction of its own, unless they open one. Raise `Refused` for the first that
        is, once all are done; `Lost` where the connection is, and close it.
        """
        try:
            return self._run(statements, time.monotonic() + seconds, seconds)
        except psycopg.Error as error:
            text = _text(self._connection) or str(error)
            self.close()
            raise Lost(text) from None
        except Refused:
            raise
        except BaseException:  # interrupted: what comes next is the answer of another question
            self.close()
            raise

    def take(self) -> list[Notification]:
        """Return the notifications that have come, without waiting. Raise `Lost`."""
        try:
            self._connection.consume_input()
            return [*self._notifications()]
        except psycopg.Error as error:
            text = _text(self._connection) or str(error)
            self.close()
            raise Lost(text) from None

    def _notifications(self) -> Iterator[Notification]:
        while (each := self._connection.notifies()) is not None:
            if each.relname == _CHANNEL:
                yield Notification(each.be_pid, each.extra)

    def _run(self, statements: Sequence[Statement], end: float, seconds: float) -> list[list[Row]]:
        connection = self._connection
        asked = []
        for each in statements:
            name = b"" if self.is_pooled else each.name
            if name and name not in self._prepared:
                connection.send_prepare(name, each.sql)
                connection.pipeline_sync()
                asked.append(name)
            if name:
                connection.send_query_prepared(name, each.parameters, result_format=_BINARY)
            else:
                connection.send_query_params(each.sql, each.parameters, result_format=_BINARY)
            connection.pipeline_sync()
            asked.append(b"")
        answers: list[list[Row]] = []
        refused: Refused | None = None
        for name in asked:
            try:
                rows = self._answer(end, seconds)
            except Refused as error:
                refused = refused or error
                continue
            if name:
                self._prepared.add(name)
            else:
                answers.append(rows)
        if refused:
            raise refused
        return answers

    def _answer(self, end: float, seconds: float) -> list[Row]:
        """Return the rows of the next statement. Raise `Refused` behind its end."""
        rows: list[Row] = []
        refused: Refused | None = None
        while True:
            result = self._next(end, seconds)
            if result is None:
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                break
            if result.status == pq.ExecStatus.TUPLES_OK:
                columns = range(result.nfields)
                rows += [
                    tuple([result.get_value(row, column) for column in columns])
                    for row in range(result.ntuples)
                ]
            elif result.status == pq.ExecStatus.FATAL_ERROR:
                refused = refused or _refused(result)
                if self._connection.status != pq.ConnStatus.OK:
                    raise psycopg.OperationalError(refused.text)
            result.clear()
        if refused:
            raise refused
        return rows

    def _next(self, end: float, seconds: float) -> abc.PGresult | None:
        connection = self._connection
        poll = select.poll()
        while (unsent := connection.flush()) or connection.is_busy():
            poll.register(connection.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000 + 1):
                raise Silent(f"no answer within {seconds:g} s")
            connection.consume_input()
        return connection.get_result()


def _refused(result: abc.PGresult) -> Refused:
    def said(which: pq.DiagnosticField) -> str:
        return (result.error_field(which) or b"").decode(errors="replace")

    text = said(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message.decode(errors="replace")
    return Refused(said(pq.DiagnosticField.SQLSTATE), text)


def _text(connection: abc.PGconn) -> str:
    with suppress(psycopg.Error):
        return connection.error_message.decode(errors="replace").strip()
    return ""
