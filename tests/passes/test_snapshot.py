"""Taking a snapshot of what backends hold."""

import json

from reconciler import Backend, BackendUnreadable, Network, Observed
from reconciler.passes import snapshot


class Holding:
    """A backend that can be read."""

    def observe(self) -> Observed:
        """Return what it holds."""
        return Observed([Network.parse("192.0.2.1")])


class Unreadable(Holding):
    """One that says so."""

    def observe(self) -> Observed:
        """Refuse."""
        raise BackendUnreadable("no permission", "be root")


class Buggy(Holding):
    """One that fails."""

    def observe(self) -> Observed:
        """Fail."""
        raise KeyError("boom")


def test_a_backend_that_fails_does_not_silence_the_others() -> None:
    """It is missing from the snapshot, and told in plain words."""
    makers: dict[str, type[Backend]] = {"a": Unreadable, "b": Buggy, "c": Holding}  # type: ignore[dict-item]  # only observe is asked
    text, errors = snapshot.take(makers)
    assert list(json.loads(text)["backends"]) == ["c"]
    assert errors == [
        "no permission\n  be root",
        "b: the plugin failed: KeyError: 'boom'\n  -v shows where",
    ]
