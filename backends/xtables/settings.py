"""The settings that the backends iptables and ipset share.

Every command imports this module; what takes long to import is left to those that need it.
"""

from typing import Any, Final

from attrs import Attribute, field

from reconciler import Needs

VARIANTS: Final = ("nft", "legacy")
_HOOKS: Final[tuple[str, ...]] = ("INPUT", "FORWARD")


def variant() -> Any:  # noqa: ANN401 - attrs.field, which has the type of what it stands for
    """Declare which iptables is used."""
    return field(default="auto", validator=_known)


def hooks() -> Any:  # noqa: ANN401 - likewise
    """Declare the chains that begin with ours: ``INPUT``, or with a table, ``raw/PREROUTING``."""
    return field(default=_HOOKS, validator=_hooked)


def resolve(variant: str) -> str:
    """Return ``nft`` or ``legacy``; ``auto`` stands for what `iptables` itself is."""
    from backends.xtables import programs  # noqa: PLC0415 - see above

    return programs.resolve(variant)


def needs(variant: str, files: tuple[str, ...] = ()) -> Needs:
    """Return what iptables needs besides capabilities: the lock of the legacy one is root's."""
    locks = ("/run/xtables.lock",) if resolve(variant) == "legacy" else ()
    return Needs(writes=locks + files)


def _known(_settings: object, _field: "Attribute[str]", value: str) -> None:
    if value not in {"auto", *VARIANTS}:
        raise ValueError(f"{value!r} is none of auto, {', '.join(VARIANTS)}")


def _hooked(
    _settings: object, _field: "Attribute[tuple[str, ...]]", value: tuple[str, ...]
) -> None:
    from backends.xtables.hooks import chain_hooks  # noqa: PLC0415 - see above

    chain_hooks(value)
