"""The structure of the legacy variant, through python-iptables: one commit for each table.

python-iptables takes no lock, and commits over what another program did meanwhile: each commit
here is made under the lock that the programs take. It keeps tables and their handles for good,
and a handle belongs to the network namespace in which it was made: each is opened anew.
"""

import fcntl
import importlib
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from backends.xtables.chain import CHAIN
from backends.xtables.hooks import Repair
from backends.xtables.programs import LOCKED, LOCKED_HINT, WAIT
from reconciler import BackendFailed, hints

_LOCK: Final = "/run/xtables.lock"  # XT_LOCK_NAME of iptables
_PAUSE: Final = 0.02


def carry_out(version: int, repair: Repair) -> None:
    """Repair one table's structure in one commit; raise `BackendFailed`.

    The jumps of the chains in question are found anew, under the lock.
    """
    iptc = _module()
    with _locked():
        try:
            _commit(iptc, version, repair)
        except (iptc.IPTCError, iptc.ip4tc.XTablesError) as error:
            reason = str(error).replace("b'", "").rstrip("'")  # it writes bytes as they are
            raise BackendFailed(
                f"python-iptables: table {repair.table}: {reason}",
                hints.hint(reason),
            ) from None


def _module() -> Any:  # noqa: ANN401 - the module has no types
    """Import it where it is needed: it takes half a second, and looks for libraries."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its sources hold escapes that Python warns of
            return importlib.import_module("iptc")
    except Exception as error:  # noqa: BLE001 - it raises whatever its search ran into
        raise BackendFailed(
            f"python-iptables cannot be loaded: {error}",
            "the legacy variant needs it: pip install 'treason[legacy]'",
        ) from None


def _commit(iptc: Any, version: int, repair: Repair) -> None:  # noqa: ANN401 - see above
    kind = iptc.Table6 if version == 6 else iptc.Table
    # Making a rule looks for its target in every table that this names, and so registers them.
    kind.existing_table_names.update({name: name == repair.table for name in kind.ALL})
    table = kind(repair.table, autocommit=False)
    try:
        table.refresh()
        if repair.creates and not table.is_chain(CHAIN):
            table.create_chain(CHAIN)
        for chain in dict.fromkeys([*(chain for chain, _ in repair.deletes), *repair.inserts]):
            _unhook(table, chain)
        for chain in repair.inserts:
            rule = iptc.Rule6() if version == 6 else iptc.Rule()
            rule.target = iptc.Target(rule, CHAIN)
            iptc.Chain(table, chain).insert_rule(rule)
        if repair.removes:
            table.flush_entries(CHAIN)
            table.delete_chain(CHAIN)
        table.commit()
    finally:
        table.close()


def _unhook(table: Any, chain: str) -> None:  # noqa: ANN401 - see above
    """Delete the chain's jumps by number, which the lock keeps right.

    `Chain.rules` would decode every rule, also those of extensions that it does not know.
    """
    from ctypes import c_uint  # noqa: PLC0415 - every command imports this module

    numbers = []
    rule, number = table.first_rule(chain), 0
    while rule:
        if table.get_target(rule) == CHAIN.encode():
            numbers.append(number)
        rule, number = table.next_rule(rule), number + 1
    delete = table._iptc.iptc_delete_num_entry  # noqa: SLF001 - there is no public way by number
    for number in reversed(numbers):
        delete(chain.encode(), c_uint(number), table._handle)  # noqa: SLF001 - likewise


@contextmanager
def _locked() -> Iterator[None]:
    """Hold the lock of the iptables programs; raise `BackendFailed` when it stays taken."""
    path = os.environ.get("XTABLES_LOCKFILE") or _LOCK
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BackendFailed(
            f"{path}: cannot open the xtables lock: {error.strerror}",
            "run as root, or let XTABLES_LOCKFILE name a file that can be written",
        ) from None
    try:
        deadline = time.monotonic() + WAIT
        while not _taken(descriptor):
            if time.monotonic() > deadline:
                raise BackendFailed(f"{path}: {LOCKED}", LOCKED_HINT)
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
