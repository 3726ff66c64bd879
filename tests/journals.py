"""Journal files, made by systemd-journal-remote."""

import subprocess
import time
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path

REMOTE = "/lib/systemd/systemd-journal-remote"
BOOT = "1" * 32


class JournalFiles:
    """A directory of journal files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = "system.journal"
        self.boot = BOOT
        self.micros = time.time_ns() // 1000
        self.numbers = count(1)
        path.mkdir(exist_ok=True)

    def write(self, *texts: str) -> None:
        """Write a record of the kernel for each."""
        self.entries([{"MESSAGE": text} for text in texts])

    def entries(self, entries: Iterable[Mapping[str, str | bytes]]) -> None:
        """Write entries; what they do not say is as journald says it of the kernel's."""
        written = bytearray()
        for entry, number in zip(entries, self.numbers, strict=False):
            fields: dict[str, str | bytes] = {
                "__REALTIME_TIMESTAMP": str(self.micros + number),
                "__MONOTONIC_TIMESTAMP": str(1_000_000 + number),
                "_BOOT_ID": self.boot,
                "_TRANSPORT": "kernel",
                "PRIORITY": "7",
                "SYSLOG_FACILITY": "0",
                "SYSLOG_IDENTIFIER": "kernel",
                "_SOURCE_MONOTONIC_TIMESTAMP": str(900_000 + number),
                **entry,
            }
            for name, value in fields.items():
                data = value if isinstance(value, bytes) else value.encode()
                if data.isascii() and data.decode().isprintable():
                    written += b"%b=%b\n" % (name.encode(), data)
                else:
                    length = len(data).to_bytes(8, "little")
                    written += b"%b\n%b%b\n" % (name.encode(), length, data)
            written += b"\n"
        if written:
            subprocess.run(
                [REMOTE, "--output", self.path / self.file, "-"],
                input=written, capture_output=True, check=True,
            )  # fmt: skip
