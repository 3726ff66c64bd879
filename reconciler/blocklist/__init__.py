"""Lists of networks, read in the forms in which people publish them.

One network a line: ``192.0.2.1``, ``192.0.2.0/24``, ``192.0.2.0/255.255.255.0``,
``192.0.2.0 255.255.255.0``, ``192.0.2.0-192.0.2.9``, and the same of IPv6. ``#`` and ``;`` begin a
comment, also behind a network, whose reason it then is. Further columns, behind a tab or a comma,
are passed over, and so is a line that names the columns. Besides: Spamhaus' lines of JSON,
DShield's start, end and prefix length, and what ``ipset save`` prints.

An address inside a network (``192.0.2.1/24``) stands for the network, as ipset and FireHOL have it.

`read` reads a list into a `Blocklist`; what of it means nothing is `Refused`.
"""

from reconciler.blocklist.reading import Blocklist, Refused, read

__all__ = ["Blocklist", "Refused", "read"]
