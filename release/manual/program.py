"""The page treason(1): what it is, the first steps, and all the commands."""

from collections.abc import Iterator
from typing import Final

from reconciler.cli.console import MEANINGS
from reconciler.cli.main import cli
from release.manual import commands, page
from release.manual.page import Page
from release.manual.prose import first, paragraphs, sentences
from release.manual.roff import literal, tagged
from release.manual.synopsis import described

_DESCRIPTION: Final = """\
Treason keeps hostile peers out of a Linux server. It reads what the kernel says about them, and
looks at the machine's own TCP sockets; who offends against a rule is banned, and what is banned
is dropped by the firewall. Bans are kept in a database, so that they outlive a reboot, and a
daemon brings the firewall back in line at once when somebody else changes it.

Where attacks are seen is called a source, what drops is called a backend: nftables by default, in
a table of its own, `inet treason`, and no rule of anybody else is touched. What others publish
about whom to drop is a feed. Whoever is whitelisted is never dropped, nor are the machine's own
addresses, its gateways and resolvers, and for 12 hours whoever ran a command of treason through
ssh.

A ban by hand and a ban by a rule are the same: `treason list` names them, `treason why` explains
what happens to an address and for what reason, and `treason unban` removes them.

What is not certain is not done: where the database, the whitelist or the firewall cannot be read,
nothing is changed, and what is enforced stays. A pass that would remove much without a reason
refuses it."""

_STEPS: Final = (
    (
        "Name the networks that are never to be dropped, first of all your own:",
        ("treason whitelist add 203.0.113.9 --comment office",),
    ),
    (
        (
            "Create the configuration and the database, and install and start the services. With"
            " `--observe` rules ban nobody at first, but tell whom they would ban. With"
            " `--kernel-message` the kernel prints its message about hostile peers, which it does"
            " not by itself:"
        ),
        ("treason init --systemd --kernel-message",),
    ),
    (
        (
            "See that all is well. `treason doctor` names with each thing that is wrong the command"
            " that mends it:"
        ),
        ("treason status", "treason doctor"),
    ),
    (
        (
            "Ban somebody, ask why it is dropped, and remove the ban. Each is in force when the"
            " command returns:"
        ),
        (
            "treason ban 192.0.2.7 --for 1h --reason 'port scan'",
            "treason why 192.0.2.7",
            "treason unban 192.0.2.7",
        ),
    ),
    (
        (
            "Once what `--observe` told is right (`treason list --observed-only`), write"
            ' `mode = "enforce"` into `[policy]` of the configuration. The daemon takes it by'
            " itself."
        ),
        (),
    ),
)

_LOOKING: Final = """\
Everything treason does is written to the journal: `journalctl -u treason`. What it holds in the
kernel is shown by `nft list table inet treason`. To find out whether treason is the cause of some
trouble, `treason pause --for 10m` removes all that is enforced for so long, and `treason resume`
ends that."""

_UPGRADING: Final = """\
The Debian package is upgraded as any other, for instance by `apt install
./treason_VERSION_amd64.deb`. Meanwhile the kernel goes on dropping whom it holds; the new version
takes the database over, and starts again what ran.

Who had it by pip, pipx or uv before changes over by installing the package, and then
`/usr/bin/treason init --systemd` (the one before may still come first in PATH): the database and
the configuration stay as they are.

Installed by pip, pipx or uv, treason is upgraded by that program; behind it `treason init
--systemd --renew` writes the units as the new version has them, and restarts what runs."""

_REMOVING: Final = """\
To end all at once and keep the program: `treason init --undo --systemd` stops and removes the
services, and `treason teardown` removes all that treason created in the firewall; bans stay
stored.

`apt remove treason` removes the program. Bans stay in force until the next boot, so that a gate
is not opened by accident; it prints the command that removes them now. `apt purge treason`
removes those as well, with the configuration, the database and all else that treason has written.

Installed by pip, pipx or uv, treason is removed by these two commands and then by that program;
`/etc/treason` and `/var/lib/treason` are what stays."""

GROUPS: Final = {
    "Bans, and who is never dropped": (
        "ban", "unban", "list", "why", "history", "whitelist", "import", "export",
    ),
    "How it stands, and what is wrong": ("status", "doctor", "pause", "resume"),
    "Setting it up": ("init", "config", "plugins", "test-rule", "demo"),
    "Passes, the daemon and the firewall": (
        "run", "reconcile", "scan", "migrate", "teardown",
    ),
    "What others say, and other machines": ("feed", "fleet"),
    "The database": ("backup", "restore"),
}  # fmt: skip
"""The commands as they are told of, by what people want to do."""


def program() -> Page:
    """Return the page."""
    return Page("treason", 1, tuple(_lines()))


def _lines() -> Iterator[str]:
    yield from page.head("treason", 1, "keep hostile peers out of a server")
    yield ".Sh SYNOPSIS"
    yield ".Nm"
    yield r".Op Fl \-config Ar FILE"
    yield ".Op Fl v"
    yield ".Ar COMMAND"
    yield ".Op Ar ARGUMENT ..."
    yield ".Nm"
    yield r".Fl \-version | \-help"
    yield ".Sh DESCRIPTION"
    yield from paragraphs(_DESCRIPTION)
    yield ".Sh FIRST STEPS"
    yield from sentences("As root, or with `sudo` before each command:")
    yield ".Bl -enum"
    for text, lines in _STEPS:
        yield ".It"
        yield from sentences(text)
        yield from literal("\n".join(lines)) if lines else ()
    yield ".El"
    yield ".Pp"
    yield from paragraphs(_LOOKING)
    yield ".Sh COMMANDS"
    yield from _commands()
    yield ".Sh OPTIONS"
    yield from sentences("These stand before the command; `-v` and `-h` may stand behind it, too.")
    yield from tagged(
        [*described(cli), (r"Fl h , Fl \-help", sentences("Show what the command takes, and end."))]
    )
    yield from _sections(("UPGRADING", _UPGRADING), ("REMOVING", _REMOVING))
    yield from page.environment()
    yield from page.files()
    yield from page.exit_status(MEANINGS, [_RESULTS])
    yield from page.examples(_examples())
    yield from page.see_also([*_related(), ("nft", 8), ("journalctl", 1)])


_RESULTS: Final = (
    "Results go to standard output, errors to standard error: what happened, to which thing, and"
    " what to do. With `-o json` programs can read both on standard output."
)


def _sections(*sections: tuple[str, str]) -> Iterator[str]:
    for title, text in sections:
        yield f".Sh {title}"
        yield from paragraphs(text)


def _commands() -> Iterator[str]:
    known = {each.words[-1]: each.command for each in commands.known()}
    for title, names in GROUPS.items():
        yield f".Ss {title}"
        yield from tagged(
            (f"Xr treason-{name} 1", sentences(f"{first(known.pop(name).help or '')}."))
            for name in names
        )
    if known:
        raise ValueError(f"no group of treason(1) has: {', '.join(known)}")


def _examples() -> list[str]:
    chosen = ("ban", "unban", "why", "list", "whitelist", "status")
    known = {each.words[-1]: each for each in commands.known()}
    return [line for name in chosen for line in known[name].examples[:2]]


def _related() -> list[tuple[str, int]]:
    pages = [(f"treason-{each.words[-1]}", 1) for each in commands.known()]
    return [*pages, ("treason.toml", 5), ("treason-plugins", 7)]
