"""Files that an editor began with a byte order mark."""

import pytest
from harness import Place

BOM = b"\xef\xbb\xbf"


def marked(place: Place, name: str) -> None:
    """Put the mark before a file."""
    path = place.path / name
    path.write_bytes(BOM + path.read_bytes())


def test_a_configuration_may_begin_with_a_byte_order_mark(place: Place) -> None:
    """Mistakes in it are told with their line all the same."""
    place.configure("[policy]\nthreshold = 3")
    marked(place, "treason.toml")
    assert place.treason("config", "check").out == f"{place.config}: OK\n"
    place.configure("[policy]\ntreshold = 3")
    marked(place, "treason.toml")
    line = place.config.read_text().splitlines().index("treshold = 3") + 1
    assert f"{place.config}:{line}: [policy] unknown key" in place.treason("config", "check").out


def test_so_may_the_whitelist(place: Place) -> None:
    """It is read, and written anew without."""
    place.treason("whitelist", "add", "192.0.2.1")
    marked(place, "whitelist.toml")
    assert place.treason("whitelist", "add", "192.0.2.2").code == 0
    assert place.treason("whitelist", "list").out.count("\n") == 2
    assert not (place.path / "whitelist.toml").read_bytes().startswith(BOM)


def test_so_may_a_snapshot(place: Place) -> None:
    """That a check is made against."""
    listed = ("--backend", f"file:{place.path}/list")
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan", *listed)
    taken = place.treason("export", "--observed", *listed)
    (place.path / "observed.json").write_text(taken.out)
    marked(place, "observed.json")
    check = ("reconcile", "--check", "--no-scan", "--observed", str(place.path / "observed.json"))
    assert place.treason(*check, *listed).code == 0


def test_another_encoding_is_told_in_words(place: Place) -> None:
    """An administrator knows no codec, but how to save a file."""
    place.config.write_bytes(place.config.read_text().encode("utf-16"))
    refused = place.treason("list").err.splitlines()
    assert refused == [
        f"treason: {place.config}: not valid TOML: it is not text in UTF-8",
        "  save it as UTF-8, then run: treason config check",
    ]


@pytest.mark.parametrize("content", [b"\xff\xfe[\0t\0]\0", b"[treason]\n\xef\xbb\xbfx = 1\n"])
def test_other_marks_are_refused(content: bytes, place: Place) -> None:
    """Of another encoding, or in the middle."""
    place.config.write_bytes(content)
    result = place.treason("config", "check")
    assert (result.code, "not valid TOML" in result.out) == (1, True)
