"""The page of `treason why`, on terminals and in pipes."""

import os
from typing import Any

import pytest
from attrs import evolve
from pytest_mock import MockerFixture

from reconciler import BackendError, Damage, Decision, Held, Network, Networks
from reconciler.model import Ban, Offence
from reconciler.passes.why import Exempting, Standing, Why
from reconciler.planning.whitelist import Exemption
from reconciler.report import answer, columns, why
from reconciler.store.history import Event

HOST = Network.parse("203.0.113.7")
AROUND = Network.parse("203.0.113.0/24")
ONLY = Networks.of([HOST])
DROPS = Held([Decision([HOST], True, "set banned4", 1234)])
EVIL = "Peer 203.0.113.7:1/2 \x1b]0;owned\x07 shrinks window\n203.0.113.7 passes"


def made(**changes: Any) -> Why:
    """Return what explains a host that is banned and dropped, with changes."""
    rule = "treason-uncloaked"
    plain = Why(
        network=HOST,
        now=1_700_000_000,
        observes=False,
        around=(Ban(HOST, 1_699_999_000, 1_700_003_600, rule, EVIL),),
        inside=(),
        ignored=Networks(),
        feeds=(),
        untaken=(),
        exempting=(),
        wanted=ONLY,
        pending=Networks(),
        rests="",
        unasked="",
        standings=(Standing("nftables", True, DROPS, drops=ONLY),),
        offences=(Offence(HOST, rule, EVIL, True, time=1_699_999_000.0, count=2),),
        withheld=(),
        doubted=(),
        endings=(Event(1_600_000_000, "expiry", str(HOST), EVIL),),
        sockets=(),
    )
    return evolve(plain, **changes)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_it_fits_on_a_terminal(width: int, mocker: MockerFixture) -> None:
    """No line is longer, none is lost, and the answer comes first, by itself."""
    mocker.patch.dict(os.environ, {"NO_COLOR": "1"})
    mocker.patch.object(columns, "_columns", return_value=None)
    pipe = [*why.page(made())]
    mocker.patch.object(columns, "_columns", return_value=width)
    shown = [*why.page(made())]
    assert max(map(len, shown)) <= width
    assert "".join("".join(shown).split()) == "".join("".join(pipe).split())
    first = shown[: shown.index("")]
    assert " ".join(first) == answer.headline(made()) == pipe[0]


def test_what_strangers_wrote_does_no_harm(mocker: MockerFixture) -> None:
    """Neither a control character nor a line of their own comes through, wherever it stands."""
    mocker.patch.object(columns, "_columns", return_value=None)
    listed = Exempting(Exemption(AROUND, EVIL), listed=True)
    damage = Damage("set x", EVIL)
    held = Held([Decision([HOST], None, EVIL)], None, EVIL, [damage], [BackendError(EVIL)])
    standing = Standing("nftables", True, held, drops=ONLY)
    for each in (made(), made(exempting=(listed,), standings=(standing,), unasked=EVIL)):
        page = "\n".join(why.page(each))
        assert page.replace("\n", "").isprintable()
        assert "\n203.0.113.7 passes" not in page
        assert answer.headline(each).isprintable()


def test_what_to_do_stands_in_a_line_of_its_own() -> None:
    """Where the daemon does not answer, and where the database is damaged."""
    told = [*why.page(made(unasked="no answer\n  see: it", damage=("torn\n  mend: it",)))]
    lines = [line.split() for line in told]
    for row, hint in ((["daemon", "no", "answer"], "see:"), (["damage", "torn"], "mend:")):
        assert lines[lines.index(row) + 1] == [hint, "it"]


def test_the_families_of_answers() -> None:
    """What decides the first line, where the scenarios do not come to it."""
    ban = Ban(AROUND, 1, None, "badips")
    held = Held(
        [], reached=False, unreached="the table filter is dormant", problems=[BackendError("x")]
    )
    cases = {
        "is dropped by nftables: 203.0.113.0/24 around it is banned by another program, through"
        " badips, permanently.": made(around=(ban,)),
        "passes, though 203.0.113.0/24 around it is banned by another program, through badips,"
        " permanently: ipset: the table filter is dormant; the next pass does not mend that.": made(
            around=(ban,), standings=(Standing("ipset", True, held),)
        ),
        "passes, though the daemon has it in force, and has not stored it yet: nftables does not"
        " hold it; the next pass adds it.": made(
            around=(), pending=ONLY, standings=(Standing("nftables", True, Held()),)
        ),
        "passes, though banned by the rule treason-uncloaked, until 2023-11-14T23:13:20Z: no"
        " backend is set.": made(standings=()),
    }
    for words, each in cases.items():
        assert answer.headline(each) == f"{HOST} {words}"


def test_an_entry_that_exempts_a_part() -> None:
    """It is not why the whole is to be let through; and what has no reason ends without a colon."""
    part = Exempting(Exemption(HOST, "the office"), listed=True)
    drops = Networks.of([AROUND])
    standing = Standing("nftables", True, Held([Decision([AROUND], True, "x")]), drops=drops)
    lifted = Event(1_600_000_000, "unban", str(AROUND), "")
    asked = made(
        network=AROUND, around=(), wanted=Networks(), exempting=(part,),
        standings=(standing,), endings=(lifted,),
    )  # fmt: skip
    assert answer.headline(asked).endswith("no stored ban holds it: the next pass removes it.")
    assert any(line.endswith(f"{AROUND} unbanned") for line in why.page(asked))
    whole = evolve(asked, exempting=(part, Exempting(Exemption(AROUND, ""), listed=True)))
    assert f"though it is whitelisted by {AROUND}:" in answer.headline(whole)
