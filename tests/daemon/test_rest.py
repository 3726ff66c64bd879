"""The rest of the daemon: who lets it rest, and when it begins anew."""

from attrs import define, field

from reconciler.daemon.rest import Rest


@define
class Woken:
    """Notes what follows from a rest."""

    events: list[str] = field(factory=list)

    def rest(self) -> Rest:
        """Return one that tells here what follows."""
        return Rest(lambda: self.events.append("wake"), lambda: self.events.append("tell"))

    def note(self, text: str) -> None:
        """Note it."""
        self.events.append(text)


def test_it_is_held_until_the_last_one_has_let_go() -> None:
    """Then it begins anew, and rests until that is done."""
    woken = Woken()
    rest = woken.rest()
    assert not rest.closed
    rest.hold("one", 11, lambda: woken.note("one"))
    rest.hold("two", 12, lambda: woken.note("two"))
    assert woken.events == ["tell", "one", "tell", "two"]
    assert rest.text.startswith("is held by process 11, 12 since ")
    assert rest.told()["held"] == (11, 12)
    rest.let_go("one")
    rest.let_go("somebody else")
    assert woken.events[4:] == []
    rest.let_go("two")
    assert woken.events[4:] == ["wake"]
    assert (rest.closed, rest.waking, rest.text) == (True, True, "")
    rest.later(lambda: woken.note("later"))
    rest.begun_anew()
    assert woken.events[5:] == ["later"]
    assert not rest.closed


def test_who_holds_it_waits_for_the_passes_that_run() -> None:
    """Who has gone away by then is not told."""
    woken = Woken()
    rest = woken.rest()
    rest.child_began()
    rest.child_began()
    rest.hold("one", 11, lambda: woken.note("one"))
    rest.hold("two", 12, lambda: woken.note("two"))
    rest.let_go("one")
    rest.child_ended()
    assert woken.events == ["tell", "tell"]
    assert rest.closed
    rest.child_ended()
    assert woken.events[2:] == ["two"]


def test_it_stands_still_until_it_is_told_to_go_on() -> None:
    """Whoever held it, and lets go; and while it is held once more, that alone counts."""
    woken = Woken()
    rest = woken.rest()
    rest.hold("one", 11, lambda: None)
    rest.stand_still(11, "teardown")
    rest.let_go("one")
    assert "wake" not in woken.events
    assert rest.text.startswith("stands still since ")
    assert rest.text.endswith(" (teardown, process 11); go on: treason resume")
    rest.begun_anew()
    assert rest.closed
    rest.hold("two", 12, lambda: None)
    rest.go_on()
    assert "wake" not in woken.events
    assert rest.told()["still"] is None
    rest.let_go("two")
    assert woken.events[-1] == "wake"
    rest.go_on()
    assert woken.events.count("wake") == 1


def test_other_backends_end_the_standing_still_and_no_hold() -> None:
    """What was taken down is not theirs; what somebody does just now may be."""
    woken = Woken()
    rest = woken.rest()
    rest.hold("one", 11, lambda: None)
    rest.stand_still(11, "teardown")
    rest.begun_anew(others=True)
    assert rest.closed
    assert rest.told()["still"] is None
    rest.let_go("one")
    assert rest.waking


def test_who_holds_it_while_it_begins_anew_finds_it_at_rest() -> None:
    """It begins anew once more behind that."""
    woken = Woken()
    rest = woken.rest()
    rest.hold("one", 11, lambda: None)
    rest.let_go("one")
    rest.hold("two", 12, lambda: None)
    assert not rest.waking
    rest.begun_anew()
    assert rest.closed
    rest.let_go("two")
    assert woken.events.count("wake") == 2


def test_who_holds_it_where_the_beginning_anew_fails_meanwhile_ends_the_rest() -> None:
    """Nothing tells of the failure: it begins anew once more behind the hold all the same."""
    woken = Woken()
    rest = woken.rest()
    rest.hold("one", 11, lambda: None)
    rest.let_go("one")
    rest.hold("two", 12, lambda: None)
    rest.let_go("two")
    assert woken.events.count("wake") == 2
    assert rest.waking
    rest.begun_anew()
    assert not rest.closed
