"""The demonstration, as a newcomer runs it."""

import sys

import pytest

from reconciler.execute import run

# Not allowed to make a network namespace, but a user namespace that maps its owner to root.
ORDINARY = ["setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all", "--"]


@pytest.mark.parametrize("prefix", [[], ORDINARY], ids=["root", "user"])
def test_the_demo_tells_its_story(prefix: list[str]) -> None:
    """As root and in a user namespace: it ends with 0, and the ruleset around it is untouched."""
    before = run(["nft", "-s", "list", "ruleset"]).output
    done = run([*prefix, sys.executable, "-m", "reconciler", "demo"], timeout=30)
    assert "packet from 117.79.83.112  dropped" in done.output
    assert done.output.rstrip().endswith("with it all that was made in it.")
    assert run(["nft", "-s", "list", "ruleset"]).output == before
