"""CHANGELOG.md: what it holds, and what is refused."""

from datetime import date

import pytest
from harness import ROOT

from reconciler import __version__
from release.changelog import InvalidChangelog, Section, released, sections

TEXT = """\
# Changelog

What users see.

## [Unreleased]

## [1.1.0] - 2026-02-03

### Added

- One thing
  on two lines.
- Another: ### and ## in the midst.

### Fixed

## [1.0.0] - 2026-01-02

### Security

- A hole.
"""


def test_each_version_has_its_entries_by_heading() -> None:
    """They are as they are written, and a heading without entries is none."""
    assert sections(TEXT) == [
        Section("Unreleased", None, {}),
        Section(
            "1.1.0",
            date(2026, 2, 3),
            {"Added": ("One thing\n  on two lines.", "Another: ### and ## in the midst.")},
        ),
        Section("1.0.0", date(2026, 1, 2), {"Security": ("A hole.",)}),
    ]


def test_the_version_that_is_released_has_the_newest_section() -> None:
    """What is unreleased may stand above it, as long as it is empty."""
    assert released(TEXT, "1.1.0") == sections(TEXT)[1]


@pytest.mark.parametrize(
    ("found", "put", "told"),
    [
        ("[Unreleased]\n", "[Unreleased]\n\n### Fixed\n\n- More.\n", "[Unreleased] has entries"),
        ("## [1.1.0] - 2026-02-03", "## [1.2.0] - 2026-02-03", "is not that of 1.1.0"),
        ("## [1.1.0] - 2026-02-03", "## [1.1.0]", "the section of 1.1.0 has no date"),
        ("## [1.1.0] - 2026-02-03", "## [1.1.0] - 2026-02-30", "'2026-02-30' is not a date"),
        ("## [1.1.0] - 2026-02-03", "## 1.1.0 (soon)", "'## 1.1.0 (soon)' is not the title"),
        ("- One thing\n  on two lines.\n- Another", "Another", "the section of 1.1.0 is empty"),
        ("### Fixed", "### Mended", "'Mended' is not a heading"),
        ("### Fixed", "### Added", "1.1.0: 'Added' stands there twice"),
    ],
)
def test_what_is_not_ready_is_refused(found: str, put: str, told: str) -> None:
    """One line names what is wrong."""
    assert found in TEXT
    with pytest.raises(InvalidChangelog) as refused:
        released(TEXT.replace(found, put), "1.1.0")
    assert told in refused.value.what


def test_our_own_is_well_formed_and_names_this_version() -> None:
    """Its sections go from the newest to the oldest; all but the first are dated."""
    first, *others = sections((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    days = [section.day for section in others]
    assert None not in days
    assert days == sorted(days, reverse=True)  # type: ignore[type-var]  # none is None
    assert __version__ in {section.version for section in (first, *others)}
    assert all(section.entries for section in others)
