"""Messages that are believed though anybody can make them."""

from doctors import machine, whats
from harness import Place
from pytest_mock import MockerFixture

from reconciler.doctor import forgery
from reconciler.passes import confirmable


def test_messages_that_are_believed_as_they_are(place: Place) -> None:
    """The setting is named, and what to write; nothing is found where they are confirmed."""
    place.configure(main='sources = ["kmsg"]')
    assert whats(forgery.check, machine(place)) == []
    place.configure('[trust]\nconfirm = "never"', main='sources = ["kmsg"]')
    [found] = forgery.check(machine(place))
    assert "believed as they are" in found.what
    assert found.remedy == f'write confirm = "auto" in [trust] of {place.config}'


def test_a_machine_where_nobody_can_forge(place: Place, mocker: MockerFixture) -> None:
    """Is no finding."""
    place.configure(main='sources = ["kmsg"]')
    mocker.patch.object(confirmable, "remarks", return_value=[confirmable.SAFE])
    assert whats(forgery.check, machine(place)) == []


def test_lines_of_the_firewall(place: Place, mocker: MockerFixture) -> None:
    """The setting of the kernel that lets everybody print them is printed."""
    doubt = "'ufw-block' of the firewall bans nobody: /proc/sys/net/netfilter/nf_log_all_netns is 1"
    mocker.patch.object(confirmable, "remarks", return_value=[doubt])
    [found] = forgery.check(machine(place))
    assert (found.what, found.remedy) == (doubt, "sysctl -w net.netfilter.nf_log_all_netns=0")
