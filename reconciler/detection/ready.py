r"""Rules that are ready for kernels' other messages about peers; each is off until it is named.

The messages, as the kernel prints them:

- ``ufw-block``, ``netfilter-log``: the lines of the targets LOG and ``log``, as
  `net/netfilter/nf_log_syslog.c` writes them (before 5.13 `net/ipv4/netfilter/nf_log_ipv4.c` and
  `net/ipv6/netfilter/nf_log_ipv6.c`, before 3.17 `ipt_LOG.c` and `ip6t_LOG.c`, the same format):
  ``PREFIXIN=eth0 OUT= MAC=... SRC=A DST=B LEN=60 ... PROTO=TCP SPT=P DPT=L WINDOW=... URGP=0``.
- ``tcp-md5`` (RFC 2385): `net/ipv4/tcp_ipv4.c` and `net/ipv6/tcp_ipv6.c` from 2.6.20,
  ``MD5 Hash failed for (A, P)->(B, L)``, ``MD5 Hash mismatch for [A]:P->[B]:L``; at first also
  ``MD5 Hash expected but NOT found (A, P)->(B, L)`` and ``MD5 Hash NOT expected but found``;
  with ``TCP:`` ahead of it and ``L3 index N`` behind it later on. From 6.7 `include/net/tcp_ao.h`,
  ``TCP: MD5 Hash mismatch for A.P->B.L [flags] L3 index N``.
- ``tcp-ao`` (RFC 5925): the same file, ``TCP: AO hash mismatch for [A].P->[B].L [flags]L3index: N``
  and its kin. Since 6.11 there are only tracepoints for both.
- ``martian-source``: `net/ipv4/route.c`, ``martian source B from A, on dev eth0``, later with
  ``IPv4:`` ahead of it. A, the second one, is the sender, or somebody whom the sender pretends to
  be: so the rule only reports.

The words in front of ``IN=`` are the firewall's own (``--log-prefix``), and tell which of its rules
logged the packet. Without a prefix ``netfilter-log`` would take every one of them, also those of
packets that the firewall accepts, and what a device calls itself: so then it only reports.

The kernel's log has no network namespace: whoever may make one can have all of these printed about
anybody, but for those of the targets LOG and ``log``, which the kernel prints for the first one
alone while net.netfilter.nf_log_all_netns is 0 (`nf_log_syslog.c`).

A is the peer, P its port, L the local port. IPv6 addresses come as ``%pI6`` and as ``%pI6c``.
"""

import re
from typing import Final

from reconciler.detection.detect import FIREWALL, LazyPattern, Rule

_LONGEST: Final = 127
"""Characters of a prefix (NF_LOG_PREFIXLEN in linux/netfilter/nf_log.h)."""

_V4: Final = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
_V6: Final = r"[0-9a-f]{0,4}:[0-9a-f:.]{1,42}"
_PORT: Final = r"(?:0|[1-9][0-9]{0,4})"
_DEVICE: Final = r"[^\s/]{1,15}"

_IP: Final = (
    rf"(?:SRC=(?P<address>{_V4}|{_V6}) DST=(?:{_V4}|{_V6}) LEN=[0-9]+ )"
    r"(?:TOS=0x[0-9A-F]+ PREC=0x[0-9A-F]+ TTL=[0-9]+ ID=[0-9]+ (?:CE )?(?:DF )?(?:MF )?"
    r"(?:OPT \([0-9A-F]+\) )?|TC=[0-9]+ HOPLIMIT=[0-9]+ FLOWLBL=[0-9]+ )"
)
_SYN: Final = (
    rf"PROTO=TCP SPT=(?P<peer_port>{_PORT}) DPT=(?P<local_port>{_PORT}) "
    r"(?:SEQ=[0-9]+ ACK=[0-9]+ )?WINDOW=[0-9]+ RES=0x[0-9a-f]+ (?:AE )?(?:CWR )?(?:ECE )?SYN "
    r"URGP=[0-9]+(?: OPT \([0-9A-F]+\))?(?: UID=[0-9]+ GID=[0-9]+)?(?: MARK=0x[0-9a-f]+)? ?"
)
# Only packets to this machine (OUT= is empty) that begin a connection (SYN without ACK): of any
# other packet the sender may be a host that this machine, or one behind it, called itself.
_ATTEMPT: Final = (
    rf"IN={_DEVICE} OUT= (?:PHYSIN={_DEVICE} )?"
    rf"(?:MAC=[0-9a-f:]*(?: TUNNEL={_V4}->{_V4})? |MACSRC=[0-9a-f:]+ MACDST=[0-9a-f:]+ "
    rf"(?:VPROTO=[0-9a-f]+ VID=[0-9]+ )?MACPROTO=[0-9a-f]+ )?{_IP}{_SYN}"
)

_PEERS: Final = (
    rf"[(\[]?(?P<address>{_V4}|{_V6})(?:, |\]?[:.])(?P<peer_port>{_PORT})\)?->"
    rf"[(\[]?(?:{_V4}|{_V6})(?:, |\]?[:.])(?P<local_port>{_PORT})\)?"
)
_FLAGS: Final = r" \[[FSRP.]{0,5}\]"
_MD5: Final = (
    rf"(?:TCP: )?(?:MD5 Hash (?:expected but NOT found|NOT expected but found|(?:failed|mismatch"
    rf"|not found) for)|Unexpected MD5 Hash found for) {_PEERS}(?:{_FLAGS})?"
    r" ?(?:tcp_v4_calc_md5_hash failed)? ?(?:L3 index -?[0-9]+)?"
)
_AO: Final = (
    r"TCP: (?:AO hash (?:mismatch|wrong length|is required, but not found)|AO key not found"
    r"|Requested by the peer AO key id not found|TCP connection can't start/end using TCP-AO)"
    rf" for {_PEERS}{_FLAGS} ?(?:[0-9]+ != [0-9]+ ?|keyid: [0-9]+ ?)?"
    r"(?:missing AO|AO signed|L3 ?index:? -?[0-9]+)?"
)

# A device tells its own name, and the kernel prints it behind "usb 1-1: Product: "
# (drivers/usb/core/hub.c); ufw also tells of connections that it lets pass.
_PREFIX: Final = r"(?!usb |\[UFW (?:ALLOW|AUDIT))[ -~]{0,127}?"

READY: Final = (
    Rule(
        "ufw-block",
        LazyPattern(rf"\[UFW (?:LIMIT )?BLOCK(?: INPUT)?\]:? {_ATTEMPT}"),
        "[UFW ",
        confirm=FIREWALL,
    ),
    Rule(
        "netfilter-log",
        LazyPattern(rf"{_PREFIX}{_ATTEMPT}"),
        "PROTO=TCP SPT=",
        report_only=True,
        confirm=FIREWALL,
    ),
    Rule("tcp-md5", LazyPattern(_MD5), "MD5 Hash "),
    Rule("tcp-ao", LazyPattern(_AO), "AO "),
    Rule(
        "martian-source",
        LazyPattern(rf"(?:IPv4: )?martian source {_V4} from (?P<address>{_V4}), on dev {_DEVICE}"),
        "martian source ",
        report_only=True,
    ),
)


def prefixed(prefix: str) -> Rule:
    """Return the rule for what a firewall logs with this prefix, and nothing else."""
    pattern = LazyPattern(re.escape(prefix) + _ATTEMPT)
    return Rule("netfilter-log", pattern, "PROTO=TCP SPT=", confirm=FIREWALL)


def read_prefix(text: object) -> str:
    """Check a prefix; raise ValueError with the reason."""
    if not isinstance(text, str):
        raise TypeError(f"must be a string, not {text!r}")
    if not re.fullmatch(rf"[ -~]{{1,{_LONGEST}}}", text) or not text.strip():
        raise ValueError(
            f"{text!r} is not a prefix: write the firewall's own, as in 'DROP: ', up to"
            f" {_LONGEST} characters of ASCII"
        )
    return text
