"""The seam to the programs of iptables: which there are, what they hold, and how they refuse."""

import re
import shutil
from typing import Final

from reconciler import BackendError, BackendFailed, BackendUnreadable, execute, hints

WAIT: Final = 10
"""Seconds to wait for the xtables lock, which the legacy variant takes."""

LOCKED: Final = "another program holds the xtables lock"
LOCKED_HINT: Final = "the next pass tries again; see who holds it: fuser /run/xtables.lock"

_FAMILIES: Final = {4: "iptables", 6: "ip6tables"}
_ENDINGS: Final = range(-64, 256)
"""Every way to end, by a signal as well: each is judged here."""

_PATIENCE: Final = 300.0
_LISTING: Final = 20.0
"""Seconds for a program that lists. 50,000 rules take two; one that hangs is not to keep the other
family open."""

_BEHIND: Final = re.compile(r"(#.*\n)*")
"""What may come behind the last table."""

_DENIED: Final = re.compile(r"Permission denied|not permitted|must be root")
_HINTS: Final = (
    (re.compile(r"can't open lock file"), "let XTABLES_LOCKFILE name a file that can be written"),
    (_DENIED, hints.RIGHTS),
    (
        re.compile(r"can't initialize ip6tables|Address family not supported"),
        "the kernel has no ip6tables: load ip6_tables, and do not boot it with ipv6.disable=1",
    ),
    (
        re.compile(r"Parsing nftables rule failed"),
        "iptables cannot show a rule that nft made in its tables: move it to another table of nft",
    ),
    (
        re.compile(r"Bad rule|CHAIN_ADD failed|CHAIN_DEL failed"),
        "look for a chain or a jump to TREASON that iptables did not make: nft list ruleset",
    ),
    (re.compile(r"incompatible"), "see what iptables cannot show with: nft list ruleset"),
)


def resolve(variant: str) -> str:
    """Return ``nft`` or ``legacy``; ``auto`` stands for what `iptables` itself is.

    Nothing is changed by asking: ``iptables --version`` opens no table.
    """
    return variant if variant != "auto" else _plain()


def save(version: int, variant: str, patience: float = _LISTING, *, counted: bool = False) -> str:
    """Print all tables of a family, also what each rule has counted; raise `BackendUnreadable`.

    The legacy program prints those that are registered, and registers none.
    """
    program = _program(version, variant, "save")
    try:
        argv = [program, *(["--counters"] if counted else [])]
        done = execute.run(argv, codes=_ENDINGS, timeout=patience)
    except execute.CommandFailed as error:
        raise BackendUnreadable(error.what, error.hint) from None
    if done.code != 0 or _DENIED.search(done.error):
        reason = _reason(done)
        raise BackendUnreadable(f"{program}: {reason}", _hint(reason))
    if _BEHIND.fullmatch(done.output.rpartition("\nCOMMIT\n")[2]) is None:
        raise BackendUnreadable(
            f"{program}: its output ended too early", "run it by hand to see the reason"
        )
    return done.output


def restore(version: int, variant: str, text: str) -> None:
    """Carry out the text, each of its tables as a whole; raise `BackendFailed`.

    It is a `BackendError` when the program was stopped: nobody knows how far it came.
    """
    argv = restoring(version, variant)
    try:
        done = execute.run(argv, given=text, codes=_ENDINGS, timeout=_PATIENCE)
    except execute.CommandFailed as error:
        raise BackendError(error.what, error.hint) from None
    if done.code == 0:
        return
    reason = _reason(done)
    if "holding the xtables lock" in reason:
        raise BackendFailed(f"{argv[0]}: {LOCKED}", LOCKED_HINT)
    kind = BackendFailed if done.code > 0 else BackendError
    raise kind(f"{argv[0]}: {reason}", _hint(reason))


def restoring(version: int, variant: str) -> list[str]:
    """Return the command that `restore` runs."""
    return [_program(version, variant, "restore"), "--noflush", "--wait", str(WAIT)]


def installed(version: int, variant: str) -> bool:
    """Whether there is a program that lists this variant."""
    return _found(f"{_FAMILIES[version]}-{variant}-save")


def _program(version: int, variant: str, verb: str) -> str:
    """Prefer the program that names its variant; some distributions have only one, unnamed."""
    family = _FAMILIES[version]
    named = f"{family}-{variant}-{verb}"
    if _found(named):
        return named
    plain = f"{family}-{verb}"
    if _found(plain) and _plain() == variant:
        return plain
    raise BackendUnreadable(
        f"{named}: program not found", "install iptables, or set another variant in [backend]"
    )


def _plain() -> str:
    """Return the variant of the programs without one in their names."""
    try:
        said = execute.run(["iptables", "--version"]).output
    except execute.CommandFailed as error:
        raise BackendUnreadable(error.what, "install iptables") from None
    return "nft" if "(nf_tables)" in said else "legacy"  # before 1.8 there was one, and no word


def _found(program: str) -> bool:
    return shutil.which(program, path=execute.search_path()) is not None


def _reason(done: execute.Completed) -> str:
    """Return what the program said in one line, without its name and its advice."""
    lines = [
        re.sub(r"^ip6?tables[a-z-]*(?: v\S+ \(\S+\))?: *", "", line).strip()
        for line in (done.error.strip() or done.output.strip()).splitlines()
        if not line.startswith(("Try `", "#"))
    ]
    return "; ".join(filter(None, lines)) or f"ended with {done.code}"


def _hint(reason: str) -> str:
    own = next((hint for pattern, hint in _HINTS if pattern.search(reason)), "")
    return own or hints.hint(reason)
