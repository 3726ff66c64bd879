"""The completion of bash: ``complete -F``, without anything of the package bash-completion."""

from collections.abc import Iterator
from typing import Final

from release.completion.grammar import Node, Value

_HEAD: Final = r"""# Completion of treason for bash. Made by `make generated`.
#
# What the program tells is taken as text: nothing of it is ever expanded or run.

# What is asked of: words has the words up to the cursor, as they were before bash took them apart
# at : and =; the last one is the word to complete.
_treason_words() {
    local rest=${COMP_LINE:0:COMP_POINT} word bare i
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        bare=${rest#"${rest%%[![:space:]]*}"}
        if ((i == 0)) || [[ $bare != "$rest" ]]; then
            words+=("")
        fi
        if ((i == COMP_CWORD)); then
            word=$bare
        fi
        words[${#words[@]} - 1]+=$word
        rest=${bare#"$word"}
    done
}

# Offer those of the words that go on from what is typed.
_treason_offer() {
    local each
    for each; do
        if [[ $each == "$typed"* ]]; then
            COMPREPLY+=("$each")
        fi
    done
}

# Offer what the program knows of a kind.
_treason_live() {
    local each
    while IFS= read -r each; do
        if [[ $each == "$typed"* && $each == [0-9A-Za-z]* && $each != *[!0-9A-Za-z._:/@+-]* ]]; then
            COMPREPLY+=("$each")
        fi
    done < <(command treason ${named:+--config "$named"} complete -- "$1" "$typed" \
        2>/dev/null </dev/null)
}

# Offer values: the first is what they are, as _treason_takes says it.
_treason_values() {
    case $1 in
        files) compopt -o default 2>/dev/null ;;
        live)
            if [[ $typed == file:* ]]; then
                compopt -o default 2>/dev/null
                return
            fi
            _treason_offer "${@:3}"
            _treason_live "$2"
            if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *: ]]; then
                compopt -o nospace 2>/dev/null
            fi
            ;;
        words) _treason_offer "${@:2}" ;;
    esac
}
"""

_TAIL: Final = r"""
_treason() {
    local words typed named= path= option= only= takes=() options=() commands=() i
    COMPREPLY=()
    _treason_words
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        if [[ -n $option ]]; then
            if [[ $option == --config ]]; then
                named=${words[i]}
            fi
            option=
        elif [[ -z $only && ${words[i]} == -- ]]; then
            only=yes
        elif [[ -z $only && ${words[i]} == --config=* ]]; then
            named=${words[i]#--config=}
        elif [[ -z $only && ${words[i]} == -* ]]; then
            _treason_takes "$path" "${words[i]}"
            if ((${#takes[@]})); then
                option=${words[i]}
            fi
        else
            _treason_inside "$path"
            if [[ " ${commands[*]} " == *" ${words[i]} "* ]]; then
                path=${path:+$path }${words[i]}
            fi
        fi
    done
    named=${named#[\"\']}
    named=${named%[\"\']}
    typed=${words[${#words[@]} - 1]#[\"\']}
    if [[ -n $option ]]; then
        _treason_takes "$path" "$option"
        _treason_values "${takes[@]}"
    elif [[ -z $only && $typed == --*=* ]]; then
        _treason_takes "$path" "${typed%%=*}"
        option=${typed%%=*}=
        typed=${typed#*=}
        _treason_values "${takes[@]}"
        COMPREPLY=("${COMPREPLY[@]/#/$option}")
        typed=$option$typed
    elif [[ -z $only && $typed == -* ]]; then
        _treason_options "$path"
        _treason_offer "${options[@]}"
    else
        _treason_inside "$path"
        if ((${#commands[@]})); then
            _treason_offer "${commands[@]}"
        else
            _treason_takes "$path" ""
            _treason_values "${takes[@]}"
        fi
    fi
    # bash puts what is offered behind the last of these, so that is not to come twice.
    for i in = :; do
        if [[ $COMP_WORDBREAKS == *"$i"* && $typed == *"$i"* ]]; then
            COMPREPLY=("${COMPREPLY[@]#"${typed%"$i"*}$i"}")
        fi
    done
}

complete -F _treason treason
"""


def script(root: Node) -> str:
    """Return the whole script."""
    parts = [_HEAD, *_inside(root), *_options(root), *_takes(root), _TAIL]
    return "\n".join(parts)


def _inside(root: Node) -> Iterator[str]:
    yield "# Set the commands that may follow."
    yield from _table(
        "_treason_inside",
        "commands=()",
        {
            each.path: f"commands=({_words(one.words[-1] for one in each.inside)})"
            for each in root.all
            if each.inside
        },
    )


def _options(root: Node) -> Iterator[str]:
    yield "# Set the options that may follow."
    yield from _table(
        "_treason_options",
        "options=()",
        {
            each.path: f"options=({_words(name for one in each.options for name in one.names)})"
            for each in root.all
        },
    )


def _takes(root: Node) -> Iterator[str]:
    yield "# Set what an option takes, or without an option the command; nothing if it takes none."
    rows: dict[str, str] = {}
    for each in root.all:
        if each.argument:
            rows[f"{each.path}:"] = f"takes=({_value(each.argument)})"
        for option in each.options:
            if option.value:
                for name in option.names:
                    rows[f"{each.path}:{name}"] = f"takes=({_value(option.value)})"
    yield from _table("_treason_takes", "takes=()", rows, what="$1:$2")


def _table(name: str, nothing: str, rows: dict[str, str], what: str = "$1") -> Iterator[str]:
    yield f"{name}() {{"
    yield f"    {nothing}"
    yield f'    case "{what}" in'
    for key, row in rows.items():
        yield f'        "{key}") {row} ;;'
    yield "    esac"
    yield "}\n"


def _value(value: Value) -> str:
    """Return what `_treason_values` is given."""
    if value.files:
        return "files"
    if value.live:
        return " ".join(["live", value.live, *value.words])
    return " ".join(["words", *value.words])


def _words(words: Iterator[str]) -> str:
    return " ".join(words)
