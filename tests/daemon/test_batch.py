"""Batches: those of a source that follow each other are one."""

from reconciler.daemon.batch import Batch, merged
from reconciler.model import Record
from reconciler.network import Network
from reconciler.networks import Networks

ONE, TWO, THREE = (Record(text, "test", trusted=True) for text in ("one", "two", "three"))


def test_batches_that_follow_each_other_are_one() -> None:
    """From the cursor of the first to that of the last, with all that is dropped."""
    first, second = (Networks.of([Network.parse(f"11.0.0.{each}")]) for each in (1, 2))
    batches = [
        Batch("a", None, "1", (ONE,), first),
        Batch("b", "7", "8", (TWO,)),
        Batch("a", "1", "2", (THREE,), second),
    ]
    one, other = merged(batches)
    assert (one.source, one.start, one.end, one.records) == ("a", None, "2", (ONE, THREE))
    assert one.dropped == first | second
    assert other is batches[1]


def test_what_does_not_follow_stays_apart() -> None:
    """Somebody else has read in between; what the writer reads by itself has no records."""
    batches = [
        Batch("a", None, "1", (ONE,)),
        Batch("a", "2", "3", (TWO,)),
        Batch("a", None, None, None),
        Batch("a", "3", "4", (THREE,)),
    ]
    assert merged(batches) == batches


def test_a_batch_gives_its_records_and_its_cursor() -> None:
    """As a source does that is read in a pass."""
    source = Batch("a", None, "1", (ONE, TWO)).made()
    assert [*source.read(None, ())] == [ONE, TWO]
    assert source.cursor() == "1"
