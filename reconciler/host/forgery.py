"""Whether local users can make the kernel log what they like.

The kernel's log has no network namespace: in one of their own they provoke any message.
"""

from pathlib import Path
from typing import Final

from attrs import frozen

_EVERY_USER: Final = ["0", "0", "4294967295"]


@frozen
class Forgery:
    """What the kernel says of its namespaces; the paths are those of proc(5).

    ``most`` limits the network namespaces that may be made (namespaces(7)), in each user namespace
    by itself, and ``mapped`` tells whether we are in the first one. ``logged`` is 0 where the
    firewall's target LOG prints for the first network namespace alone (``nf_log_all_netns`` in the
    kernel's Documentation/networking/netfilter-sysctl.rst); only that namespace has the file.
    """

    most: Path = Path("/proc/sys/user/max_net_namespaces")
    mapped: Path = Path("/proc/self/uid_map")
    logged: Path = Path("/proc/sys/net/netfilter/nf_log_all_netns")

    def is_impossible(self) -> bool:
        """Whether nobody can make a network namespace."""
        return _words(self.most) == ["0"] and _words(self.mapped) == _EVERY_USER

    def doubt_of_firewall(self) -> str:
        """Return why a line of the firewall's may be of another namespace; empty if it is not."""
        found = _words(self.logged)
        if found == ["0"]:
            return ""
        if not found:
            return f"{self.logged} cannot be read, so the line may be of another network namespace"
        return f"{self.logged} is {found[0]}, so the line may be of another network namespace"


def _words(path: Path) -> list[str]:
    """Return what a file says; nothing where it cannot be read."""
    try:
        return path.read_text().split()
    except OSError:
        return []


HERE: Final = Forgery()
