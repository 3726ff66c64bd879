"""What people should know of how messages are confirmed on this machine."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from reconciler.config.setup import Setup
from reconciler.config.tables import AUTO, NEVER
from reconciler.detection.detect import FIREWALL, SOCKET, Rule
from reconciler.errors import TreasonError, guarded
from reconciler.host.deadline import Run, limited
from reconciler.host.forgery import HERE, Forgery
from reconciler.interfaces import Source, WitnessSource
from reconciler.lines import counted, first_few

SAFE: Final = (
    "messages are believed as they are: nobody can make a network namespace to forge them"
    " (user.max_net_namespaces)"
)


def remarks(setup: Setup, forgery: Forgery = HERE) -> list[str]:
    """Return why messages are not confirmed, or cannot be; nothing where all is as it should be."""
    live = setup.live(setup.config.treason.sources)
    banning = [rule for rule in setup.rules if not (rule.judged or rule.report_only)]
    mode = setup.config.trust.confirm
    if not (live and banning):
        return []
    if mode == NEVER:
        return ["messages are believed as they are ([trust] confirm): local users can forge them"]
    if mode == AUTO and forgery.is_impossible():
        return [SAFE]
    return [*_of_sockets(setup, banning), *_of_firewall(banning, forgery), *of_rules(setup)]


def of_rules(setup: Setup) -> Iterator[str]:
    """Yield which rules ban nobody any more, which an older configuration has."""
    if rules := setup.silenced():
        yield told(rules)


def told(rules: list[str]) -> str:
    """Return the sentence about rules that ban nobody any more."""
    named = first_few([*map(repr, rules)])
    what = "the rule" if len(rules) == 1 else "the rules"
    return (
        f"{what} {named} only report{'s' if len(rules) == 1 else ''} what live sources bring:"
        " local users can make the kernel print such messages about anybody, and nothing confirms"
        ' them; to ban all the same, write confirm = "never" in [[rule]]'
    )


def _of_sockets(setup: Setup, banning: list[Rule]) -> Iterator[str]:
    rules = [rule.name for rule in banning if rule.confirm == SOCKET]
    if not rules:
        return
    make, _ = setup.witness()
    ask = partial(limited, setup.config.treason.pass_timeout, "sockets", partial(_asked, make))
    why: str = guarded(ask, _said, "sockets")
    if why:
        asked = setup.config.trust.confirm != AUTO
        follows = "ban nobody" if asked else "are not confirmed by sockets"
        yield f"messages of {counted(len(rules), 'rule')} {follows}: {why}"


def _asked(make: Callable[[], Source] | None, run: Run) -> str:
    witness = None if make is None else run(make)
    if not isinstance(witness, WitnessSource):
        return "there is no source that looks at sockets, so each pass fails that has messages"
    return run(witness.blindness) or ""


def _said(error: BaseException) -> str:
    if isinstance(error, TreasonError):
        return f"{error.what}, so each pass fails that has messages; {error.hint}"
    raise error


def _of_firewall(banning: list[Rule], forgery: Forgery) -> Iterator[str]:
    rules = [rule.name for rule in banning if rule.confirm == FIREWALL]
    if rules and (doubt := forgery.doubt_of_firewall()):
        yield f"{first_few([*map(repr, rules)])} of the firewall bans nobody: {doubt}"
