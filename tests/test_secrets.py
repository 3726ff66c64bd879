"""Secrets: from systemd, from what root read before, from the file itself."""

import subprocess
import sys
from pathlib import Path

import pytest
from harness import REAL_ROOT, ROOT

from reconciler import FeedUnreadable, secrets


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that nobody else may read."""
    path = tmp_path / "fleet-1.password"
    path.write_bytes(b"open sesame\n")
    path.chmod(0o600)
    return path


def refused(path: Path) -> str:
    """Return the two lines that say why it cannot be read."""
    with pytest.raises(FeedUnreadable) as told:
        secrets.read(path)
    assert str(told.value).count("\n") == 1
    assert str(told.value).startswith(f"{path}: ")
    return str(told.value)


def test_without_systemd_the_file_is_read(secret: Path) -> None:
    """As it is, with the end of its line; a group may read it as well."""
    assert secrets.read(secret) == b"open sesame\n"
    secret.chmod(0o640)
    assert secrets.read(secret) == b"open sesame\n"


def test_what_systemd_passed_comes_first(
    secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name of the credential; others that are passed mean nothing."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "passed"))
    (tmp_path / "passed").mkdir()
    (tmp_path / "passed" / secret.name).write_bytes(b"another")
    assert secrets.read(secret) == b"open sesame\n"
    (tmp_path / "passed" / secrets.credential(secret)).write_bytes(b"passed")
    assert secrets.read(secret) == b"passed"
    secret.unlink()
    assert secrets.read(secret) == b"passed"


def test_each_path_has_a_name_of_its_own() -> None:
    """It can stand in a unit as it is, and tells which file is meant."""
    assert secrets.credential("/etc/treason/fleet.password") == "etc-treason-fleet.password"
    assert secrets.credential(Path("/etc//treason/../treason/x")) == "etc-treason-x"
    names = {
        secrets.credential(each) for each in ("/a/b", "/a-b", "/a_b", "/a_2db", "/a b", "/ä/b")
    }
    assert len(names) == 6
    assert all(name.isascii() and name.replace(".", "").replace("-", "_").isidentifier()
               for name in names)  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "words"),
    [(0o644, "may read this secret"), (0o602, "may write to this secret")],
)
def test_what_all_users_know_is_no_secret(
    secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, words: str
) -> None:
    """Whoever passes it, systemd too."""
    secret.chmod(mode)
    assert words in refused(secret)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / secrets.credential(secret)).write_bytes(b"passed")
    assert f"chmod o= {secret}" in refused(secret)


def test_a_secret_is_a_small_file_with_something_in_it(secret: Path) -> None:
    """64 KiB at most."""
    secret.write_bytes(b"x" * 65_536)
    assert len(secrets.read(secret)) == 65_536
    secret.write_bytes(b"x" * 65_537)
    assert "it holds more than 64 KiB" in refused(secret)
    secret.write_bytes(b" \n")
    assert "this secret is empty" in refused(secret)
    secret.unlink()
    assert "there is no such file" in refused(secret)
    secret.mkdir(mode=0o700)
    assert "cannot read the secret in it: " in refused(secret)


SCRIPT = """
import os, sys
from pathlib import Path
from reconciler import secrets
*paths, = sys.argv[1:]
if sys.stdin.read() == "keep":
    secrets.keep(paths)
os.setresuid(4711, 4711, 4711)
for path in paths:
    try:
        print(secrets.read(Path(path)))
    except secrets.FeedUnreadable as error:
        print(error.what)
"""


@pytest.mark.skipif(not REAL_ROOT, reason="only root of the machine can become others")
def test_what_root_kept_is_read_by_another_user(secret: Path) -> None:
    """What root could not read is told as root would be; what was not kept may not be read."""
    missing = secret.with_name("missing")

    def told(how: str) -> list[str]:
        command = [sys.executable, "-c", SCRIPT, str(secret), str(missing)]
        done = subprocess.run(
            command, input=how, check=True, capture_output=True, text=True, cwd=ROOT
        )
        return done.stdout.splitlines()

    kept, why = told("keep")
    assert kept == repr(b"open sesame\n")
    assert why == f"{missing}: there is no such file, and a secret is read from it"
    assert told("")[0] == f"{secret}: this user may not read the secret in it"
