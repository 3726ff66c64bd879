"""Interactive shells on a terminal of their own, in which somebody presses the tabulator."""

import os
import re
import select
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from harness import ROOT

SCRIPTS = ROOT / "conf" / "completions"

_PATIENCE = 60.0
"""Seconds until a shell that prints nothing is given up."""

_BASH = r"""
PS1='$ '; bind 'set bell-style none'; source {scripts}/treason.bash
bind -x '"\C-t": printf "\n<<%s>>\n" "$READLINE_LINE"'; echo REA""DY
"""
_ZSH = r"""
PS1='$ '; unsetopt zle_bracketed_paste prompt_sp prompt_cr beep
fpath=({scripts} $fpath); autoload -U compinit; compinit -u -D
show() {{ print -r -- $'\n'"<<$BUFFER>>" }}; zle -N show; bindkey '^T' show
bindkey '^U' kill-whole-line; echo REA""DY
"""
_COMMANDS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], _BASH),
    "zsh": (["zsh", "-f", "-i"], _ZSH),
}


class Shell:
    """A shell that has read our completion."""

    def __init__(self, name: str, environment: Mapping[str, str], directory: Path) -> None:
        argv, begin = _COMMANDS[name]
        self.master, slave = os.openpty()
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *argv], stdin=slave, stdout=slave, stderr=slave,
            env={**environment, "TERM": "dumb"}, cwd=directory,
        )  # fmt: skip
        os.close(slave)
        self._held = b""
        for line in begin.format(scripts=SCRIPTS).strip().splitlines():
            self._type(f"{line}\n")
        self._read(rb"(READY)\r\n")

    def completed(self, typed: str) -> str:
        """Return the line that one press of the tabulator makes of what was typed."""
        self._type(f"{typed}\t\x14")
        line = self._read(rb"<<([^\r\n]*)>>\r?\n")
        self._type("\x15")
        return line

    def close(self) -> None:
        """End it."""
        os.close(self.master)  # which hangs up
        self._process.kill()
        self._process.wait()

    def _type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def _read(self, pattern: bytes) -> str:
        """Return what the pattern has found in what the shell prints."""
        while not (found := re.search(pattern, self._held)):
            assert select.select([self.master], [], [], _PATIENCE)[0], self._held
            self._held += os.read(self.master, 1 << 16)
        self._held = self._held[found.end() :]
        return found[1].decode()


@contextmanager
def shell(name: str, environment: Mapping[str, str], directory: Path) -> Iterator[Shell]:
    """Yield a shell; it is gone behind the block."""
    with closing(Shell(name, environment, directory)) as made:
        yield made


def offered_by_bash(line: str, environment: Mapping[str, str], directory: Path) -> list[str]:
    """Return all that bash would offer; it is told the words as bash takes them apart."""
    words = re.findall(r"[^\s:=]+|[:=]+", line) + [""] * line.endswith(" ")
    script = (
        f"source {SCRIPTS}/treason.bash; COMP_LINE=$1 COMP_POINT=${{#1}} COMP_CWORD=$2;"
        ' COMP_WORDS=("${@:3}"); _treason; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    argv = ["bash", "--norc", "-c", script, "bash", line, str(len(words) - 1), *words]
    return _lines(argv, environment, directory)


def offered_by_fish(line: str, environment: Mapping[str, str], directory: Path) -> list[str]:
    """Return all that fish would offer, without what it says of each."""
    script = f"source {SCRIPTS}/treason.fish; complete -C $argv[1]"
    found = _lines(["fish", "--no-config", "-c", script, line], environment, directory)
    return [each.partition("\t")[0] for each in found]


def _lines(argv: list[str], environment: Mapping[str, str], directory: Path) -> list[str]:
    done = subprocess.run(
        argv, env=environment, cwd=directory, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]
