"""Treason keeps hostile peers out: kernel messages in, a reconciled firewall out.

These names are the public interface. A plugin needs no other.
"""

from reconciler import execute, files, netlink
from reconciler.errors import (
    BackendError,
    BackendFailed,
    BackendUnreadable,
    InvalidNetwork,
    SourceUnreadable,
    TreasonError,
)
from reconciler.hookspecs import hookimpl
from reconciler.interfaces import Backend, BackendPlugin, NoSettings, Source, SourcePlugin
from reconciler.model import Change, Damage, Desired, Observed, Plan, Record
from reconciler.network import Network
from reconciler.networks import Networks

__all__ = [
    "Backend",
    "BackendError",
    "BackendFailed",
    "BackendPlugin",
    "BackendUnreadable",
    "Change",
    "Damage",
    "Desired",
    "InvalidNetwork",
    "Network",
    "Networks",
    "NoSettings",
    "Observed",
    "Plan",
    "Record",
    "Source",
    "SourcePlugin",
    "SourceUnreadable",
    "TreasonError",
    "execute",
    "files",
    "hookimpl",
    "netlink",
]
