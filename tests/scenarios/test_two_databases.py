"""Two databases over one table: named, and not alternated."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Place
from pytest_mock import MockerFixture

from backends.iptables import persist
from reconciler.execute import run

Nft = Callable[..., str]


@pytest.fixture
def others(place: Place, tmp_path: Path) -> Callable[[str], Place]:
    """Other directories with a configuration, a database and a lock of their own."""

    def make(name: str) -> Place:
        directory = tmp_path / name
        directory.mkdir(mode=0o700)
        made = Place(directory, place.capture)
        made.configure()
        return made

    return make


def held(nft: Nft) -> str:
    """Return what is banned, as nft lists it."""
    return nft("list set inet treason banned4")


def test_the_second_one_is_refused_and_both_are_named(
    host: None, nft: Nft, place: Place, others: Callable[[str], Place]
) -> None:
    """In a pass, a check and the status; the first one goes on, and nothing alternates."""
    other = others("other")
    place.treason("ban", "192.0.2.7")
    assert place.treason("reconcile", "--no-scan").code == 0
    other.treason("ban", "203.0.113.9")
    for command in (["reconcile", "--no-scan"], ["reconcile", "--no-scan", "--check"], ["status"]):
        refused = other.treason(*command)
        assert refused.code == 1
        assert f"another database {place.database}" in refused.out + refused.err
        assert str(other.database) in refused.out + refused.err
    place.treason("ban", "192.0.2.8")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert "203.0.113.9" not in held(nft)
    assert "192.0.2.8" in held(nft)


@pytest.mark.parametrize("backend", ["ipset", "iptables"])
@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_chains_and_sets_are_one_databases_too(
    backend: str, variant: str, host: None, place: Place, others: Callable[[str], Place]
) -> None:
    """An empty chain beside ours names it; teardown takes that away as well."""
    other = others("other")
    for each in (place, other):
        each.configure(
            f'[backend.{backend}]\nvariant = "{variant}"', main=f'backends = ["{backend}"]'
        )
    place.treason("ban", "192.0.2.7")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert place.treason("reconcile", "--no-scan", "--check").code == 0
    other.treason("ban", "203.0.113.9")
    for command in (["reconcile", "--no-scan"], ["reconcile", "--no-scan", "--check"], ["status"]):
        refused = other.treason(*command)
        assert refused.code == 1
        assert "another database (" in refused.out + refused.err
    assert other.treason("reconcile", "--no-scan", "--force").code == 0
    assert other.treason("reconcile", "--no-scan").out == f"{backend}: in sync\n"
    assert place.treason("reconcile", "--no-scan").code == 1
    listed = [run([f"{each}-{variant}-save"]).output for each in ("iptables", "ip6tables")]
    assert [text.count(":TREASON-OF-") for text in listed] == [1, 1]
    assert other.treason("teardown").code == 0
    listed = [run([f"{each}-{variant}-save"]).output for each in ("iptables", "ip6tables")]
    assert [text.count("TREASON") for text in listed] == [0, 0]


def listed(variant: str) -> str:
    """Return what both families hold."""
    families = ("iptables", "ip6tables")
    return "".join(run([f"{each}-{variant}-save"]).output for each in families)


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_a_note_follows_the_hooks_and_is_nowhere_else(
    variant: str, host: None, place: Place, others: Callable[[str], Place]
) -> None:
    """Who takes over, takes over in all tables; a foreign chain of a like name stays."""
    other = others("other")

    def configure(each: Place, *hooks: str) -> None:
        names = ", ".join(f'"{hook}"' for hook in hooks)
        each.configure(
            f'[backend.iptables]\nvariant = "{variant}"\nhooks = [{names}]',
            main='backends = ["iptables"]',
        )

    run([f"iptables-{variant}", "-N", "TREASON-OF-foo"])
    run([f"iptables-{variant}", "-A", "TREASON-OF-foo", "-j", "ACCEPT"])
    run([f"ip6tables-{variant}", "-N", "TREASON-OF-bar"])
    led_to = f"TREASON-OF-{'a' * 16}"
    run([f"ip6tables-{variant}", "-N", led_to])
    run([f"ip6tables-{variant}", "-A", "OUTPUT", "-j", led_to])
    configure(place, "INPUT")
    place.treason("ban", "192.0.2.7")
    assert place.treason("reconcile", "--no-scan").code == 0
    configure(place, "raw/PREROUTING", "INPUT")
    assert place.treason("reconcile", "--no-scan").code == 0
    configure(other, "raw/PREROUTING", "INPUT")
    other.treason("ban", "203.0.113.9")
    assert other.treason("reconcile", "--no-scan", "--force").code == 0
    other.treason("ban", "203.0.113.10")
    assert other.treason("reconcile", "--no-scan").code == 0
    configure(other, "INPUT")
    assert other.treason("reconcile", "--no-scan").code == 0
    assert len({*re.findall(r":TREASON-OF-[0-9a-f]{16}", listed(variant))}) == 2
    assert other.treason("teardown").code == 0
    assert {*re.findall(r"TREASON\S*", listed(variant))} == {
        "TREASON-OF-foo",
        "TREASON-OF-bar",
        led_to,
    }


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_no_note_is_saved_for_the_next_boot(
    variant: str, host: None, place: Place, tmp_path: Path, mocker: MockerFixture
) -> None:
    """It would outlive the database that it names."""
    directory = tmp_path / "iptables"
    directory.mkdir()
    saved = persist.Place(directory, {4: "rules.v4", 6: "rules.v6"}, 0o640)
    mocker.patch.object(persist, "PLACES", (saved,))
    place.configure(
        f'[backend.iptables]\nvariant = "{variant}"\npersist = true', main='backends = ["iptables"]'
    )
    for address in ("192.0.2.7", "192.0.2.8"):
        place.treason("ban", address)
        assert place.treason("reconcile", "--no-scan").code == 0
        text = (directory / "rules.v4").read_text()
        assert (address in text, "TREASON-OF" in text) == (True, False)
    (directory / "rules.v4").write_text(
        text.replace(":TREASON ", f":TREASON-OF-{'a' * 16} - [0:0]\n:TREASON ")
    )
    assert place.treason("teardown").code == 0
    assert "TREASON" not in (directory / "rules.v4").read_text()


def test_what_only_one_family_notes_is_nobodys(
    host: None, place: Place, others: Callable[[str], Place]
) -> None:
    """After a take-over that was refused in one family, neither undoes the other's."""
    other = others("other")
    for each in (place, other):
        each.configure(main='backends = ["iptables"]')
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    (name,) = {*re.findall(r"TREASON-OF-\w+", run(["iptables-save"]).output)}
    run(["ip6tables", "-E", name, f"TREASON-OF-{'b' * 16}"])
    for each in (place, other):
        each.treason("ban", "203.0.113.9")
        assert each.treason("reconcile", "--no-scan").code == 1
    assert place.treason("reconcile", "--no-scan", "--force").code == 0
    assert place.treason("reconcile", "--no-scan").code == 0


def test_one_can_be_chosen(
    host: None, nft: Nft, place: Place, others: Callable[[str], Place]
) -> None:
    """On purpose; then the other one is refused."""
    other = others("other")
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    other.treason("ban", "203.0.113.9")
    assert other.treason("reconcile", "--no-scan", "--force").code == 0
    assert "203.0.113.9" in held(nft)
    assert place.treason("reconcile", "--no-scan").code == 1
    assert "203.0.113.9" in held(nft)


def test_a_copy_that_is_used_beside_its_original_is_refused(
    host: None, nft: Nft, place: Place, others: Callable[[str], Place]
) -> None:
    """Though it remembers the same verified state."""
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    other = others("other")
    shutil.copy(place.database, other.database)
    other.treason("ban", "203.0.113.9")
    refused = other.treason("reconcile", "--no-scan")
    assert refused.code == 1
    assert f"a copy of this database {place.database}" in refused.err
    assert "203.0.113.9" not in held(nft)


@pytest.mark.parametrize("backend", ["nftables", "ipset", "iptables"])
def test_what_is_in_sync_by_chance_is_still_anothers(
    backend: str, host: None, place: Place, others: Callable[[str], Place]
) -> None:
    """A pass that has nothing to change is no leave to change it later; --force takes over."""
    other = others("other")
    for each in (place, other):
        each.configure(main=f'backends = ["{backend}"]')
        each.treason("ban", "192.0.2.7", "192.0.2.8")
    assert place.treason("reconcile", "--no-scan").code == 0
    for _ in range(2):
        assert other.treason("reconcile", "--no-scan").out == f"{backend}: in sync\n"
    other.treason("unban", "192.0.2.8")
    assert other.treason("reconcile", "--no-scan").code == 1
    assert place.treason("reconcile", "--no-scan").out == f"{backend}: in sync\n"
    other.treason("ban", "192.0.2.8")
    taken = other.treason("reconcile", "--no-scan", "--force")
    assert (taken.code, taken.out) == (
        0,
        f"{backend}: changed: taken over from another database\n",
    )
    other.treason("unban", "192.0.2.8")
    assert other.treason("reconcile", "--no-scan").code == 0
    assert place.treason("reconcile", "--no-scan").code == 1


def test_a_database_that_was_moved_or_restored_goes_on(
    host: None, nft: Nft, place: Place, others: Callable[[str], Place], tmp_path: Path
) -> None:
    """The next change notes its new place."""
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    backup = tmp_path / "backup.db"
    shutil.copy(place.database, backup)
    place.treason("ban", "192.0.2.8")
    place.treason("reconcile", "--no-scan")
    shutil.copy(backup, place.database)
    assert place.treason("reconcile", "--no-scan", "--check").code == 2
    assert place.treason("reconcile", "--no-scan").code == 0
    assert "192.0.2.8" not in held(nft)
    other = others("other")
    place.database.rename(other.database)
    other.treason("ban", "192.0.2.9")
    assert other.treason("reconcile", "--no-scan").code == 0
    assert str(other.database) in nft("list set inet treason database")


def test_a_database_in_the_place_of_another_is_told_apart(
    host: None, nft: Nft, place: Place, others: Callable[[str], Place]
) -> None:
    """Nothing is lifted because a file was lost, however few bans there were."""
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    other = others("other")
    other.treason("ban", "203.0.113.9")
    other.database.replace(place.database)
    refused = place.treason("reconcile", "--no-scan")
    assert refused.code == 1
    assert "another database that was at this path before" in refused.err
    assert "192.0.2.7" in held(nft)


@pytest.mark.parametrize(
    "damage",
    [
        "delete set inet treason database",
        "delete set inet treason database; add set inet treason database { type ipv6_addr; }",
        "add element inet treason database { 192.0.2.99 }",
        (
            "delete set inet treason database; add set inet treason database"
            ' { type ipv4_addr; comment "odd"; }'
        ),
    ],
)
def test_a_table_without_its_note_is_in_sync_until_the_next_change(
    damage: str, host: None, nft: Nft, place: Place
) -> None:
    """Which notes it again."""
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    healthy = nft("list set inet treason database")
    nft(damage)
    assert place.treason("reconcile", "--no-scan", "--check", "--full").code == 0
    place.treason("ban", "192.0.2.8")
    force = ["--force"] if "odd" in damage else []
    assert place.treason("reconcile", "--no-scan").code == len(force)
    assert place.treason("reconcile", "--no-scan", *force).code == 0
    if "element" not in damage:
        assert nft("list set inet treason database") == healthy
    assert "192.0.2.8" in held(nft)


def test_the_script_notes_it_as_the_messages_do(host: None, nft: Nft, place: Place) -> None:
    """What --diff -v shows can be given to nft."""
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    made = nft("list table inet treason")
    nft("delete table inet treason")
    shown = place.treason("reconcile", "--no-scan", "--check", "-v").out
    script = [line for line in shown.splitlines() if line.startswith(("add ", "delete "))]
    assert script
    run(["nft", "-f", "-"], given="\n".join(script) + "\n")
    assert nft("list table inet treason") == made


@pytest.mark.parametrize("backend", ["ipset", "iptables"])
@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_a_chain_of_our_name_that_somebody_else_made_stays(
    backend: str, variant: str, host: None, place: Place
) -> None:
    """It is neither filled nor torn down, in either family; once it has another name, we go on."""
    place.configure(f'[backend.{backend}]\nvariant = "{variant}"', main=f'backends = ["{backend}"]')
    place.treason("ban", "192.0.2.7")
    for rule in ("-N TREASON", "-A TREASON -p tcp --dport 22 -j ACCEPT", "-A OUTPUT -j TREASON"):
        run([f"ip6tables-{variant}", *rule.split()])
    before = listed(variant).count("\n-")
    for command in (
        ["reconcile", "--no-scan"],
        ["reconcile", "--no-scan", "--check"],
        ["teardown"],
    ):
        refused = place.treason(*command)
        assert refused.code == 1
        assert "the chain TREASON of IPv6 filter was not made by treason" in refused.err
        assert listed(variant).count("\n-") == before
    run([f"ip6tables-{variant}", "-E", "TREASON", "MINE"])
    assert place.treason("reconcile", "--no-scan").code == 0
    run([f"iptables-{variant}", "-F", "TREASON"])
    run([f"iptables-{variant}", "-A", "TREASON", "-p", "tcp", "-j", "ACCEPT"])
    assert place.treason("reconcile", "--no-scan").code == 0
    assert "-A MINE -p tcp" in listed(variant)


@pytest.mark.parametrize(
    "made",
    [
        "treason4 hash:net",
        "treason4 hash:ip",
        "treason6 hash:ip family inet6 timeout 60",
        "treason4p list:set",
        "treason4_new hash:ip",
    ],
)
def test_a_set_of_our_name_that_somebody_else_made_stays(
    made: str, host: None, place: Place
) -> None:
    """It is neither filled nor destroyed; once it has another name, we go on, and leave that."""
    place.configure(main='backends = ["ipset"]')
    place.treason("ban", "192.0.2.7", "2001:db8::7")
    name = made.partition(" ")[0]
    run(["ipset", "create", *made.split()])
    before = run(["ipset", "save"]).output
    for command in (
        ["reconcile", "--no-scan"],
        ["reconcile", "--no-scan", "--check"],
        ["teardown"],
    ):
        refused = place.treason(*command)
        assert refused.code == 1
        assert f"the set {name} (" in refused.err
        assert "was not made by treason, so it is left as it is" in refused.err
        assert run(["ipset", "save"]).output == before
        assert "TREASON" not in run(["iptables-save"]).output
    run(["ipset", "rename", name, "MINE"])
    assert place.treason("reconcile", "--no-scan").code == 0
    assert place.treason("teardown").code == 0
    assert run(["ipset", "save"]).output == before.replace(name, "MINE")


def test_sets_of_ours_are_known_without_a_chain(host: None, place: Place) -> None:
    """A pass that was killed before it made the chain, or saved sets that came back alone."""
    place.configure(main='backends = ["ipset"]')
    place.treason("ban", "192.0.2.7")
    assert place.treason("reconcile", "--no-scan").code == 0
    saved = run(["ipset", "save"]).output
    assert place.treason("teardown").code == 0
    run(["ipset", "restore"], given=saved)
    assert place.treason("reconcile", "--no-scan").code == 0
    assert "add treason4 192.0.2.7" in run(["ipset", "save"]).output
