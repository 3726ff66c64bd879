"""The completion of zsh: a file for ``fpath``, by ``_arguments`` (zshcompsys(1))."""

import re
from collections.abc import Iterator
from typing import Final

from release.completion.grammar import Node, Option, Value

_HEAD: Final = r"""#compdef treason
# Completion of treason for zsh. Made by `make generated`.

# Offer the words, and what the program knows of the kind that is named first.
_treason_live() {
    local -a found open
    if (( ${@[(I)file:]} )) && compset -P file:; then
        _files
        return
    fi
    found=(${@:2} ${(f)"$(command treason ${treason_config:+--config} $treason_config \
        complete -- $1 "${(Q)PREFIX}" 2>/dev/null </dev/null)"})
    found=(${(M)found:#[0-9A-Za-z][0-9A-Za-z._:/@+-]#})
    open=(${(M)found:#*:})
    found=(${(u)found:#*:})
    compadd -S '' -a open
    compadd -a found
}
"""

_TAIL: Final = r"""
_treason "$@"
"""


def script(root: Node) -> str:
    """Return the whole file."""
    return "\n".join([_HEAD, *(line for each in root.all for line in _function(each)), _TAIL])


def _function(node: Node) -> Iterator[str]:
    specs = [spec for option in node.options for spec in _option(option)]
    yield f"{_name(node)}() {{"
    if not node.inside:
        specs += _argument(node)
        yield "    _arguments -s -S : \\"
        yield " \\\n".join(f"        {each}" for each in specs)
        yield "}\n"
        return
    yield "    local curcontext=$curcontext state line"
    if not node.path:
        yield "    local treason_config"
        yield "    local -A opt_args"
    yield "    _arguments -C -s -S : \\"
    specs += ["'1: :->command'", "'*:: :->rest'"]
    yield " \\\n".join(f"        {each}" for each in specs)
    if not node.path:
        yield "    treason_config=${(Q)opt_args[--config]}"
    yield "    case $state in"
    yield "        command)"
    yield "            local -a commands=("
    for each in node.inside:
        yield f"                {_quoted(f'{each.words[-1]}:{each.help}')}"
    yield "            )"
    yield "            _describe -t commands command commands"
    yield "            ;;"
    yield "        rest)"
    yield "            case $words[1] in"
    for each in node.inside:
        yield f"                {each.words[-1]}) {_name(each)} ;;"
    yield "            esac"
    yield "            ;;"
    yield "    esac"
    yield "}\n"


def _name(node: Node) -> str:
    return "_" + re.sub("[ -]", "_", " ".join(node.words))


def _option(option: Option) -> Iterator[str]:
    """Yield a specification for each name of an option; one excludes the others."""
    before = "*" if option.many else f"({' '.join(option.names)})"
    for name in option.names:
        takes = "" if option.value is None else "=" if name.startswith("--") else "+"
        value = "" if option.value is None else f":value:{_action(option.value)}"
        yield _quoted(f"{before}{name}{takes}[{_escaped(option.help)}]{value}")


def _argument(node: Node) -> Iterator[str]:
    if node.argument:
        where = "*" if node.many else "1"
        yield _quoted(f"{where}:value:{_action(node.argument)}")


def _action(value: Value) -> str:
    if value.files:
        return "_files"
    if value.live:
        words = [each.replace(":", r"\:") for each in value.words]
        return " ".join([" _treason_live", value.live, *words])
    return f"({' '.join(value.words)})" if value.words else " "


def _escaped(text: str) -> str:
    """Return text that means nothing to ``_arguments``."""
    return re.sub(r"([\[\]:\\])", r"\\\1", text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", r"'\''") + "'"
