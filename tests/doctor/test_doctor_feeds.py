"""What `treason doctor` finds of feeds."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from doctors import do, machine, whats
from fed import group, taken
from feedfiles import nets, singles, write
from harness import Place
from pytest_mock import MockerFixture

from reconciler import FeedUnreadable, Needs
from reconciler.config.feeds import ConfiguredFeed
from reconciler.config.setup import Setup
from reconciler.diagnosis import Finding
from reconciler.doctor import feeds
from reconciler.doctor.machine import Machine, opened
from reconciler.feeding import FeedGroup
from reconciler.feeds import outbox
from reconciler.feeds.outbox import Told
from reconciler.feeds.remarks import Keeper
from reconciler.host.feed_units import SERVICE

HOUR = 3600


@pytest.fixture
def own(place: Place) -> Path:
    """The own file of a feed that was taken, and is what it should be."""
    path = place.path / "drop" / "feed.db"
    path.parent.mkdir()
    configure(place, path)
    write(path, [FeedGroup(nets("192.0.2.1"))])
    assert place.treason("reconcile").code == 0
    return path


def configure(place: Place, path: Path, more: str = "") -> None:
    """Configure the feed, with more keys."""
    place.configure(
        f'[feed.drop]\ntype = "list"\npath = "/nowhere"\nstore = "{path}"\n{more}',
        main=f'sources = []\nbackends = ["file:{place.path}/banned.txt"]',
    )


def found(place: Place) -> list[Finding]:
    """Return what is found."""
    with opened(Setup(str(place.config))) as looked_at:
        return [*feeds.check(looked_at)]


def the_one(place: Place) -> Finding:
    """Return the only thing that is found."""
    [finding] = found(place)
    return finding


def test_a_feed_that_is_as_it_should_be(own: Path, place: Place) -> None:
    """Is no finding, nor is it where there is no feed at all."""
    assert found(place) == []
    place.configure()
    assert place.treason("reconcile", "--backend", f"file:{place.path}/banned.txt").code == 0
    assert found(place) == []


def test_one_that_never_ran(place: Place, tmp_path: Path) -> None:
    """Is to be run: by its service, if that is installed."""
    own = place.path / "drop" / "feed.db"
    configure(place, own)
    told = the_one(place)
    assert told.what == f"feed drop never ran: there is no {own}"
    assert told.remedy == f"treason --config {place.config} feed run drop --once"
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / SERVICE).touch()
    looked_at = machine(place, root=tmp_path)
    assert [each.remedy for each in feeds.check(looked_at)] == [
        "systemctl start treason-feed@drop.service"
    ]


def test_one_whose_file_is_gone(own: Path, place: Place) -> None:
    """What was taken of it stays, and that is said."""
    own.unlink()
    told = the_one(place)
    assert told.what == f"feed drop is gone: there is no {own}"
    assert "what was taken of it stays as it is" in told.why


def link(path: Path) -> None:
    """Let the file be a link."""
    path.unlink()
    path.symlink_to("/etc/passwd")


def fifo(path: Path) -> None:
    """Let the file be a pipe."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [link, fifo])
def test_what_is_no_file_is_put_aside(
    change: Callable[[Path], None], own: Path, place: Place, mocker: MockerFixture
) -> None:
    """And the feed is run again; whoever may not look asks root."""
    change(own)
    told = the_one(place)
    assert told.what.startswith(f"feed drop: {own}: ")
    assert told.remedy.startswith(f"mv {own} {own}.bad; treason ")
    mocker.patch.object(Machine, "is_root", new_callable=mocker.PropertyMock, return_value=False)
    assert the_one(place).remedy == f"sudo treason --config {place.config} doctor"


def test_one_that_was_not_refreshed_for_long(own: Path, place: Place) -> None:
    """After three refreshes without success."""
    for hours, findings in ((2.9, 0), (3.1, 1)):
        then = time.time() - hours * HOUR
        os.utime(own.parent, (then, then))
        assert len(found(place)) == findings
    told = the_one(place)
    assert "was refreshed last at " in told.what
    assert told.what.endswith("; refresh is 1h")


@pytest.mark.parametrize("part", [".", "feed.db"])
def test_a_file_that_others_may_write(part: str, own: Path, place: Place) -> None:
    """Is theirs alone once the remedy is done."""
    path = own.parent / part
    path.chmod(0o777)
    told = the_one(place)
    assert told.what == f"{path}: others than its owner may write to it"
    do(told.remedy)
    assert found(place) == []


def test_what_passes_do_not_take(own: Path, place: Place) -> None:
    """Is to be accepted, or allowed, or made anew, or taken, whichever helps."""
    write(own, [FeedGroup(singles(20))])
    assert place.treason("reconcile").code == 0
    write(own, [FeedGroup(singles(5))])
    assert place.treason("reconcile").code == 1
    told = the_one(place)
    assert told.what.startswith("feed drop is not believed: 15 of 20 networks are missing at once")
    before, _, accept = told.remedy.partition(": ")
    assert before == "if what it says is right"
    do(accept)
    assert found(place) == []
    configure(place, own, "max_entries = 3")
    assert place.treason("reconcile").code == 1
    told = the_one(place)
    assert told.remedy == f"if that is right, raise it in [feed.drop] of {place.config}"
    own.write_text("<html>")
    assert place.treason("reconcile").code == 1
    told = the_one(place)
    assert "not an SQLite database" in told.what
    assert told.remedy == f"treason --config {place.config} feed run drop --once"
    place.configure(main=f'sources = []\nbackends = ["file:{place.path}/banned.txt"]')
    told = the_one(place)
    assert "not configured any more" in told.what
    do(told.remedy)
    assert found(place) == []


def test_one_that_fails(own: Path, place: Place, tmp_path: Path) -> None:
    """Is told with why, also before it was read once; what it proposes is no remedy of ours."""
    keeper = Keeper(own, lambda: 1_700_000_000)
    keeper.read(FeedUnreadable("feed drop: no server answers\x1b", "sudo rm -r /"))
    told = the_one(place)
    assert told.what.startswith("feed drop has failed since 2023-11-14T22:13:20Z (")
    assert told.what.endswith(" ago): no server answers?")
    assert told.why.startswith("what was taken of it stays as it is")
    assert told.why.endswith("; it says what may help: sudo rm -r /")
    assert told.remedy == f"treason --config {place.config} feed run drop --once"
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / SERVICE).touch()
    with opened(Setup(str(place.config))) as looked_at:
        looked_at.root = tmp_path
        [told] = feeds.check(looked_at)
    assert told.remedy == "systemctl restart treason-feed@drop.service"
    own.unlink()
    assert the_one(place).what.startswith("feed drop has failed since ")
    own.write_text("<html>")
    assert place.treason("reconcile").code == 1
    assert sorted(each.what.partition(" ")[2][:12] for each in found(place)) == [
        "drop has fai",
        f"drop: {own}"[:12],
    ]
    place.database.unlink()
    assert place.treason("feed", "run", "drop", "--once").code == 1
    assert [each.what.partition(" since ")[0] for each in found(place)] == ["feed drop has failed"]
    assert the_one(place).why.startswith("nothing that it says is dropped")


def test_one_that_does_not_publish(own: Path, place: Place) -> None:
    """Once something waits for longer than it takes from one refresh to the next."""
    configure(place, own, 'publish = ["manual"]')
    assert place.treason("reconcile").code == 0
    told = outbox.of(place.database, "drop")
    outbox.write(told, [Told(network) for network in singles(3)], int(time.time()) - HOUR)
    assert found(place) == []
    write(own, then=f"UPDATE feed SET published = {outbox.read(told, 0)[-1].id}")  # noqa: S608 - a number
    outbox.write(told, [Told(network) for network in singles(2)], int(time.time()) - 2 * HOUR)
    finding = the_one(place)
    assert finding.what.startswith("feed drop has not published 2 changes, the first of ")
    assert finding.why == "others do not hear whom this machine bans"
    keeper = Keeper(own, lambda: 1_700_000_000)
    keeper.read(None, ["the quota is full: 2 networks wait"])
    assert the_one(place).why.endswith("; it notes: the quota is full: 2 networks wait")
    keeper.told(FeedUnreadable("feed drop: no server", "start it"))
    finding = the_one(place)
    assert finding.what.startswith("feed drop has published nothing since 2023-11-14T22:13:20Z (")
    assert finding.what.endswith(" ago): no server")
    assert finding.why.endswith("; it says what may help: start it")
    keeper.told(None)
    write(own, then=f"UPDATE feed SET published = {outbox.read(told, 0)[-1].id}")  # noqa: S608 - a number
    assert found(place) == []
    told.write_bytes(b"x" * 5000)
    finding = the_one(place)
    assert finding.what.startswith(f"feed drop: {told}: cannot read it: ")
    do(finding.remedy)
    assert found(place) == []


def test_an_own_file_that_a_full_disk_left_empty(own: Path, place: Place) -> None:
    """Is told once, and nobody is asked to move the outbox away for it."""
    configure(place, own, 'publish = ["manual"]')
    assert place.treason("reconcile").code == 0
    outbox.write(outbox.of(place.database, "drop"), [Told(singles(1)[0])], int(time.time()))
    own.write_bytes(b"")
    assert place.treason("reconcile").code == 1
    finding = the_one(place)
    assert "nothing has been written to it yet" in finding.what
    assert "outbox" not in finding.remedy
    assert place.treason("status").out.count("nothing has been written to it yet") == 1


def test_one_whose_secret_is_missing_or_known(
    place: Place, mocker: MockerFixture, tmp_path: Path
) -> None:
    """Is told what helps; nobody but root is asked, who alone can tell."""
    secret = tmp_path / "the key"
    needs = mocker.Mock(return_value=Needs(secrets=(str(secret),)))
    mocker.patch.object(ConfiguredFeed, "needs", needs)
    own = place.path / "drop" / "feed.db"
    own.parent.mkdir()
    configure(place, own)
    root = mocker.patch.object(Machine, "is_root", new_callable=mocker.PropertyMock)
    root.return_value = True
    told = the_one(place)
    assert told.what == (
        f"feed drop: {secret}: there is no such file, and a secret is read from it"
    )
    secret.write_text("open sesame")
    secret.chmod(0o644)
    told = the_one(place)
    assert "all users of this machine may read this secret" in told.what
    do(told.remedy.partition(";")[0])
    assert the_one(place).what.startswith("feed drop never ran")
    secret.unlink()
    root.return_value = False
    assert the_one(place).what.startswith("feed drop never ran")


def test_who_is_quarantined(own: Path, place: Place) -> None:
    """By name, with what is not enforced because of that."""
    taken(
        place,
        "drop",
        group("192.0.2.1", member="ann", state="quarantined"),
        quarantined=frozenset({"ann"}),
    )
    told = the_one(place)
    assert told.what == "feed drop: ann named more than max_new allows"
    assert told.why.startswith("1 network that it names")
    assert told.remedy.endswith("feed accept drop")


def test_without_a_database_the_files_are_looked_at(own: Path, place: Place) -> None:
    """What the database cannot tell is told by its own check."""
    place.database.write_bytes(b"x" * 5000)
    assert found(place) == []
    own.unlink()
    assert whats(feeds.check, machine(place)) == [f"feed drop never ran: there is no {own}"]


def test_a_new_feed_is_well_once_every_remedy_was_done(place: Place) -> None:
    """It is run, then taken; nothing else has to be known."""
    (place.path / "list.txt").write_text("192.0.2.1\n")
    (place.path / "drop").mkdir()
    place.configure(
        f'[feed.drop]\ntype = "list"\npath = "{place.path}/list.txt"\n'
        f'store = "{place.path}/drop/feed.db"',
        main=f'sources = []\nbackends = ["file:{place.path}/banned.txt"]',
    )
    done = 0
    while remedies := [each.remedy for each in found(place)]:
        do(remedies[0])
        done += 1
        assert done < 5, remedies
    assert (place.path / "banned.txt").read_text() == "192.0.2.1\n"
