"""The completion of fish: ``complete -c``."""

from collections.abc import Iterator
from typing import Final

from release.completion.grammar import Node, Option, Value

_HEAD: Final = r"""# Completion of treason for fish. Made by `make generated`.

complete -c treason -f

# The words ahead of the cursor: print the command, and with an argument the configuration instead.
function __treason_read
    set -l path
    set -l named
    set -l option
    for word in (commandline -opc)[2..-1]
        if test -n "$option"
            test "$option" = --config; and set named $word
            set option
        else if string match -q -- '--config=*' $word
            set named (string replace -- '--config=' '' $word)
        else if string match -q -- '-*' $word
            __treason_takes "$path:$word"; and set option $word
        else if __treason_has "$path:$word"
            set path (string trim -- "$path $word")
        end
    end
    if set -q argv[1]
        test -n "$named"; and printf '%s\n' --config $named
    else
        printf '%s\n' $path
    end
end

function __treason_at
    set -l path (__treason_read)
    test "$path" = "$argv[1]"
end

# Print the words, and what the program knows of the kind that is named first.
function __treason_live
    set -l typed (string replace -r -- '^--[a-z-]+=' '' (commandline -ct))
    if contains -- file: $argv; and string match -q -- 'file:*' "$typed"
        for path in (__fish_complete_path (string replace -- file: '' $typed))
            printf 'file:%s\n' $path
        end
        return
    end
    printf '%s\n' $argv[2..-1]
    command -sq treason; or return
    command treason (__treason_read config) complete -- $argv[1] "$typed" 2>/dev/null </dev/null |
        string match -r -- '^[0-9A-Za-z][0-9A-Za-z._:/@+-]*$'
end
"""


def script(root: Node) -> str:
    """Return the whole script."""
    return "\n".join([_HEAD, *_functions(root), *(line for each in root.all for line in _of(each))])


def _functions(root: Node) -> Iterator[str]:
    """Yield what tells the options with a value, and the commands, by where they stand."""
    takes = [
        f"{each.path}:{name}"
        for each in root.all
        for option in each.options
        if option.value
        for name in option.names
    ]
    inside = [f"{each.path}:{one.words[-1]}" for each in root.all for one in each.inside]
    for name, rows in (("__treason_takes", takes), ("__treason_has", inside)):
        yield f"function {name}"
        yield f"    contains -- $argv[1] {' '.join(map(_quoted, rows))}"
        yield "end\n"


def _of(node: Node) -> Iterator[str]:
    where = f"complete -c treason -n {_quoted(f'__treason_at {_quoted(node.path)}')}"
    for each in node.inside:
        yield f"{where} -a {each.words[-1]} -d {_quoted(each.help)}"
    for option in node.options:
        yield f"{where} {_option(option)}"
    if node.argument and (given := _given(node.argument)):
        yield f"{where} {given}"


def _option(option: Option) -> str:
    names = [
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
    ]
    takes = []
    if option.value is not None:
        takes = ["-r" if option.value.files else "-x", _given(option.value)]
    return " ".join(filter(None, [*names, *takes, f"-d {_quoted(option.help)}"]))


def _given(value: Value) -> str:
    """Return what says the values; empty where nobody knows them."""
    if value.files:
        return "-F"
    if value.live:
        asked = " ".join(["__treason_live", value.live, *value.words])
        return f"-a {_quoted(f'({asked})')}"
    return f"-a {_quoted(' '.join(value.words))}" if value.words else ""


def _quoted(text: str) -> str:
    """Return text as one word; only these two mean anything between single quotes."""
    escaped = text.replace("\\", r"\\").replace("'", r"\'")
    return f"'{escaped}'"
