"""The page treason.toml(5): the template's words, with what each key takes."""

from collections.abc import Iterable, Iterator
from typing import Final

from attrs import evolve

from reconciler.config import plugins
from reconciler.config.feeds import STORES, FeedSettings
from reconciler.config.tables import Config
from reconciler.config.template import default_text
from reconciler.detection.policy import Policy
from reconciler.detection.rules import KEYS, RuleTable
from reconciler.feeding import FeedPlugin
from release.manual import page, settings
from release.manual.page import CONFIGURATION, WHITELIST, Page
from release.manual.prose import paragraphs, sentences
from release.manual.roff import argument, literal, macro, tagged, title
from release.manual.settings import Key
from release.manual.template import Group, Table, sections, tables

EXAMPLE: Final = """\
[treason]
sources = ["kmsg", "sockets"]

[policy]
threshold = 3
window = "10m"
ban_for = "1d"
escalate = 2.0
max_ban = "30d"

[whitelist]
networks = ["203.0.113.0/24", { network = "198.51.100.7", comment = "office" }]

[feed.drop]
type = "list"
url = "https://www.spamhaus.org/drop/drop_v4.json"
refresh = "6h"
"""
"""A configuration as somebody may write it."""

_DESCRIPTION: Final = f"""\
This file says where attacks are seen, what makes a ban, what drops the banned networks, and who
is never dropped. It is written in TOML (https://toml.io): tables, and in them keys with values.
What is left out has its default, so that an empty file is a valid one; nothing that is not known
here is taken: a mistake is refused as a whole, with its line, and nothing is changed.

The file is `{CONFIGURATION}`; `--config FILE` and the variable `TREASON_CONFIG` name another one.
`treason init` writes it with every key as a comment, but switches the source sockets on as well:
`sources = ["kmsg", "sockets"]`. `treason config check` names every mistake, `treason config show`
prints the settings in force, and `treason config check --units` tells whether the installed units
allow what is configured: where they do not, `treason init --systemd` writes them anew.

The daemon sees a changed file by itself, and takes it once there was a second of quiet. If it is
wrong, the daemon goes on with what it has, and `treason status` says so. Without a daemon, each
pass reads the file.

A duration is a number with a unit, as in `"90s"`, `"10m"`, `"1h"`, `"30d"` and `"2w"`, at most
`"36500d"`; where it may last for ever, `"permanent"`. A network is an address, as `"192.0.2.7"`
or `"2001:db8::7"`, or one with the length of a prefix, as `"192.0.2.0/24"`. A relative path of
the database, the lock, the socket or a feed's store starts at the directory of this file."""

_WHITELIST: Final = """\
`treason whitelist add` and `treason whitelist remove` write the file whitelist.toml beside this
one. It has the key `networks` alone, outside of any table, in the form that it has here in
`[whitelist]`. Both files hold; a person may edit either."""


def configuration() -> Page:
    """Return the page."""
    return Page("treason.toml", 5, tuple(_lines()))


def schemas() -> dict[str, dict[str, Key]]:
    """Return the keys of each table by its name in the page."""
    found = plugins.load()
    core = ("treason", "run", "trust", "policy", "whitelist", "protect")
    default = Config()
    made = {f"[{name}]": settings.keys(type(getattr(default, name))) for name in core}
    made["[[rule]]"] = _rule()
    made |= {f"[source.{name}]": settings.keys(each.schema) for name, each in found.sources.items()}
    made |= {
        f"[backend.{name}]": settings.keys(each.schema) for name, each in found.backends.items()
    }
    made["[feed.NAME]"] = _feed(found.feeds.values())
    for each in found.feeds.values():
        made[f'[feed.NAME] with type = "{each.name}"'] = settings.keys(each.schema)
    return made


def _rule() -> dict[str, Key]:
    """Return the keys of a rule: its own, and those of ``[policy]`` that it may set for itself."""
    policy, own = settings.keys(Policy), settings.keys(RuleTable)
    more = {key: evolve(policy[key], default="as in [policy]") for key in KEYS if key not in own}
    own["name"] = evolve(own["name"], default=None, required=True)
    return {key: own[key] for key in KEYS if key in own} | more


def _feed(kinds: Iterable[FeedPlugin]) -> dict[str, Key]:
    """Return the keys of every feed; two have a default that depends on which it is."""
    found = settings.keys(FeedSettings)
    most = ", ".join(f'{each.max_new} of the type "{each.name}"' for each in kinds)
    found["max_new"] = evolve(found["max_new"], default=most)
    found["store"] = evolve(found["store"], default=f'"{STORES}/NAME/feed.db"')
    return found


def _lines() -> Iterator[str]:
    yield from page.head("treason.toml", 5, "the configuration of treason")
    yield ".Sh DESCRIPTION"
    yield from paragraphs(_DESCRIPTION)
    known = schemas()
    for name, found in sections(tables(default_text())):
        yield title("Sh", name)
        yield from _table(name, found, known)
    yield ".Sh WHITELIST.TOML"
    yield from paragraphs(_WHITELIST)
    yield from page.environment(["TREASON_CONFIG"])
    yield from page.files([CONFIGURATION, WHITELIST])
    yield ".Sh EXAMPLES"
    yield from sentences(
        "Three connections of a peer within ten minutes are a ban of a day, each further ban of it"
        " is twice as long; partners are never dropped, and a published list is enforced as well:"
    )
    yield from literal(EXAMPLE.rstrip("\n"))
    yield from page.see_also(
        [("treason", 1), ("treason-config", 1), ("treason-init", 1), ("treason-whitelist", 1),
         ("treason-feed", 1), ("treason-plugins", 7)]
    )  # fmt: skip


def _table(name: str, found: list[Table], known: dict[str, dict[str, Key]]) -> Iterator[str]:
    """Yield what is said of a table, or of all that are written with the same name."""
    own = _own(name, known)
    for number, table in enumerate(found):
        yield from [".Pp"] * bool(number) + sentences(table.text)
        for place, group in enumerate(table.groups):
            yield from _group(group, own, first=not (number or place or table.text))
    shown = {key for table in found for key in table.keys}
    if rest := [key for key in own if key not in shown]:
        yield ".Pp"
        yield "It also takes:"
        yield from _keys(rest, own)


def _own(name: str, known: dict[str, dict[str, Key]]) -> dict[str, Key]:
    """Return the keys of a table; those of all kinds of feed are together."""
    return {
        key: each
        for table, inner in known.items()
        if table == name or table.startswith(f"{name} with ")
        for key, each in inner.items()
    }


def _group(group: Group, own: dict[str, Key], *, first: bool) -> Iterator[str]:
    if group.text:
        yield from [] if first else [".Pp"]
        yield from sentences(group.text)
    yield from _keys(group.keys, own, group.keys)


def _keys(
    names: Iterable[str], own: dict[str, Key], shown: dict[str, str] | None = None
) -> Iterator[str]:
    yield from tagged((f"Ic {argument(name)}", _told(own[name], shown or {})) for name in names)


def _told(key: Key, shown: dict[str, str]) -> list[str]:
    """Return what a key takes, and an example where the template shows another value."""
    lines = sentences(key.told)
    value = shown.get(key.name, "").partition(" = ")[2]
    if value and value != key.default:
        lines += ["Example:", macro("Ic", shown[key.name])]
    return lines
