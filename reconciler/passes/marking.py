"""Whose a thing is that cannot tell it: what has the digest of what was written last is ours.

The digest is kept before the thing is replaced, beside that of what is there until then. So a pass
that is killed in between, or right behind it, knows both again.
"""

from collections.abc import Callable
from functools import partial

from attrs import field, frozen

from reconciler.errors import BackendError, BackendFailed, StoreError
from reconciler.interfaces import Backend, DigestedBackend
from reconciler.model import Plan
from reconciler.planning.plan import Causes, unexplained
from reconciler.store.marks import Mark
from reconciler.store.store import Store, open_store


@frozen(eq=False)
class Marking:
    """What a pass knows of it.

    ``adopt`` takes over what is there, whoever wrote it. ``causes`` explain what was lifted since
    an older store wrote, which kept no marks. Without ``writable`` a mark gets a connection of its
    own.
    """

    store: Store
    causes: Callable[[], Causes]
    adopt: bool = False
    writable: bool = True
    _accepted: set[tuple[str, str]] = field(factory=set, init=False)

    def check(self, name: str, backend: Backend, needed: Plan | None) -> None:
        """Raise `BackendError` if what is there is somebody else's, and is to be changed."""
        if not isinstance(backend, DigestedBackend):
            return
        subject, digest = backend.subject(), backend.digest()
        if digest is None or self._is_ours(subject, digest):
            return
        mark = self.store.marks.get(subject)
        if self.adopt or self._is_harmless(mark, needed):
            self._accepted.add((subject, digest))
        elif needed is not None:
            who = (
                "somebody else has changed it since this database wrote it"
                if mark
                else "it was not written by this database"
            )
            raise BackendError(
                f"{_told(name, subject)}: {who}, so it is left as it is",
                "move it away; to replace what it holds:"
                f" treason reconcile --backend {name} --adopt",
            )

    def settle(self, backend: Backend) -> None:
        """Keep the mark of what is in sync already, and may be changed later."""
        if not isinstance(backend, DigestedBackend):
            return
        subject, digest = backend.subject(), backend.digest()
        if digest is None or (subject, digest) not in self._accepted:
            return
        self.store.attempt(partial(self._keep, subject, Mark(digest)))  # or the next pass keeps it

    def announce(self, name: str, backend: Backend, plan: Plan) -> None:
        """Keep the mark of what `apply` is about to write.

        Raise `BackendFailed` if it is no longer what was checked, `BackendError` if no mark can be
        kept: without one, nobody would know it again.
        """
        if not isinstance(backend, DigestedBackend):
            return
        subject, before = backend.subject(), backend.digest()
        if before is not None and not self._is_ours(subject, before):
            raise BackendFailed(f"{_told(name, subject)}: somebody else has just changed it")
        written = backend.digest_of(plan)
        mark = self.store.marks.get(subject)
        if mark and {written, before or written} <= {mark.written, mark.before}:
            return  # what was written last is written again: both are known
        try:
            self._keep(subject, Mark(written, before or ""))
        except StoreError as refused:
            error = self.store.unwritten or refused  # the former may say more
            raise BackendError(
                f"{_told(name, subject)}: left as it is: the database cannot note what is to be"
                f" written: {error.what}",
                error.hint,
            ) from None
        self._accepted.add((subject, written))

    def _is_ours(self, subject: str, digest: str) -> bool:
        if (subject, digest) in self._accepted:
            return True
        mark = self.store.marks.get(subject)
        return mark is not None and digest in {mark.written, mark.before}

    def _is_harmless(self, mark: Mark | None, needed: Plan | None) -> bool:
        """Whether nothing of anybody's is lost, though it is not what was written last.

        It may lack some of what we wrote; or it is what an older store wrote, at a time that its
        bans and its history explain.
        """
        if mark is None and not self.store.marks.upgraded:
            return False
        if needed is None:
            return True
        if needed.repairs:
            return False
        if mark is not None:
            return not needed.banned.remove
        explained = not unexplained(needed, self.causes())
        return explained and self.store.bans.are_newest(needed.banned.add)

    def _keep(self, subject: str, mark: Mark) -> None:
        if self.store.marks.get(subject) == mark:
            return
        if self.writable:
            self.store.marks.keep(subject, mark)
            return
        with open_store(self.store.path, write=True) as store:
            store.marks.keep(subject, mark)


def _told(name: str, subject: str) -> str:
    """Name the backend and the thing, which the backend's name may tell already."""
    return name if name.endswith(f":{subject}") else f"{name}: {subject}"
