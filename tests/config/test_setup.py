"""The set-up: what the files say, kept while a pass runs, read again for the next."""

from pathlib import Path

import pytest
from harness import Place

from reconciler.config.setup import Setup
from reconciler.errors import ConfigError
from reconciler.network import Network
from reconciler.passes import access

A = Network.parse("192.0.2.7")


@pytest.fixture
def setup(place: Place) -> Setup:
    """The set-up of the test's own directory."""
    return Setup(str(place.config))


def test_it_stays_as_it_was_read(setup: Setup, place: Place) -> None:
    """A pass goes by one state of the files, whatever is written meanwhile."""
    assert (setup.config.policy.threshold, setup.whitelisted(0)) == (1, [])
    place.configure('[policy]\nthreshold = 3\n[whitelist]\nnetworks = ["192.0.2.7"]')
    assert (setup.config.policy.threshold, setup.whitelisted(0)) == (1, [])
    fresh = setup.reload()
    assert (fresh.config.policy.threshold, fresh.whitelisted(0)) == (3, [A])


def test_what_did_not_change_is_not_read_anew(setup: Setup, place: Place) -> None:
    """The plugins never, the configuration when its text is the same; the whitelist always."""
    before = setup.config, setup.plugins, setup.whitelisted(0)
    place.treason("whitelist", "add", "192.0.2.7")
    fresh = setup.reload()
    assert (fresh.config, fresh.plugins) == before[:2]
    assert fresh.config is before[0]
    assert fresh.whitelisted(0) == [A]


def test_whoever_is_whitelisted_by_now_is_spared_besides(setup: Setup, place: Place) -> None:
    """By either file, as far as they are right; all else stays as it was read."""
    place.treason("whitelist", "add", "192.0.2.7")
    before = setup.reload()
    assert before.whitelisted(0) == [A]
    place.configure('[policy]\nthreshold = 3\n[whitelist]\nnetworks = ["192.0.2.8"]')
    (place.path / "whitelist.toml").write_text("")
    spared = before.sparing()
    assert {*map(str, spared.whitelisted(0))} == {"192.0.2.7", "192.0.2.8"}
    assert spared.config == before.config
    assert not spared.is_current()
    place.config.write_text("[policy]\nthreshold = 0\n")
    assert spared.sparing().whitelisted(0) == spared.whitelisted(0)
    (place.path / "whitelist.toml").write_text('networks = ["192.0.2.9"]')
    assert [*map(str, spared.rewhitelisted().whitelisted(0))] == ["192.0.2.9"]
    (place.path / "whitelist.toml").write_text("networks = 1")
    with pytest.raises(ConfigError):
        spared.rewhitelisted()


def test_a_warning_is_said_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Also when the configuration is read again behind the lock."""
    place.configure("[trust]\nuserspace = true")
    assert place.treason("scan", "--source", "file:/dev/null").err.count("userspace = true") == 1


def test_a_file_that_is_wrong_by_now_is_refused_and_the_old_one_stays(
    setup: Setup, place: Place
) -> None:
    """Whoever asked for it again decides what to go on with."""
    assert setup.config.policy.threshold == 1
    place.config.write_text("[policy]\nthreshold = 0\n")
    with pytest.raises(ConfigError):
        setup.reload().config  # noqa: B018 - asking is the test
    assert setup.config.policy.threshold == 1


def test_behind_the_lock_the_files_are_as_they_are_now(
    setup: Setup, place: Place, tmp_path: Path
) -> None:
    """Another lock that is named meanwhile is taken instead."""
    assert setup.config.policy.threshold == 1
    other = tmp_path / "other"
    text = f'[treason]\ndatabase = "{place.database}"\nlock = "{other}"\n[policy]\nthreshold = 3\n'
    place.config.write_text(text)
    with access.locked(setup, 1, lambda fresh: fresh.whitelist) as (current, _):
        assert current.config.treason.lock == other
        assert current.config.policy.threshold == 3
        assert place.treason("scan", "--lock-timeout", "0").code == 1


def test_every_mistake_is_named_whatever_else_is_wrong(setup: Setup, place: Place) -> None:
    """One table's mistake hides no other's, no plugin's, no other file's."""
    place.config.write_text(
        '[treason]\nbackends = ["cloud"]\nmax_removals = 3\n[policy]\nipv6_prefix = 8\n'
        '[source.journal]\ndirectory = 1\n[[rule]]\nname = "x"\npattern = "("\n'
        '[backend.file]\npath = "x"\n[whitelist]\nnetworks = ["192.0.2.300"]\n'
    )
    (place.path / "whitelist.toml").write_text('networks = ["nonsense"]\n')
    lines = setup.problems()
    for wrong in ("'cloud'", "max_removals", "ipv6_prefix: 8", "directory", "[rule 1] pattern",
                  "'x' is not an absolute path", "192.0.2.300", "'nonsense'"):  # fmt: skip
        assert sum(wrong in line for line in lines) == 1, wrong


@pytest.mark.parametrize("text", ["nonsense", "treason = 1", "[treason]\nsources = 1\n[policy]\n"])
def test_a_file_that_says_nothing_is_named_once(setup: Setup, place: Place, text: str) -> None:
    """There is nothing else to check in it."""
    place.config.write_text(text)
    assert sum("treason.toml" in line for line in setup.problems()) == 1
