"""Whether the database can be read and written, and nobody else can change it."""

import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine
from reconciler.errors import StoreError
from reconciler.lines import counted, first_few
from reconciler.report.times import iso
from reconciler.store.bans import NotEnforced
from reconciler.store.store import Store

_SECONDS: Final = 0.7
"""For which a database is searched for damage; what of it is not reached is not judged."""

_NAMED: Final = 20
"""Stored bans that one command removes."""

_OLD: Final = 30 * 86400
"""Seconds after which whoever made a backup is asked for another one."""

_WHY: Final = "what is banned is enforced only as far as it can be read, and nothing is removed"


def check(machine: Machine) -> Iterator[Finding]:
    """Yield what is wrong with it."""
    path = machine.setup.config.treason.database
    yield from permissions(machine)
    if machine.refused:
        yield Finding(
            machine.refused.what,
            "no ban can be read, so none can be made, changed or removed",
            machine.refused.hint,
        )
        return
    if not path.exists():
        yield Finding(
            f"{path}: there is no database yet",
            "nothing is remembered, and the services do not begin one",
            machine.command("init"),
        )
        return
    if machine.store:
        yield from _damage(machine.store, path, _restoring(machine))
        yield from _not_enforced(machine, machine.store)
        yield from _backup(machine)


def permissions(machine: Machine) -> Iterator[Finding]:
    """Yield which of the database and its directory others than its owner may change."""
    path = machine.setup.config.treason.database
    for each in dict.fromkeys([path.parent, path]):
        with suppress(OSError):
            held = each.stat()
            if held.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                shared = stat.S_ISDIR(held.st_mode) and held.st_mode & stat.S_ISVTX
                yield Finding(
                    f"{each}: others than its owner may write to it",
                    "who can change the database decides who is dropped, and who is not",
                    f"keep it in a directory of its own: [treason] database in {machine.setup.path}"
                    if shared  # as /tmp is, which others need as it is
                    else f"chmod go-w {shlex.quote(str(each))}",
                )


def _restoring(machine: Machine) -> str:
    """Return what restores the database: by the last backup, if that is where it was written to."""
    last = machine.stored(lambda store: store.backups.last(), None)
    there = last is not None and Path(last.path).is_file()
    return machine.command("restore", last.path) if last and there else "restore it from a backup"


def _damage(store: Store, path: Path, restore: str) -> Iterator[Finding]:
    """Yield what of it cannot be read: of the bans first, then of all, as long as time allows."""
    name = shlex.quote(str(path))
    try:
        found = store.integrity.unreadable()
        told = [] if found else store.integrity.indexes()
    except StoreError as error:
        found, told = [str(error)], []
    for each in found:
        yield Finding(each.partition("\n")[0], _WHY, restore)
    for each in told:
        yield Finding(each.partition("\n")[0], _WHY, f"sqlite3 {name} REINDEX")
    if not (found or told):
        try:
            said = store.integrity.search(_SECONDS)
        except StoreError as error:
            said = [error.what]
        for each in said:
            yield Finding(f"{path}: {each}", _WHY, restore)


def _not_enforced(machine: Machine, store: Store) -> Iterator[Finding]:
    """Yield the stored bans that are none."""
    allows = machine.setup.config.treason.min_prefix.allows
    ask = partial(store.bans.exceptions, machine.clock.now, allows)
    found = machine.stored(lambda _store: ask(), None)
    refused = found.refused if found else NotEnforced()
    for texts, what in (
        (refused.invalid, "not a network"),
        (refused.too_wide, "wider than [treason] min_prefix allows, and stored by another program"),
    ):
        if texts:
            are = "is" if len(texts) == 1 else "are"
            named = [shlex.quote(text) for text in texts[:_NAMED]]
            yield Finding(
                f"{counted(len(texts), 'stored ban')} {are} {what}: {first_few(named)}",
                "it is not enforced" if len(texts) == 1 else "they are not enforced",
                machine.command("unban", "--", *texts[:_NAMED]),
            )


def _backup(machine: Machine) -> Iterator[Finding]:
    """Yield that the last backup is old; whoever never made one may have other ways."""
    last = machine.stored(lambda store: store.backups.last(), None)
    if last and machine.clock.now - last.time > _OLD:
        there = Path(last.path).parent.is_dir()
        yield Finding(
            f"the last backup was made at {iso(last.time)}",
            "what was stored since is lost with the database",
            machine.command("backup", "--force", last.path)
            if there
            else f"make one elsewhere, as {last.path} is out of reach: treason backup FILE",
        )
