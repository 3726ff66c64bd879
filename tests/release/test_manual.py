"""The manual pages: made of the code, right for mandoc, and complete."""

import re
import subprocess
from datetime import date
from pathlib import Path

import click
import pytest
from harness import ROOT

import reconciler
from reconciler import __version__
from reconciler.cli.main import cli
from reconciler.config.setup import Setup
from release.__main__ import main
from release.manual import commands, page, plugins
from release.manual.commands import Known
from release.manual.configuration import EXAMPLE, schemas
from release.manual.prose import paragraphs
from release.manual.render import pages
from release.manual.roff import argument, literal, tagged

MAN = ROOT / "docs" / "man"
PAGES = {each.file: each for each in pages()}

HOSTILE = (
    ".Sh OTHER",
    "'br",
    r"\fBbold\fR \\ \n(nl",
    "\"quoted\" and 'single' and `ticks`",
    "--long-option -x a-b",
    "No Ns Pq Xr Fl . , | ( )",
    "~ ^ tilde and hat",
    "…, ü and 名",
    "  spaces   kept",
)

HEAD = ".Dd November 30, 2026\n.Dt X 1\n.Os\n.Sh NAME\n.Nm x\n.Nd y\n.Sh DESCRIPTION\n"
"""The beginning of a page."""


def rendered(text: str) -> str:
    """Return what mandoc prints of a page, without overstriking."""
    done = subprocess.run(
        ["mandoc", "-Tutf8", "-Owidth=500"], input=text, capture_output=True, text=True, check=True
    )
    return re.sub(".\b", "", done.stdout)


def words(text: str) -> str:
    """Return text without what a terminal's width makes of it."""
    return " ".join(text.split())


def every(known: list[Known]) -> list[Known]:
    """Return the commands, with those of groups."""
    return [one for each in known for one in (each, *each.inside)]


def test_the_pages_are_what_the_code_renders() -> None:
    """If not: `make generated`."""
    assert {path.name: path.read_text() for path in MAN.iterdir()} == {
        name: each.text for name, each in PAGES.items()
    }


def test_rendering_again_leaves_the_same(tmp_path: Path) -> None:
    """A page that is none any more is removed; a usage that is wrong is told."""
    (tmp_path / "treason-gone.1").write_text("old")
    assert main(["manual", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(PAGES)
    assert main(["manuals"]) == 64


def test_mandoc_has_nothing_to_say() -> None:
    """Not even of style; other programs' pages need not be on this machine."""
    done = subprocess.run(
        ["mandoc", "-Tlint", "-Wstyle", *sorted(MAN.iterdir())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if "referenced manual not found" not in line and "outdated mandoc.db" not in line
    ]
    assert lines == []


def test_each_page_leads_to_all_the_others() -> None:
    """What is named is there, and treason(1) names every page."""
    for name, each in PAGES.items():
        named = set(re.findall(r"^\.(?:It )?Xr (treason\S*) (\d)", each.text, re.MULTILINE))
        assert {f"{other}.{section}" for other, section in named} <= {*PAGES}, name
        if name == "treason.1":
            assert {f"{other}.{section}" for other, section in named} == {*PAGES} - {name}
        else:
            assert ("treason", "1") in named


def test_there_is_a_page_for_each_command() -> None:
    """Commands of a group are on the group's page."""
    context = click.Context(cli)
    assert {f"treason-{name}.1" for name in cli.list_commands(context)} == {
        name for name in PAGES if name.startswith("treason-") and name.endswith(".1")
    }


@pytest.mark.parametrize("known", commands.known(), ids=lambda known: known.name)
def test_a_page_has_all_that_help_tells(known: Known) -> None:
    """Its options, choices, arguments, sentences and examples, and each help is told."""
    text = rendered(PAGES[f"{'-'.join(known.words)}.1"].text)
    flat = words(text)
    for each in every([known]):
        for param in each.command.params:
            if isinstance(param, click.Option) and not param.hidden:
                assert param.help, param.name
                assert all(re.search(rf"^ +.*{opt}\b", text, re.MULTILINE) for opt in param.opts)
            if isinstance(param.type, click.Choice):
                assert " | ".join(param.type.choices) in flat
        for line in each.examples:
            assert f"  {line}\n" in text
        for sentence in each.help.replace("`", "").split(". "):
            assert words(sentence).rstrip(".") in flat
    assert "EXIT STATUS" in text


def test_the_configurations_page_has_every_key() -> None:
    """Each with its type and its default."""
    text = words(rendered(PAGES["treason.toml.5"].text))
    for table, keys in schemas().items():
        for name, key in keys.items():
            assert f"{name} {words(key.told)}" in text, table
    assert "from 1 to 10,000; the default is 1." in text
    assert 'One of "auto", "always" or "never"' in text


def test_the_configurations_example_is_accepted(tmp_path: Path) -> None:
    """It is a whole configuration, without a mistake."""
    file = tmp_path / "treason.toml"
    file.write_text(EXAMPLE)
    assert Setup(str(file)).problems() == []
    assert words(EXAMPLE) in words(rendered(PAGES["treason.toml.5"].text))


def test_the_plugins_page_has_every_public_class() -> None:
    """Those under earlier names aside."""
    told = {name for _, names in plugins.GROUPS.values() for name in names}
    assert told | {*plugins.OLD} == plugins.public()
    text = rendered(PAGES["treason-plugins.7"].text)
    for name in told:
        assert re.search(rf"^   {name}$", text, re.MULTILINE), name
    assert "read(cursor: str | None, needles: Sequence[str]) -> Iterator[Record]" in text
    assert words(reconciler.Source.__doc__ or "") in words(text)


def test_the_date_is_that_of_the_changelog() -> None:
    """The clock has no part in it, so that anybody renders the same."""
    day = page.released()
    assert f"## [{__version__}] - {day:%Y-%m-%d}" in (ROOT / "CHANGELOG.md").read_text()
    assert date(2026, 11, 29) < day
    for each in PAGES.values():
        assert f"\n.Dd {day:%B} {day.day}, {day.year}\n" in each.text


def test_a_docstring_keeps_its_shape() -> None:
    """Paragraphs, what is said below a term, code as it stands, and a name over two lines."""
    text = rendered(
        HEAD
        + "\n".join(
            paragraphs(
                """First `one
                two`. Second::

                    code()

                        more

                ``term``
                    what it means,
                    at length
                ``other()``
                    the other

                Last.
                """
            )
        )
    )
    below = text.partition("DESCRIPTION\n")[2].rpartition("\n\n")[0]
    assert [line.rstrip() for line in below.splitlines() if line] == [
        "     First one two.  Second:",
        "           code()",
        "               more",
        "     term    what it means, at length",
        "     other()",
        "             the other",
        "     Last.",
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_text_has_a_meaning(text: str) -> None:
    """It is printed as it is, in a block, in a list, and in a paragraph."""
    assert f"{text}\n" in rendered(HEAD + "\n".join(literal(text)))
    listed = tagged([(f"Ic {argument(text)}", ["below"])])
    assert words(text) in words(rendered(HEAD + "\n".join(listed)))
    plain = words(text).replace("`", "")
    assert plain in words(rendered(HEAD + "\n".join(paragraphs(f"Word {text}"))))
