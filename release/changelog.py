"""What CHANGELOG.md says of each version, as https://keepachangelog.com/en/1.1.0/ has it."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Final

from attrs import frozen

from reconciler.errors import TreasonError

UNRELEASED: Final = "Unreleased"
HEADINGS: Final = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
_TITLE: Final = re.compile(r"## \[(?P<version>[^]]+)\](?: - (?P<day>\S+))?")


class InvalidChangelog(TreasonError):
    """CHANGELOG.md is not written as it should be, or does not go with the version."""


@frozen
class Section:
    """What one version changes: under each heading the entries, with their lines as written."""

    version: str
    day: date | None
    entries: Mapping[str, tuple[str, ...]]


def sections(text: str) -> list[Section]:
    """Return the sections of CHANGELOG.md, the newest first. Raise `InvalidChangelog`."""
    return [_section(part) for part in re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]]


def released(text: str, version: str) -> Section:
    """Return the section of the version that is released now. Raise `InvalidChangelog`."""
    found = sections(text)
    if any(section.version == UNRELEASED and section.entries for section in found):
        raise InvalidChangelog(
            "CHANGELOG.md: [Unreleased] has entries", f"move them to the section of {version}"
        )
    newest = next((section for section in found if section.version != UNRELEASED), None)
    if newest is None or newest.version != version:
        raise InvalidChangelog(
            f"CHANGELOG.md: the newest section is not that of {version}",
            f"begin it with: ## [{version}] - {date.today():%Y-%m-%d}",  # noqa: DTZ011 - who writes has a calendar
        )
    if newest.day is None:
        raise InvalidChangelog(
            f"CHANGELOG.md: the section of {version} has no date",
            f"write it as: ## [{version}] - {date.today():%Y-%m-%d}",  # noqa: DTZ011
        )
    if not newest.entries:
        raise InvalidChangelog(f"CHANGELOG.md: the section of {version} is empty")
    return newest


def _section(part: str) -> Section:
    title, _, body = part.partition("\n")
    match = _TITLE.fullmatch(title.rstrip())
    if match is None:
        raise InvalidChangelog(
            f"CHANGELOG.md: {title!r} is not the title of a version",
            "write it as: ## [0.2.0] - 2026-11-30",
        )
    entries: dict[str, tuple[str, ...]] = {}
    _, *headed = re.split(r"^### ", body, flags=re.MULTILINE)
    for heading, _, lines in (each.partition("\n") for each in headed):
        if heading.strip() not in HEADINGS:
            raise InvalidChangelog(
                f"CHANGELOG.md: {match['version']}: {heading.strip()!r} is not a heading",
                f"use one of {', '.join(HEADINGS)}",
            )
        if heading.strip() in entries:
            raise InvalidChangelog(
                f"CHANGELOG.md: {match['version']}: {heading.strip()!r} stands there twice",
                "put its entries below the first one",
            )
        if written := tuple(
            each.rstrip() for each in re.split(r"^- ", lines, flags=re.MULTILINE)[1:]
        ):
            entries[heading.strip()] = entries.get(heading.strip(), ()) + written
    return Section(match["version"], _day(match), entries)


def _day(match: re.Match[str]) -> date | None:
    if match["day"] is None:
        return None
    try:
        return date.fromisoformat(match["day"])
    except ValueError:
        raise InvalidChangelog(
            f"CHANGELOG.md: {match['version']}: {match['day']!r} is not a date",
            "write it as: 2026-11-30",
        ) from None
