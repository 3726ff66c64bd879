"""Taking a snapshot of what backends hold."""

import json
from pathlib import Path

from reconciler import Backend, BackendError, BackendUnreadable, Network, Observed
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


class Half(Holding):
    """One that could read one family, which packets do not come to."""

    def observe(self) -> Observed:
        """Return what it could read."""
        asleep = BackendError("asleep", "wake it up")
        return Observed([Network.parse("192.0.2.1")], versions={4}, problems=[asleep])


def test_a_snapshot_is_what_was_observed(tmp_path: Path) -> None:
    """With the families and the problems; one from before had none of them."""
    path = tmp_path / "snapshot.json"
    makers: dict[str, type[Backend]] = {"a": Half, "b": Holding}  # type: ignore[dict-item]  # only observe is asked
    text, _ = snapshot.take(makers)
    path.write_text(text)
    for name, made in makers.items():
        assert snapshot.backends(path, ["a", "b"])[name]().observe() == made().observe()
    old = json.loads(text)
    for key in ("versions", "problems"):
        del old["backends"]["b"][key]
    path.write_text(json.dumps(old))
    assert snapshot.backends(path, ["b"])["b"]().observe() == Holding().observe()
