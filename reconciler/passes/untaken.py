"""What feeds say of a network and passes do not take: it is asked of their own files."""

from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from reconciler.config.feeds import ConfiguredFeed
from reconciler.errors import FeedUnreadable
from reconciler.feeding import FeedGroup
from reconciler.feeds.reading import read
from reconciler.feeds.sieve import Sieve
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks
from reconciler.store.feeds import FeedState


@frozen(eq=False)
class Untaken:
    """Networks that a feed names, and why nothing is dropped because of that."""

    feed: str
    networks: Networks
    why: str

    def covers(self, network: Network) -> bool:
        """Whether all of a network is named."""
        return any(each <= network <= each.end for each in self.networks)


def untaken(
    feeds: Iterable[ConfiguredFeed],
    states: Mapping[str, FeedState],
    network: Network,
    taken: Mapping[str, Networks],
) -> Iterator[Untaken]:
    """Yield what meets the network of what was not ``taken``.

    A file is only read where its feed is known to say more than was taken. One that cannot be read
    says nothing here: that is its trouble, and told as such.
    """
    for feed in feeds:
        state = states.get(feed.name, FeedState(feed.name))
        if not (state.cut or state.refused or state.trouble or state.taken is None):
            continue
        try:
            groups = read(feed.store, feed.limits).groups
        except FeedUnreadable:
            continue
        said = Networks.union(group.networks for group in groups).meeting(network)
        yield from _judged(feed, said, network, taken.get(feed.name, NOTHING))


def _judged(
    feed: ConfiguredFeed, said: Networks, network: Network, taken: Networks
) -> Iterator[Untaken]:
    group = FeedGroup(said)
    sieve = Sieve.of([group], feed.limits.min_prefix, private=feed.limits.private)
    for why, networks in sieve.refused:
        yield Untaken(feed.name, networks, f"it is refused, being {why}")
    if cut := sieve.cut.meeting(network):
        yield Untaken(feed.name, cut, "private space is cut out of what feeds say")
    left = Networks.union(each.networks for each in sieve.sift([group]))
    if more := Networks.of(left.meeting(network)) - taken:
        yield Untaken(feed.name, more, f"no pass has taken that: treason feed show {feed.name}")
