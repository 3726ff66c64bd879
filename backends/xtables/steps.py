"""A change of the chain as steps: restores and, in the legacy variant, repairs of a table."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from attrs import frozen

from backends.xtables import programs
from backends.xtables.chain import CHAIN, restore
from backends.xtables.hooks import Repair
from reconciler import BackendError, BackendFailed


@frozen
class Step:
    """A text for one family's restore or, with a repair, for python-iptables."""

    version: int
    text: str
    repair: Repair | None = None


def in_each(versions: Iterable[int], step: Callable[[int], bool]) -> None:
    """Take a step for each family, whatever becomes of it for the other.

    It tells whether it changed anything. Raise `BackendFailed` when no step went through and all
    were refused, else `BackendError`.
    """
    errors: list[BackendError] = []
    done = False
    for version in versions:
        try:
            done |= step(version)
        except BackendError as error:
            errors.append(error)
    if errors:
        refused = not done and all(isinstance(error, BackendFailed) for error in errors)
        kind = BackendFailed if refused else BackendError
        told = "; ".join(dict.fromkeys(error.what for error in errors))
        raise kind(told + ("; all else was done" if done else ""), errors[0].hint)


def of_family(
    variant: str, version: int, repaired: Sequence[Repair], changed: Mapping[str, Sequence[str]]
) -> Iterator[Step]:
    """Yield the steps of one family.

    In the nft variant all is one text. In the legacy one the structure comes first: what the
    chain holds is enforced again at once where only a jump was lost.
    """
    lines = {table: [*each] for table, each in changed.items()}
    for repair in repaired:
        if variant == "legacy":
            new = [f"-N {CHAIN}"] if repair.creates else []
            if made := [*new, *repair.lines()]:
                yield Step(version, restore({repair.table: made}), repair)
        else:
            lines.setdefault(repair.table, []).extend(repair.lines())
    if text := restore(lines):
        yield Step(version, text)


def carry_out(steps: Sequence[Step], variant: str) -> bool:
    """Take the steps of one family; tell whether there was any."""
    for done, step in enumerate(steps):
        try:
            if step.repair is not None:
                from backends.xtables import legacy  # noqa: PLC0415 - few need it

                legacy.carry_out(step.version, step.repair)
            else:
                programs.restore(step.version, variant, step.text)
        except BackendFailed as error:
            if done == 0 and step.text.count("COMMIT\n") == 1:
                raise
            what = f"{error.what}; a part of the change was done before"
            raise BackendError(what, error.hint) from None
    return bool(steps)


def performer(step: Step, variant: str) -> str:
    """Return what takes a step, for people."""
    if step.repair is not None:
        return f"python-iptables, IPv{step.version}, in one commit"
    return " ".join(programs.restoring(step.version, variant))
