"""What `treason doctor` found, for people: also where a terminal has 40 columns."""

import textwrap
from collections.abc import Collection, Iterator, Sequence

from reconciler.diagnosis import Finding
from reconciler.lines import counted
from reconciler.report import columns
from reconciler.report.plain import plain


def lines(findings: Sequence[Finding], checks: Collection[str]) -> Iterator[str]:
    """Yield each finding: what and why in lines as wide as the terminal, what mends it in one.

    A command stands in a line of its own, whole, so that it can be copied.
    """
    width = columns.width()
    for finding in findings:
        yield from _wrapped(f"{finding.check}: {plain(finding.what)}", "", width)
        yield from _wrapped(f"why: {plain(finding.why)}", "  ", width)
        yield f"  mend: {plain(finding.remedy)}"
    looked = counted(len(checks), "check")
    yield (
        f"{counted(len(findings), 'finding')} ({looked})" if findings else f"all is well ({looked})"
    )


def _wrapped(text: str, indent: str, width: int | None) -> list[str]:
    if width is None:
        return [f"{indent}{text}"]
    more = f"{indent}  "
    return textwrap.wrap(
        text, max(width, 20), initial_indent=indent, subsequent_indent=more, break_on_hyphens=False
    )
