"""What the daemon is started with: a process that may be large has resolved it, and is gone."""

import json
import sys
from typing import Final

from attrs import asdict, frozen

from reconciler.log import WARNING

FRUGAL: Final = {"MALLOC_ARENA_MAX": "1"}
"""What the daemon's environment says to the C library (mallopt(3)): two threads share one heap."""


@frozen
class Given:
    """The configuration file, as it was named, and what the command line says besides.

    From ``level`` on is logged (`reconciler.log`). ``resolved`` are the plugins that are needed,
    with their modules, and ``needs`` are the capabilities that these declare; those in
    ``attaching``, with the sources that need them, are needed until these are woken. ``max_new`` is
    that of each feed, whose plugin is not needed.
    """

    named: str | None
    sources: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    create: bool = True
    level: int = WARNING
    resolved: tuple[tuple[str, str], ...] = ()
    needs: tuple[str, ...] = ()
    max_new: tuple[tuple[str, int], ...] = ()
    attaching: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, text: str) -> "Given":
        """Read what `written` wrote."""
        told = json.loads(text)
        lists = {name: tuple(told[name]) for name in ("sources", "backends", "needs")}
        resolved = tuple((name, value) for name, value in told["resolved"])
        attaching = tuple((name, value) for name, value in told["attaching"])
        limits = tuple((name, int(number)) for name, number in told["max_new"])
        create, level = bool(told["create"]), int(told["level"])
        return cls(
            told["named"],
            **lists,
            create=create,
            level=level,
            resolved=resolved,
            max_new=limits,
            attaching=attaching,
        )

    def written(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self), separators=(",", ":"))

    def command(self, *, scan: bool = True) -> list[str]:
        """Return how a child makes a pass: it waits long for the lock, as nobody waits for it."""
        return [
            *self._treason,
            *("reconcile", "--scheduled", "--lock-timeout", "60"),
            *([] if self.create else ["--no-create"]),
            *([] if scan else ["--no-scan"]),
            *self._chosen,
        ]

    def resolving(self) -> list[str]:
        """Return how a child resolves anew what the files say by now."""
        return [*self._treason, "run", "--resolve", *self._chosen]

    @property
    def _treason(self) -> list[str]:
        program = [sys.executable, "-P", "-m", "reconciler"]
        return program if self.named is None else [*program, "--config", self.named]

    @property
    def _chosen(self) -> list[str]:
        names = [("--source", each) for each in self.sources]
        names += [("--backend", each) for each in self.backends]
        return [part for pair in names for part in pair]


def lean(given: Given, first: str) -> list[str]:
    """Return how the daemon itself is run, which takes over the ``first`` pass."""
    return [sys.executable, "-P", "-m", "reconciler.daemon", given.written(), first]
