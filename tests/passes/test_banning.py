"""Bans by hand: what is refused, and what of them is not enforced."""

import pytest
from harness import Place

from reconciler import Network
from reconciler.config.setup import Setup
from reconciler.passes import banning
from reconciler.passes.banning import Exempt
from reconciler.planning.desired import collapse
from reconciler.planning.whitelist import Exemption

LISTED = """
[whitelist]
networks = [
    "192.0.2.0/25", {network = "192.0.2.128/25", comment = "the other half"}, "192.0.2.1",
    "2001:db8::/48", "198.51.100.7",
]
"""


@pytest.fixture
def exempt(place: Place) -> Exempt:
    """Whom a whitelist and one protected network exempt."""
    place.configure(LISTED)
    guarded = [Exemption(Network.parse(text), "gateway") for text in ("203.0.113.1", "192.0.2.1")]
    return Exempt(Setup(str(place.config)), guarded, 0)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("192.0.2.1", "192.0.2.1 is whitelisted by 192.0.2.0/25, so"),
        ("192.0.2.200", "192.0.2.200 is whitelisted by 192.0.2.128/25 (the other half), so"),
        ("192.0.2.0/24", "192.0.2.0/24 is whitelisted by 192.0.2.0/25, so"),
        ("2001:db8:0:1::/64", "is whitelisted by 2001:db8::/48, so"),
        ("203.0.113.1", "203.0.113.1 is protected by 203.0.113.1 (gateway), so"),
        ("10.0.0.0/7", "10.0.0.0/7 is wider than /16"),
    ],
)
def test_a_ban_of_which_nothing_would_be_enforced_is_refused(
    network: str, said: str, exempt: Exempt
) -> None:
    """The entry that exempts it is named: the widest, or the first of several."""
    refusal = exempt.refusal(Network.parse(network))
    assert refusal is not None
    assert said in refusal.what


@pytest.mark.parametrize(
    ("network", "remark"),
    [
        ("198.51.100.8", ""),
        ("198.51.100.0/24", "; the exempt addresses in it are not dropped"),
        ("198.51.100.7", ", but not enforced: it is exempt"),
        ("192.0.2.0/24", ", but not enforced: it is exempt"),
        ("2001:db8:1::/48", ""),
    ],
)
def test_what_of_a_ban_is_not_enforced_is_told(network: str, remark: str, exempt: Exempt) -> None:
    """Nothing, a part, or all of it."""
    wanted = Network.parse(network)
    assert exempt.remark(wanted) == remark
    assert (exempt.refusal(wanted) is None) is not remark.startswith(",")


def test_the_exempt_are_sorted_once_for_all_bans(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work grows with the bans and with the whitelist, not with the product of both."""
    place.configure(LISTED)
    sorted_: list[object] = []

    def counted(networks: list[Network]) -> object:
        sorted_.append(networks)
        return collapse(networks)

    monkeypatch.setattr(banning, "collapse", counted)
    bans = [f"198.51.100.{number}" for number in range(10, 60)]
    assert place.treason("ban", *bans).out.count("banned permanently\n") == 50
    assert len(sorted_) == 1
