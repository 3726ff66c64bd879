"""A release: what is refused, that it is all or nothing, and the same bytes of the same commit."""

import io
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from reconciler.errors import TreasonError
from reconciler.execute import run
from release import archives, build
from release.checks import Built
from release.commit import Commit, ReleaseRefused, last_commit, refuse_dirt

FILES = {
    "CHANGELOG.md": "# Changelog\n\n## [1.0.0] - 2026-01-02\n\n### Added\n\n- All.\n",
    "reconciler/__init__.py": '__version__: Final = "1.0.0"\n',
    "with space": "",
    ".gitignore": "/.cache/\n/dist/\n",
}
MADE = ("treason-1.0.0.tar.gz", "treason-1.0.0-py3-none-any.whl", "treason_1.0.0-1_amd64.deb")


def git(root: Path, *arguments: str) -> None:
    """Run git as somebody who is nobody."""
    who = (
        "-c",
        "user.name=Nobody",
        "-c",
        "user.email=nobody@invalid",
        "-c",
        "commit.gpgsign=false",
    )
    run(["git", "-C", str(root), *who, *arguments])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small checkout whose commit can be released."""
    place = tmp_path / "root"
    for name, text in FILES.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(place, "init", "--quiet")
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--message=All")
    return place


def made(commit: Commit, scratch: Path, directory: Path, extra: str = "") -> Built:
    """Write three files that say which commit they are of, in place of a real build."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / name for name in MADE]
    for path in paths:
        path.write_text(f"{path.name} of {commit.name}{extra}\n")
    sdist, wheel, deb = paths
    return Built(commit, scratch / "tree", scratch / "checks", sdist, wheel, (deb,))


def release(root: Path, **given: object) -> None:
    """Release the small checkout into its ``dist``."""
    build.release(root / "dist", root=root, **{"make": made, "checks": {}, **given})  # type: ignore[arg-type]  # by name


def verified(root: Path) -> bool:
    """Whether sha256sum(1) finds all as ``SHA256SUMS`` says."""
    return (root / "dist/SHA256SUMS").exists() and not subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"],
        cwd=root / "dist",
        check=False,
    ).returncode


def test_a_release_has_its_sums(root: Path) -> None:
    """Three files, and their sums as sha256sum takes them; nothing else is left anywhere."""
    release(root)
    assert sorted(path.name for path in (root / "dist").iterdir()) == sorted((*MADE, "SHA256SUMS"))
    assert verified(root)
    assert sorted(path.name for path in (root / ".cache").iterdir()) == ["release.lock"]


def test_what_is_in_no_commit_is_refused_by_name(root: Path) -> None:
    """Changed, removed, staged and untracked files, also in new directories."""
    (root / "CHANGELOG.md").write_text("changed")
    (root / "with space").unlink()
    (root / "new/deep").mkdir(parents=True)
    (root / "new/deep/file").touch()
    (root / "staged").touch()
    git(root, "add", "staged")
    with pytest.raises(ReleaseRefused) as refused:
        release(root)
    assert refused.value.what.splitlines() == [
        "the checkout differs from its last commit in 4 files:",
        "   M CHANGELOG.md", "  A  staged", '   D "with space"', "  ?? new/deep/file",
    ]  # fmt: skip
    assert not (root / "dist").exists()


def test_many_of_them_are_counted(root: Path) -> None:
    """A few are named."""
    for number in range(30):
        (root / f"file{number:02}").touch()
    with pytest.raises(ReleaseRefused, match=r"in 30 files:\n(.*\n){10}  and 20 more"):
        refuse_dirt(root)


def test_a_version_without_a_dated_section_is_refused(root: Path) -> None:
    """What is committed counts."""
    (root / "reconciler/__init__.py").write_text('__version__: Final = "1.1.0"\n')
    git(root, "commit", "--quiet", "--all", "--message=Another version")
    with pytest.raises(TreasonError, match=r"the newest section is not that of 1\.1\.0"):
        release(root)


def test_a_failed_check_leaves_no_sums(root: Path) -> None:
    """Not those of an earlier release either; once it passes they are there again."""
    release(root)

    def fails(built: Built) -> None:
        raise ReleaseRefused(f"{built.wheel.name} is bad")

    with pytest.raises(ReleaseRefused, match="whl is bad"):
        release(root, checks={"all": fails})
    assert not verified(root)
    release(root)
    assert verified(root)


def test_other_bytes_are_refused(root: Path) -> None:
    """Each is built twice, in directories of other names."""

    def differs(commit: Commit, scratch: Path, directory: Path) -> Built:
        return made(commit, scratch, directory, scratch.name)

    with pytest.raises(ReleaseRefused, match=r"1\.0\.0\.tar\.gz: built again it has other bytes"):
        release(root, make=differs)
    assert not verified(root)


@pytest.mark.parametrize("commits", [True, False])
def test_a_change_meanwhile_is_refused(root: Path, *, commits: bool) -> None:
    """What is released is what was there at the beginning, and at the end."""

    def change(_: Built) -> None:
        (root / "new").touch()
        if commits:
            git(root, "add", "new")
            git(root, "commit", "--quiet", "--message=New")

    with pytest.raises(ReleaseRefused, match="has committed meanwhile" if commits else "new"):
        release(root, checks={"change": change})
    assert not verified(root)


def test_two_at_once_are_one(root: Path) -> None:
    """The second is refused, and takes nothing from the first."""

    def second(_: Built) -> None:
        with pytest.raises(ReleaseRefused, match="another release is being built"):
            release(root)

    release(root, checks={"second": second})
    assert verified(root)


KILLED = """\
import sys, time
from pathlib import Path
sys.path = {path!r}
from test_build import made, release
root = Path({root!r})
def make(commit, scratch, directory):
    built = made(commit, scratch, directory)
    scratch.mkdir()
    if scratch.name == {where!r}:
        print("here", flush=True)
        time.sleep(600)
    return built
release(root, make=make)
"""


@pytest.mark.parametrize("where", ["first", "second"])
def test_one_that_is_killed_leaves_no_sums_and_is_in_no_way(root: Path, where: str) -> None:
    """Twice killed half-way, then made whole; nothing of the others is left."""
    release(root)
    for _ in range(2):
        path = [str(Path(__file__).parent), *sys.path]
        program = KILLED.format(path=path, root=str(root), where=where)
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout
            while process.stdout.readline() not in {b"here\n", b""}:
                pass
            process.kill()
            assert process.wait() < 0
        assert not verified(root)
        assert (root / ".cache/release").exists()
    release(root)
    assert verified(root)
    assert sorted(path.name for path in (root / ".cache").iterdir()) == ["release.lock"]


def test_an_export_is_the_commit_whatever_the_umask_is(root: Path, tmp_path: Path) -> None:
    """Its files, dated by the commit, and with the modes that everybody's have."""
    (root / "with space").chmod(0o775)
    git(root, "commit", "--quiet", "--all", "--message=A program")
    (root / "untracked").touch()
    commit = last_commit(root)
    assert commit.files == {*FILES}
    tree = commit.export(tmp_path / "tree")
    held = {str(path.relative_to(tree)): path.stat() for path in tree.rglob("*") if path.is_file()}
    assert held.keys() == commit.files
    assert {name: status.st_mode & 0o7777 for name, status in held.items()} == {
        name: 0o755 if name == "with space" else 0o644 for name in FILES
    }
    assert {status.st_mtime for status in held.values()} == {commit.moment}


def test_an_archive_is_the_same_whoever_packed_it_when(tmp_path: Path) -> None:
    """Order, owner, times and odd modes are gone; names, contents and programs stay."""
    packed = []
    for turn in range(2):
        archive = tmp_path / f"{turn}.tar.gz"
        with tarfile.open(archive, "w:gz") as written:
            for name in ("a/b", "a/c")[:: 1 - 2 * turn]:
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.uid = 4, time.time() - turn, turn
                member.uname, member.mode = f"user{turn}", 0o700 if name == "a/c" else 0o640 + turn
                written.addfile(member, io.BytesIO(name.encode() + b"\n"))
        archives.normalise(archive, 1_700_000_000)
        packed.append(archive.read_bytes())
    assert packed[0] == packed[1]
    with tarfile.open(tmp_path / "0.tar.gz") as read:
        assert [(m.name, oct(m.mode), m.mtime, m.uname) for m in read] == [
            ("a/b", "0o644", 1_700_000_000, ""), ("a/c", "0o755", 1_700_000_000, ""),
        ]  # fmt: skip
    assert archives.names(tmp_path / "0.tar.gz") == {"b", "c"}
