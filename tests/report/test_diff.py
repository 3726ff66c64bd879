"""A plan as a unified diff that patch(1) applies."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from reconciler import Damage, Desired, Network, Observed
from reconciler.execute import run
from reconciler.planning.plan import plan
from reconciler.report.diff import unified

some = st.frozensets(st.integers(0, 30).map(lambda i: Network.of(4, i, 32)), max_size=20)


def listing(banned: frozenset[Network], passed: frozenset[Network]) -> list[str]:
    """Write a state as the diff takes it."""
    return [f"banned {n}" for n in sorted(banned)] + [f"passed {n}" for n in sorted(passed)]


def apply(before: list[str], diff: list[str]) -> list[str]:
    """Apply a diff without context, by its line numbers."""
    after, position = [], 0
    for line in diff[2:]:
        if line.startswith("@@"):
            start, count = map(int, line.split()[1][1:].split(","))
            upto = start - 1 if count else start
            after += before[position:upto]
            position = upto
        elif line.startswith("-"):
            assert before[position] == line[1:]
            position += 1
        else:
            after.append(line[1:])
    return after + before[position:]


@given(some, some, some, some)
def test_the_diff_leads_from_what_is_to_what_should_be(
    banned: frozenset[Network],
    passed: frozenset[Network],
    now_banned: frozenset[Network],
    now_passed: frozenset[Network],
) -> None:
    """Line by line, by its own numbers."""
    made = plan(Desired(banned, passed), Observed(now_banned, now_passed))
    if made is not None:
        before = listing(now_banned, now_passed)
        assert apply(before, list(unified(made, "it"))) == listing(banned, passed)


def test_patch_takes_it(tmp_path: Path) -> None:
    """Damage is a line that goes away."""
    a, b, c = (Network.of(4, i, 32) for i in (1, 2, 3))
    damage = Damage("chain", "has 'accept'")
    made = plan(Desired(frozenset({a, c})), Observed(frozenset({a, b}), damage=(damage,)))
    assert made is not None
    (tmp_path / "diff").write_text("".join(f"{line}\n" for line in unified(made, "it")))
    path = tmp_path / "listing"
    path.write_text("damaged chain: has 'accept'\nbanned 0.0.0.1\nbanned 0.0.0.2\n")
    run(["patch", str(path), str(tmp_path / "diff")])
    assert path.read_text() == "banned 0.0.0.1\nbanned 0.0.0.3\n"
