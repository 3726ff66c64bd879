"""Which records accuse a peer: what a rule matches, the kernel vouches for, and can be true."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from attrs import define

from reconciler import embedding, netlink
from reconciler.detection.detect import Rule, detect
from reconciler.host import listeners
from reconciler.model import Offence, Record
from reconciler.network import Network
from reconciler.passes.reading import SHOWN, Tally


def _own() -> frozenset[Network]:
    return frozenset([*netlink.addresses(), *netlink.broadcasts()])


@define(eq=False)
class Recognition:
    """Recognises offences in records.

    ``userspace`` believes records that the kernel did not write. ``listeners_only`` passes over
    ports on which nothing ``listening`` tells. ``own`` gives this machine's addresses, which can be
    no peer's, and is asked once something is recognised. ``nat64`` are the prefixes that hold IPv4.
    """

    userspace: bool = False
    listeners_only: bool = False
    listening: Callable[[], Collection[int]] = listeners.ports
    own: Callable[[], Collection[Network]] = _own
    nat64: Sequence[Network] = embedding.NAT64

    def offences(
        self, records: Iterable[Record], rules: Sequence[Rule], tally: Tally
    ) -> Iterator[Offence]:
        """Yield what counts, and tally what does not."""
        ports = self.listening() if self.listeners_only else None
        own: Collection[Network] | None = None
        for record in records:
            offence = detect(record, rules)
            if offence is None:
                if record.judgement is not None:
                    tally.unjudged[record.judgement.rule] += record.repeated
                continue
            if not (offence.trusted or self.userspace):
                tally.refused += offence.count
                if len(tally.examples) < SHOWN:
                    tally.examples.append(offence.evidence)
                continue
            own = self.own() if own is None else own
            standing = (offence.address, *embedding.embedded(offence.address, self.nat64))
            if any(each in own for each in standing):
                tally.impossible[offence.address] += offence.count
            elif ports is None or offence.local_port is None or offence.local_port in ports:
                yield offence
            else:
                tally.outbound += offence.count
