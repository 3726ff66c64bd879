"""The how-to about blocklists: its commands run, and its examples are taken."""

import re
import subprocess

from authors import clean
from harness import ROOT, Place

PAGE = (ROOT / "docs" / "how-to" / "use-a-blocklist.md").read_text()


def test_a_blocklist_is_used_as_told(place: Place, nft: object) -> None:
    """Every command that needs no network prints what is shown below it."""
    text = PAGE.replace("/etc/treason", str(place.path))
    [listed] = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    (place.path / "drop.txt").write_text(listed)
    example = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0]
    place.configure(f'{example}store = "{place.path}/feed/feed.db"', main="sources = []")
    (place.path / "feed").mkdir()
    steps = re.findall(r"```sh\n(.*?)```\n\n```\n(.*?)```", text, re.DOTALL)
    assert len(steps) == 3
    for commands, shown in steps:
        script = re.sub(
            "^treason", f"treason --config {place.config}", commands, flags=re.MULTILINE
        )
        done = subprocess.run(
            ["sh", "-ec", script], env=clean(place.path), check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        told = done.stdout.replace(f" --config {place.config}", "").splitlines()
        assert (done.returncode, {*shown.splitlines()} - {*told}) == (0, set()), done.stdout


def test_the_lists_that_the_how_to_shows_are_taken(place: Place) -> None:
    """All at once."""
    shown = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    place.configure("\n".join(shown))
    result = place.treason("config", "check")
    assert (result.code, result.out.splitlines()[-1]) == (0, f"{place.config}: OK")
    assert len(shown) == 4
