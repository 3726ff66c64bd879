"""What is known of a list since it was read: the feed's cursor."""

import json
import re
from collections.abc import Iterator, Mapping

from attrs import asdict, field, frozen
from attrs.validators import matches_re

_HELD = matches_re(re.compile(r"[ -~]{0,1000}"))


@frozen
class Known:
    """The ``digest`` of what it held, and which validators (RFC 9110 §8.8) came from where.

    ``source`` is a digest of the address that sent ``etag`` and ``modified``: it may hold a secret.
    """

    digest: str = field(default="", validator=_HELD)
    source: str = field(default="", validator=_HELD)
    etag: str = field(default="", validator=_HELD)
    modified: str = field(default="", validator=_HELD)

    @classmethod
    def read(cls, cursor: str | None) -> "Known":
        """Read a cursor; one that is none means that nothing is known."""
        try:
            return cls(**json.loads(cursor or "{}"))
        except (ValueError, TypeError, RecursionError):
            return cls()

    @classmethod
    def sent(cls, source: str, headers: Mapping[str, str]) -> "Known":
        """Return what is to be asked next time; nothing where the server sends what is no text."""
        try:
            return cls("", source, headers.get("etag", ""), headers.get("last-modified", ""))
        except ValueError:
            return cls()

    def write(self) -> str:
        """Return the cursor."""
        return json.dumps(asdict(self))

    def conditions(self, source: str) -> dict[str, str]:
        """Return the headers that ask the same source only for a list that has changed."""
        if not self.digest or self.source != source:
            return {}
        asked = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in asked.items() if value}


@frozen
class Answer:
    """The list in pieces, packed or not, and what is known of it but the digest of its content."""

    pieces: Iterator[bytes]
    known: Known
