"""A blocklist in a file, for nginx, HAProxy, pf and others to include. It needs no privilege."""

import os
from pathlib import Path

from attrs import field, frozen

from reconciler import Backend, BackendPlugin, Needs, TreasonError, hookimpl


def _absolute(text: object) -> str:
    if isinstance(text, str) and "\0" not in text and Path(text).is_absolute():
        return text
    raise ValueError(f"{text!r} is not an absolute path")


@frozen
class Settings:
    """``[backend.file]``: the list's path, and what to run after it has changed."""

    path: str = field(converter=_absolute)
    command: tuple[str, ...] = ()


def _made(settings: Settings) -> Backend:
    from backends.file.blocklist import File  # noqa: PLC0415 - every command imports this module

    return File(settings)


def _needs(settings: Settings) -> Needs:
    """Return the list, and the command, which nearly always tells a service of root's of it."""
    path = Path(os.path.realpath(settings.path))
    if os.path.lexists(path) and not path.is_file():
        raise TreasonError(
            f"backend 'file': {path}: is not a regular file",
            "set [backend.file] path to another file",
        )
    return Needs(writes=(settings.path,), runs=settings.command[:1], root=bool(settings.command))


@hookimpl
def treason_backends() -> list[BackendPlugin]:
    """Return the backend ``file``."""
    return [
        BackendPlugin(
            "file", _made, Settings, argument="path",
            claims=lambda settings: [os.path.realpath(settings.path)], needs=_needs,
        )
    ]  # fmt: skip
