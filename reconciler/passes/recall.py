"""What backends are known to hold from earlier passes, and what has changed in the bans since.

As long as a backend has the fingerprint under which it was verified, it holds what was desired
then. So the plan follows from the bans that changed, and costs as much as they are, not as much
as there are bans.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final

from attrs import evolve, field, frozen

from reconciler.model import Change, Desired, Plan
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks, covered
from reconciler.passes.enforce import Recalled
from reconciler.planning.desired import collapse, subtract
from reconciler.store.bans import UNGUARDED
from reconciler.store.changes import KEPT, Verified
from reconciler.store.store import Store

_MOST: Final = 2_000
"""Changed bans above which reading everything is faster."""


@frozen(eq=False)
class Recall:
    """What a pass knows, over the bans as they are when it is made.

    ``digest`` stands for all that the plan depends on besides the bans: the configuration, what is
    exempt, the program. ``allows`` tells which networks may be banned unchecked; ``extra`` are
    banned without being stored. A backend is read again when ``resync`` seconds have gone by.
    ``whole`` gives all that is desired; of that ``fed`` gives what feeds hold. With ``write``
    changes are noted for new backends too. What is held is remembered only where ``settled`` says
    that all of it is stored.
    """

    store: Store
    now: int
    digest: str
    resync: int
    exempt: Networks
    allows: Callable[[Network], bool]
    extra: Networks
    whole: Callable[[], Desired]
    write: bool = True
    settled: Callable[[], bool] = lambda: True
    fed: Callable[[], Networks] = lambda: NOTHING
    _revision: int = field(init=False)
    _version: int = field(init=False)

    @_revision.default
    def _(self) -> int:
        return self.store.changes.revision

    @_version.default
    def _(self) -> int:
        return self.store.changes.version

    def recall(self, backend: str, fingerprint: str) -> Recalled | None:
        """Return the plan from what was verified; None when it is not known what that was."""
        return self.store.attempt_to_read(partial(self._recalled, backend, fingerprint))

    def _recalled(self, backend: str, fingerprint: str) -> Recalled | None:
        verified = self.store.changes.verified(backend)
        if verified is None and self.write:
            self.store.attempt(partial(self.store.changes.begin, backend, self.now))
        if verified is None or not self._holds(verified, fingerprint):
            return None
        if self._revision - verified.revision > KEPT:
            return None
        touched = self.store.changes.touched(verified, self.now)
        by_feeds = self._touched_by_feeds(verified)
        if touched is None or by_feeds is None:
            return None
        if len(touched) + len(by_feeds) + len(self.extra) > _MOST:
            return None
        change = self._change(touched, by_feeds)
        needed = Plan(change, Change(), (), self.whole) if change else None
        return Recalled(needed, verified.enforced)

    def keep(self, backend: str, fingerprint: str, enforced: int, *, read: bool) -> None:
        """Remember what was verified in this pass; `Store.unwritten` says why that failed."""
        if self.settled():
            self.store.attempt(partial(self._keep, backend, fingerprint, enforced, read=read))

    def _keep(self, backend: str, fingerprint: str, enforced: int, *, read: bool) -> None:
        """Remember it, but not when bans came or went meanwhile: then it is of no revision.

        Nor while bans that have ended are stored: what is noted of a change does not tell that the
        ban there was did not count any more.
        """
        changes, store = self.store.changes, self.store
        if changes.revision != self._revision:
            return
        if store.bans.ended(self.now) or store.feeds.ended(self.now):
            return
        old = changes.verified(backend)
        begun = old is None or not old.fingerprint
        if begun and changes.version != self._version:
            return  # a change that came before changes were noted may have been overlooked
        since = self.now if read or old is None else old.read
        now = Verified(
            fingerprint=fingerprint,
            digest=self.digest,
            revision=self._revision,
            time=self.now,
            read=since,
            enforced=enforced,
        )
        if old is None or read or evolve(old, time=self.now) != now:
            changes.verify(backend, now)

    def _holds(self, verified: Verified, fingerprint: str) -> bool:
        """Whether the state that was verified is still there, and is to be believed."""
        same = (verified.fingerprint, verified.digest) == (fingerprint, self.digest)
        return same and verified.time <= self.now < verified.read + self.resync

    def _touched_by_feeds(self, since: Verified) -> dict[Network, bool] | None:
        """Return what feeds may hold since, or not any more, and whether they did before."""
        ended = self.store.feeds.ended_since(since.time, self.now)
        noted = self.store.changes.touched_by_feeds(since)
        if noted is None or len(ended) > _MOST:
            return None
        return dict.fromkeys(ended, True) | noted

    def _change(
        self, touched: Mapping[Network, str | None], by_feeds: Mapping[Network, bool]
    ) -> Change:
        """Return what changed inside the networks whose bans came or went, their own or of feeds.

        Of those, the ones that lie inside a ban that was there all the time change nothing.
        """
        before: set[Network] = set()
        after: set[Network] = set()
        around: dict[Network, set[Network]] = {}
        extra, nothing = set(self.extra), not (touched or by_feeds or self.extra)
        fed = NOTHING if nothing else self.fed()
        wider = {*fed.wider(4), *fed.wider(6)}
        for network in {*touched, *by_feeds, *extra}:
            held = self._counting(self.store.bans.around(network, self.now))
            was = touched.get(network) if network in touched else held.get(network)
            around[network] = held.keys() - {network}
            if extra:
                around[network] |= extra.intersection(network.supernets)
            if wider:
                around[network] |= wider.intersection(network.supernets)
            is_fed = network in fed
            if by_feeds.get(network, is_fed) or (was is not None and self._counts(network, was)):
                before.add(network)
            if network in held or network in extra or is_fed:
                after.add(network)
        flipped = before ^ after
        regions = collapse(each for each in flipped if not around[each] - flipped)
        inside = {network for region in regions for network in self._inside(region, fed)}
        inside |= {network for network in after if covered(network, regions)}
        old = (inside - after) | {network for network in before if covered(network, regions)}
        new_banned, old_banned = (subtract(collapse(each), self.exempt) for each in (inside, old))
        return Change(new_banned - old_banned, old_banned - new_banned)

    def _inside(self, region: Network, fed: Networks) -> Iterator[Network]:
        """Yield what is banned inside a network now."""
        yield from self._counting(self.store.bans.inside(region, self.now))
        yield from fed[bisect_left(fed, region) : bisect_right(fed, Network(region.end))]

    def _counting(self, bans: Iterable[tuple[Network, str]]) -> dict[Network, str]:
        return {network: origin for network, origin in bans if self._counts(network, origin)}

    def _counts(self, network: Network, origin: str) -> bool:
        """Whether a ban is enforced at all."""
        return origin != UNGUARDED or self.allows(network)
