"""What is searched for needles is what a reading of everything would yield.

The source ``file`` looks only at lines that may hold a needle. The journal keeps the text before a
colon apart, JSON writes what is not ASCII with escapes, and a message as a list of its bytes.
"""

import json
import random
from pathlib import Path
from tempfile import NamedTemporaryFile

import paths
import pytest
from hypothesis import given
from hypothesis import strategies as st


@given(
    dice=st.randoms(use_true_random=False),
    needles=st.lists(st.sampled_from(paths.NEEDLES), min_size=1, max_size=3),
)
def test_nothing_that_holds_a_needle_is_missed(dice: random.Random, needles: list[str]) -> None:
    """Whatever shapes a log has, and however it is cut."""
    with NamedTemporaryFile() as file:
        path = Path(file.name)
        path.write_text(paths.log(dice))
        paths.compared(path, needles)


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize("text", ["IN=e", "IN=é", "IN=\\"])
def test_a_needle_may_stand_across_the_fields_of_the_journal(
    text: str, numbers: bool, ascii_only: bool, tmp_path: Path
) -> None:
    """The record holds the whole text, so it is found by any part of it."""
    entry = {"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "trap"}
    message = list(text.encode()) if numbers else text
    path = tmp_path / "journal.json"
    path.write_text(json.dumps(entry | {"MESSAGE": message}, ensure_ascii=ascii_only) + "\n")
    whole = f"trap: {text}"
    for start in range(len(whole)):
        for end in range(start + 1, len(whole) + 1):
            found = paths.compared(path, [whole[start:end]])
            assert [record.text for record in found] == [whole], whole[start:end]
