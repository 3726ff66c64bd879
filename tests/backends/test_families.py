"""Each family is enforced by itself: one that cannot be had does not keep the other open."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from harness import Place
from pytest_mock import MockerFixture
from strangers import HOOK_GAPS, HOOK_WAYS, gaps

from backends.ipset import Settings as IpsetSettings
from backends.ipset.backend import Ipset
from backends.iptables import Settings
from backends.iptables.backend import Iptables
from backends.xtables import programs, reach
from backends.xtables.hooks import Hook
from reconciler import (
    BackendError,
    BackendFailed,
    BackendUnreadable,
    Desired,
    Network,
    netlink,
)
from reconciler.execute import run
from reconciler.host.netns import Namespace, Wire
from reconciler.passes.enforce import Goal, Outcome, State, enforce
from reconciler.planning.plan import plan
from reconciler.testing import PacketContract
from reconciler.testing.backend import EXAMPLE
from reconciler.testing.steps import state

Backend = Ipset | Iptables
Make = Callable[[], Backend]

HOOKS = ("INPUT", "FORWARD")


@pytest.fixture(params=["nft", "legacy"])
def variant(request: pytest.FixtureRequest, host: None) -> str:
    """Each variant, in an empty namespace."""
    return str(request.param)


@pytest.fixture(params=["iptables", "ipset"])
def make(request: pytest.FixtureRequest, variant: str) -> Make:
    """Each of the backends that are of two families."""
    if request.param == "ipset":
        return lambda: Ipset(IpsetSettings(variant, HOOKS))
    return lambda: Iptables(Settings(variant, HOOKS))


@pytest.fixture(params=[4, 6])
def version(request: pytest.FixtureRequest) -> int:
    """Each family."""
    return int(request.param)


@pytest.fixture
def addressed(host: None) -> None:
    """Addresses of both families by which others could come."""
    for address in ("192.0.2.1/24", "2001:db8::1/64"):
        run(["ip", "address", "add", address, "dev", "lo"])


def broken(version: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all programs of a family fail, as they do on a kernel without it."""
    family = "ip6tables" if version == 6 else "iptables"
    for kind in ("nft", "legacy"):
        for verb in ("save", "restore"):
            program = directory / f"{family}-{kind}-{verb}"
            program.write_text(
                f"#!/bin/sh\necho \"{program.name}: can't initialize {family} table:"
                ' Address family not supported by protocol" >&2\nexit 3\n'
            )
            program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")


def pass_(make: Make, wanted: Desired = EXAMPLE, *, check: bool = False) -> Outcome:
    """Make a pass over the backend."""
    [outcome] = enforce({"it": make}, Goal(lambda: wanted), check=check)
    return outcome


def test_a_family_that_is_not_used_is_only_noted(
    version: int, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each pass, in one line; the other one is enforced, and in sync."""
    broken(version, tmp_path, monkeypatch)
    assert pass_(make).state is State.CHANGED
    for check in (False, True):
        outcome = pass_(make, check=check)
        assert (outcome.state, outcome.failure) == (State.IN_SYNC, "")
        (note,) = (note for note in outcome.notes if "cannot be enforced" in note)
        assert note.startswith(f"IPv{version} cannot be enforced: ")
        assert "\n" not in note
    assert make().observe().banned == EXAMPLE.of(10 - version).banned


@pytest.mark.usefixtures("addressed")
def test_a_family_that_others_can_use_is_an_error(
    version: int, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is enforced all the same; the error ends once the family can be had."""
    with monkeypatch.context() as patch:
        broken(version, tmp_path, patch)
        for check in (True, False, True):
            outcome = pass_(make, check=check)
            assert f"IPv{version} cannot be enforced: " in outcome.failure
            assert outcome.state is not State.IN_SYNC
        assert make().observe().banned == EXAMPLE.of(10 - version).banned
    assert (pass_(make).state, pass_(make).state) == (State.CHANGED, State.IN_SYNC)
    assert make().observe().banned == EXAMPLE.banned


def test_nothing_of_an_unread_family_is_removed(
    version: int, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken for empty, and what it held stays, whatever happens to the other one."""
    pass_(make)
    with monkeypatch.context() as patch:
        broken(version, tmp_path, patch)
        pass_(make, Desired())
        assert not make().observe().banned
    assert make().observe().banned == EXAMPLE.of(version).banned


@pytest.mark.usefixtures("addressed")
def test_one_family_is_refused_and_the_other_is_changed(
    version: int, make: Make, mocker: MockerFixture
) -> None:
    """Whichever it is; the error says that the rest was done."""
    real = programs.restore

    def restore(family: int, *arguments: str) -> None:
        if family == version:
            raise BackendFailed("no power")
        real(family, *arguments)

    mocker.patch.object(programs, "restore", restore)
    outcome = pass_(make)
    assert outcome.state is State.FAILED
    assert "no power" in outcome.failure
    assert make().observe().banned >= EXAMPLE.of(10 - version).banned


def test_a_family_that_was_unread_for_a_moment_loses_nothing(
    version: int, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan that was made without it leaves it alone, though it can be read again by then."""
    pass_(make)
    more = [Network.parse("198.51.100.77"), Network.parse("2001:db8:ff::7")]
    wanted = Desired([*EXAMPLE.banned, *more], EXAMPLE.passed)
    backend = make()
    with monkeypatch.context() as patch:
        broken(version, tmp_path, patch)
        made = plan(wanted, backend.observe())
    assert made is not None
    shown = backend.render(made)
    assert [str(each) in shown for each in more] == [version == 6, version == 4]
    backend.apply(made)
    assert make().observe().banned >= EXAMPLE.of(version).banned
    assert make().observe().banned >= wanted.of(10 - version).banned


def test_no_family_at_all_is_unreadable(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing is known."""
    for each in (4, 6):
        broken(each, tmp_path, monkeypatch)
    with pytest.raises(BackendUnreadable):
        make().observe()


def test_teardown_takes_away_what_it_can(
    version: int, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One family stays, and goes once it can be had."""
    pass_(make)
    with monkeypatch.context() as patch:
        broken(version, tmp_path, patch)
        try:
            make().teardown()
        except BackendError:  # the sets that the other family's rules use
            assert isinstance(make(), Ipset)
    make().teardown()
    assert not make().observe().banned


def test_a_kernel_without_sets_for_one_family_enforces_the_other(
    host: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend ipset's sets are made for each family by itself, too."""
    real = "/usr/sbin/ipset"
    program = tmp_path / "ipset"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = restore ] || exec {real} "$@"\ntext=$(cat)\n'
        'case $text in *inet6*) echo "ipset v7.17: Kernel error received: no inet6" >&2; exit 1;;'
        f' esac\nprintf "%s\\n" "$text" | exec {real} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    outcome = pass_(lambda: Ipset(IpsetSettings("nft", HOOKS)))
    assert "no inet6" in outcome.failure
    monkeypatch.undo()
    assert Ipset(IpsetSettings("nft", HOOKS)).observe().banned >= EXAMPLE.of(4).banned


def test_a_kernel_that_cannot_be_asked_is_a_problem(host: None, mocker: MockerFixture) -> None:
    """Whether packets come to the chain is not known; both families are changed all the same."""
    refusing = mocker.patch("backends.xtables.kernel.Kernel.is_dormant")
    refusing.side_effect = netlink.refusal(1)
    outcome = pass_(lambda: Iptables(Settings("nft", HOOKS)))
    assert outcome.state is State.FAILED
    assert "cannot tell whether packets of IPv4 come to the chain" in outcome.failure
    assert Iptables(Settings("nft", HOOKS)).observe().banned == EXAMPLE.banned


def test_addresses_decide_whether_a_family_is_used(host: None) -> None:
    """Loopback and link-local ones do not count; where the kernel cannot be asked, it is used."""
    run(["ip", "link", "set", "lo", "up"])
    assert not reach.has_addresses(4)
    run(["ip", "address", "add", "fe80::5/64", "dev", "lo"])
    run(["ip", "address", "add", "169.254.7.7/16", "dev", "lo"])
    assert not reach.has_addresses(6)
    run(["ip", "address", "add", "2001:db8::7/128", "dev", "lo"])
    run(["ip", "address", "add", "10.0.0.1", "peer", "10.0.0.2", "dev", "lo"])
    assert reach.has_addresses(4)
    assert reach.has_addresses(6)
    assert "10.0.0.1" in map(str, netlink.addresses())
    assert "10.0.0.2" not in map(str, netlink.addresses())


def test_a_kernel_that_tells_no_addresses_is_no_excuse(mocker: MockerFixture) -> None:
    """Then the family counts as used."""
    mocker.patch.object(netlink, "addresses", side_effect=netlink.refusal(97))
    assert reach.has_addresses(6)


def shell(text: str, variant: str) -> None:
    """Run iptables commands in one variant, in both families."""
    for family in ("iptables", "ip6tables"):
        run(["sh", "-ec", text.replace("iptables", f"{family}-{variant}")])


def shell_one(text: str, variant: str) -> None:
    """Run iptables commands in one variant, as they are."""
    run(["sh", "-ec", re.sub(r"\b(ip6?tables)(?= )", rf"\1-{variant}", text)])


def test_a_condition_that_iptables_does_not_show_closes_no_way(host: None) -> None:
    """nf_tables is asked before a rule is taken for one without a condition."""
    shell("iptables -N C", "nft")
    run(["ip6tables-nft", "-A", "INPUT", "-j", "C"])
    run(["nft", "add set ip filter good { type ipv4_addr; }"])
    run(["iptables-nft", "-A", "INPUT", "-p", "tcp", "-j", "RETURN"])
    run(["nft", "add rule ip filter INPUT ip saddr @good accept"])
    run(["nft", "add rule ip filter INPUT ip saddr @good accept comment x1"])
    run(["iptables-nft", "-A", "INPUT", "-m", "comment", "--comment", "a b", "-j", "LOG"])
    run(["iptables-nft", "-A", "INPUT", "-j", "C"])
    assert not pass_(lambda: Iptables(Settings("nft", ("C",)))).failure


def test_a_chain_that_no_built_in_chain_leads_to_is_told(variant: str) -> None:
    """Directly or through others; a jump with conditions leads there too."""
    backend = Iptables(Settings(variant, ("DOCKER-USER",)))
    shell("iptables -N DOCKER-USER; iptables -N MIDDLE; iptables -A MIDDLE -j DOCKER-USER", variant)
    assert "no built-in chain leads to it" in pass_(lambda: backend).failure
    for leading in (
        "-A FORWARD -i eth0 -m comment --comment 'a -j b' -j MIDDLE",
        "-A INPUT -g MIDDLE",
    ):
        shell(f"iptables {leading}", variant)
        assert not backend.observe().problems
        shell(f"iptables {leading.replace('-A', '-D', 1)}", variant)
        assert len(backend.observe().problems) == 2


class HookContract(PacketContract):
    """Packets come to the chain by way of another one, in one variant."""

    variant: ClassVar[str]
    gaps: ClassVar[Mapping[str, Callable[[Any], object]]] = gaps(HOOK_GAPS)
    harmless: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        "a condition ahead of the way": lambda contract: shell(
            "iptables -C INPUT -p tcp -j ACCEPT || iptables -I INPUT -p tcp -j ACCEPT;"
            " iptables -A TREASON -p tcp -j RETURN",
            contract.variant,
        ),
    }
    repairs = 5

    @pytest.fixture
    def backend(self, namespace: Namespace) -> Iptables:
        """A firewall whose hook is made."""
        shell("iptables -N HOOK; iptables -A INPUT -j HOOK", self.variant)
        return Iptables(Settings(self.variant, ("HOOK",)))

    @pytest.mark.parametrize("way", HOOK_WAYS)
    def test_packets_come_to_it_by_any_way(
        self, way: str, backend: Iptables, cable: Callable[..., Wire]
    ) -> None:
        """Then nothing is wrong: judged by packets, which are dropped there alone."""
        banned = ["198.51.100.7", "2001:db8:bad::1"]
        wire = cable(*banned, "198.51.100.8")
        shell_one(HOOK_WAYS[way], self.variant)
        made = plan(state(banned), backend.observe())
        assert made is not None
        backend.apply(made)
        assert wire.arriving([*banned, "198.51.100.8"]) == {"198.51.100.8"}
        assert not backend.observe().problems


class TestHookNft(HookContract):
    """The variant of nf_tables."""

    variant = "nft"


class TestHookLegacy(HookContract):
    """The variant of x_tables."""

    variant = "legacy"


def test_no_working_hook_is_given_up_for_one_that_packets_do_not_come_to(variant: str) -> None:
    """It goes once they do."""
    pass_(lambda: Iptables(Settings(variant, ("INPUT",))))
    shell("iptables -N LATER", variant)
    outcome = pass_(lambda: Iptables(Settings(variant, ("LATER",))))
    assert "no packet comes to the chain LATER" in outcome.failure
    assert "-A INPUT -j TREASON" in run([f"iptables-{variant}", "-S"]).output
    shell("iptables -A INPUT -j LATER", variant)
    assert not pass_(lambda: Iptables(Settings(variant, ("LATER",)))).failure
    assert "-A INPUT -j TREASON" not in run([f"iptables-{variant}", "-S"]).output


def test_a_ban_with_a_condition_that_iptables_does_not_show_is_damage(host: None) -> None:
    """It drops less than it says; so does a pass that passes less."""
    pass_(lambda: Iptables(Settings("nft", HOOKS)))
    for rule in (
        "ip saddr 192.0.2.7 ip daddr @s counter drop",
        "ip saddr 203.0.113.9 meta mark 7 counter return",
    ):
        listing = run(["nft", "-a", "list", "chain", "ip", "filter", "TREASON"]).output
        (handle,) = re.findall(rf"{re.escape(rule[:18])}.* # handle (\d+)", listing)
        run(["nft", "add set ip filter s { type ipv4_addr; }"])
        run(["nft", f"replace rule ip filter TREASON handle {handle} {rule}"])
        outcome = pass_(lambda: Iptables(Settings("nft", HOOKS)))
        assert outcome.state is State.CHANGED
        assert "conditions that iptables does not show" in str(outcome.plan)
        assert pass_(lambda: Iptables(Settings("nft", HOOKS))).state is State.IN_SYNC


def test_a_program_that_hangs_is_ended(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
) -> None:
    """The other family is changed all the same."""
    mocker.patch.object(programs.save, "__defaults__", (0.5,))
    broken(6, tmp_path, monkeypatch)
    for program in tmp_path.glob("ip6tables-*-save"):
        program.write_text("#!/bin/sh\nexec sleep 60\n")
    outcome = pass_(make)
    assert outcome.state is State.CHANGED
    assert any("did not end within" in note for note in outcome.notes)


def test_chains_that_lead_ever_deeper_are_not_followed_to_the_end() -> None:
    """They count as come to: no pass fails for them."""
    chains = {f"c{number}": [f"-j c{number + 1}"] for number in range(5_000)}
    listing = {"filter": {"INPUT": ["-j c0"], **chains, "A": []}}
    assert [*reach.unreached("legacy", 4, listing, [Hook("filter", "A")])] == []


def test_chains_that_lead_in_a_circle_are_followed_once() -> None:
    """A listing may hold such ones."""
    listing = {"filter": {"A": ["-j B"], "B": ["-j A"], "C": ["-j C"], "INPUT": ["-j ACCEPT"]}}
    found = [*reach.unreached("legacy", 4, listing, [Hook("filter", "A")])]
    assert len(found) == 1


@pytest.mark.usefixtures("addressed")
def test_a_hook_that_only_one_family_has_leaves_the_other_open(variant: str) -> None:
    """It is told, unless another hook is there in both."""
    run(["sh", "-ec", f"iptables-{variant} -N D; iptables-{variant} -A FORWARD -j D"])
    assert "IPv6 cannot be enforced" in pass_(lambda: Iptables(Settings(variant, ("D",)))).failure
    assert not pass_(lambda: Iptables(Settings(variant, ("D", "INPUT")))).failure


def test_nobody_moves_to_a_backend_that_packets_do_not_come_to(place: Place, host: None) -> None:
    """The one that works stays."""
    place.configure(main='backends = ["nftables", "iptables"]')
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan", "--backend", "nftables")
    run(["nft", "add table ip filter { flags dormant; }"])
    moved = place.treason("migrate", "--from", "nftables", "--to", "iptables")
    assert moved.code == 1
    assert "dormant" in moved.err
    assert "192.0.2.7" in run(["nft", "list", "set", "inet", "treason", "banned4"]).output


def test_a_machine_without_ipv6_programs_says_so_in_each_pass(
    place: Place, host: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, and ends well: nobody comes by a family that the machine has not."""
    broken(6, tmp_path, monkeypatch)
    place.configure(main='backends = ["iptables"]')
    place.treason("ban", "192.0.2.7")
    for _ in range(2):
        result = place.treason("reconcile", "--no-scan")
        assert result.code == 0
        assert result.out.count("IPv6 cannot be enforced") == 1
    run(["ip", "address", "add", "2001:db8::1/64", "dev", "lo"])
    result = place.treason("reconcile", "--no-scan")
    assert result.code == 1
    assert "IPv6 cannot be enforced" in result.err
    assert place.treason("reconcile", "--no-scan", "--check").code == 1
