"""Kernel logs: what the kernel says about peers, among all that it says otherwise."""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final

from bench.inputs import addresses, sync

_OTHERS: Final = Path(__file__).with_name("kernel-lines.txt")
_VARIANTS: Final = 128
_EVERY: Final = 100
_PEERS: Final = 10_000
_STAMPS: Final = count(12_345_678_901, 37)
"""Microseconds since the boot of the machine that writes the next message."""


def lines(texts: Iterable[str]) -> str:
    """Join lines, each with its end."""
    return "".join(f"{text}\n" for text in texts)


def message(address: str) -> str:
    """Return the kernel's message about a peer."""
    return (
        f"TCP: Treason uncloaked! Peer {address}:4638/8080"
        " shrinks window 3207520931:3207522811. Repaired."
    )


def syslog(peers: Sequence[str]) -> str:
    """Return the messages about peers as rsyslog writes them, all of this second.

    Each has a stamp of its own: lines that share one are parts of one message.
    """
    head = time.strftime("%b %d %T host kernel:")
    return lines(
        f"{head} [{stamp // 10**6}.{stamp % 10**6:06d}] {message(peer)}"
        for peer, stamp in zip(peers, _STAMPS, strict=False)
    )


def kernel_log(path: Path, size: int) -> None:
    """Write a kernel's log of so many lines."""
    with path.open("w") as file:
        for number, text in enumerate(kernel_texts(size)):
            file.write(f"[{number // 40:5d}.{number * 24971 % 10**6:06d}] {text}\n")
    sync(path)


def kernel_texts(size: int) -> Iterator[str]:
    """Yield so many messages of a kernel; one in a hundred is about a peer.

    One of ten of those is about the same peer as the one before.
    """
    others = _OTHERS.read_text().splitlines()
    noise = [text.format(a=100 + a * 7, b=a % 10) for a in range(_VARIANTS) for text in others]
    peers = _peers()
    for number in range(size):
        about_peer = number % _EVERY == _EVERY // 2
        yield message(next(peers)) if about_peer else noise[number * 7919 % len(noise)]


def _peers() -> Iterator[str]:
    known = addresses(_PEERS)
    for number in count():
        yield known[(number - number % 10 // 9) % _PEERS]
