"""Draw what commands show on terminals of 80 and 40 columns: ``python -m bench.screens``.

As root, in a network namespace: the firewall is one of its own, the attackers stand at a cable.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from reconciler.execute import run
from reconciler.host.netns import Wire

PICTURES: Final = Path(__file__).parent.parent / "docs" / "reference" / "screens"
COMMANDS: Final = {"status": ["status"], "list": ["list"], "why": ["why", "198.51.100.7"]}
"""What is drawn, by the name of its picture: the words behind ``treason``."""

WIDTHS: Final = (80, 40)
_PEERS: Final = ("198.51.100.7", "198.51.100.9", "203.0.113.77")
_STYLES: Final = {"1": "font-weight:bold", "31": "fill:#c0392b", "32": "fill:#1e8449",
                  "33": "fill:#9a7d0a"}  # fmt: skip
_PART: Final = re.compile(r"\x1b\[([0-9]*)m")
_WIDTH, _HEIGHT, _EDGE = 8.4, 18, 12
"""Of a character at 14 pixels, of a line, and what is left free around them."""


def main() -> None:
    """Draw every command at every width."""
    PICTURES.mkdir(exist_ok=True)
    with TemporaryDirectory() as directory:
        command = prepared(Path(directory))
        for name, words in COMMANDS.items():
            for width in WIDTHS:
                shown = on_terminal([*command, *words], width).replace(directory, "/var/lib")
                title = f"treason {' '.join(words)}, {width} columns"
                path = PICTURES / f"{name}-{width}.svg"
                path.write_text(drawn(shown.splitlines(), width, title))
                print(path)


def prepared(place: Path) -> list[str]:
    """Ban some peers, let packets of theirs come; return how the command begins."""
    config = place / "treason.toml"
    log = place / "kern.log"
    config.write_text(
        f'[treason]\ndatabase = "{place}/treason.db"\nlock = "{place}/lock"\nsources = ["file"]\n'
        f'[source.file]\npath = "{log}"\ntrusted = true\n[run]\nsocket = "{place}/control"\n'
    )
    shrinks = "TCP: Treason uncloaked! Peer {}:4638/8080 shrinks window 7:9. Repaired.\n"
    log.write_text("".join(map(shrinks.format, _PEERS)))
    command = [sys.executable, "-m", "reconciler", "--config", str(config)]
    wire = Wire(_PEERS)
    run([*command, "ban", "233.252.0.0/24", "--for", "8h", "--reason", "probes every port"])
    run([*command, "whitelist", "add", "233.252.0.9", "--comment", "the office"])
    run([*command, "reconcile"])
    for _ in range(40):
        wire.arriving(_PEERS[:2])
    wire.close()
    return command


def on_terminal(command: Sequence[str], width: int) -> str:
    """Return what a command writes to a terminal of so many columns, colours and all."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command, stdin=its, stdout=its, env=environment) as process:
        os.close(its)
        text = b"".join(_read(ours)).decode()
        process.wait()
    os.close(ours)
    return text.replace("\r\n", "\n")


def _read(terminal: int) -> Iterator[bytes]:
    """Yield all that is written, until nobody has the other end open any more."""
    while True:
        try:
            some = os.read(terminal, 1 << 16)
        except OSError:  # EIO, which is how a terminal ends
            return
        if not some:
            return
        yield some


def drawn(lines: Sequence[str], width: int, title: str) -> str:
    """Return lines of text, with their colours, as an SVG."""
    across, down = 2 * _EDGE + width * _WIDTH, 2 * _EDGE + len(lines) * _HEIGHT
    rows = (
        f'<text x="{_EDGE}" y="{_EDGE + 14 + place * _HEIGHT}" xml:space="preserve">'
        f"{''.join(_spans(line))}</text>"
        for place, line in enumerate(lines)
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across:.0f} {down}"'
        f' width="{across:.0f}" height="{down}" role="img" aria-label="{escape(title)}"'
        ' font-family="monospace" font-size="14" fill="#222">'
    )
    paper = f'<rect width="{across:.0f}" height="{down}" rx="6" fill="#f8f8f5" stroke="#ccc"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", paper, *rows, "</svg>\n"])


def _spans(line: str) -> Iterator[str]:
    """Yield the parts of a line, each in its style (SGR, ECMA-48 §8.3.117)."""
    first, *rest = _PART.split(line)
    yield escape(first)
    for code, text in zip(rest[::2], rest[1::2], strict=True):
        style = _STYLES.get(code)
        yield f'<tspan style="{style}">{escape(text)}</tspan>' if style else escape(text)


if __name__ == "__main__":
    main()
