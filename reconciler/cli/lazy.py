"""Groups of commands of which only the one that is asked for is imported."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import click

_LONG: Final = 1_000
"""Characters of a sentence that is not cut."""

_NONE: Final[Mapping[str, str]] = {}


class Whole(click.Group):
    """Lists its commands with the whole of their first sentences; click cuts them to a line."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them."""
        with formatter.section("Commands"):
            formatter.write_dl([*self.sentences(ctx).items()])

    def sentences(self, ctx: click.Context) -> Mapping[str, str]:
        """Return the first sentence of each command by its name."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        return {
            name: f"{each.get_short_help_str(_LONG).removesuffix('.')}."
            for name, each in found
            if each
        }


class Lazy(Whole):
    """Imports the module of a command only when that command is asked for.

    ``within`` has, by its name, where each command is (``module:name``), and its first sentence: to
    list them, none is imported. ``unlisted`` are commands that are not for people.
    """

    def __init__(
        self,
        *given: Any,  # noqa: ANN401 - click's
        within: Mapping[str, tuple[str, str]],
        unlisted: Mapping[str, str] = _NONE,
        **more: Any,  # noqa: ANN401 - likewise
    ) -> None:
        super().__init__(*given, **more)
        self._within = within
        self._places = {name: place for name, (place, _) in within.items()} | {**unlisted}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return their names."""
        return list(self._within)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one; None if it does not exist."""
        if cmd_name not in self._places:
            return None
        module, name = self._places[cmd_name].split(":")
        command: click.Command = getattr(import_module(f"reconciler.cli.commands.{module}"), name)
        return command

    def sentences(self, ctx: click.Context) -> Mapping[str, str]:  # noqa: ARG002
        """Return what is told of each without importing it."""
        return {name: text for name, (_, text) in self._within.items()}
