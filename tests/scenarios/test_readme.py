"""What the README shows first is what a user sees."""

import re
import shlex
from collections.abc import Callable

import pytest
from harness import ROOT, Place


def test_what_the_readme_shows_is_what_is_printed(
    place: Place, nft: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command of its first example, in order, with what it prints and its exit code."""
    example = (ROOT / "README.md").read_text().partition("    # export TREASON_CONFIG")[2]
    monkeypatch.chdir(place.path)
    place.configure('[whitelist]\nnetworks = [{ network = "172.16.0.0/12", comment = "our own" }]')
    line = re.search(r"# echo '(.*)' > kern\.log", example)
    assert line is not None
    (place.path / "kern.log").write_text(f"{line[1]}\n")
    commands = re.findall(r"    # ((?:treason|nft) .*)\n((?:    [^#].*\n)*)", example)
    assert len(commands) == 6
    for command, shown in commands:
        program, *arguments = shlex.split(command.removesuffix("; echo $?"))
        if program == "nft":
            nft(" ".join(arguments))
            continue
        done = place.treason(*arguments)
        code = f"{done.code}\n" if command.endswith("$?") else ""
        assert done.out + code == re.sub("^    ", "", shown, flags=re.MULTILINE), command
