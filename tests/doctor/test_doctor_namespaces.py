"""Where we stand."""

from pathlib import Path

from doctors import machine, whats
from harness import Place

from reconciler.doctor import namespaces


def test_the_namespace_of_process_1(place: Place, tmp_path: Path) -> None:
    """The same is right, another is named, and what may not be seen is not judged."""
    seen = machine(place, root=tmp_path)
    assert whats(namespaces.check, seen) == []
    for who, inode in (("1", 5), ("thread-self", 5)):
        (tmp_path / f"proc/{who}/ns").mkdir(parents=True)
        (tmp_path / f"proc/{who}/ns/net").symlink_to(f"net:[{inode}]")
    assert whats(namespaces.check, seen) == []
    (tmp_path / "proc/1/ns/net").unlink()
    (tmp_path / "proc/1/ns/net").symlink_to("net:[7]")
    [found] = namespaces.check(seen)
    assert found.remedy == f"nsenter --net=/proc/1/ns/net treason --config {place.config} doctor"
