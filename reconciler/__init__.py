"""Treason keeps hostile peers out: kernel messages in, a reconciled firewall out.

These names are the public interface. A plugin needs no other. Each is imported when it is first
asked for, because the command line starts here as well, and seldom needs them all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reconciler import blocklist, bpf, execute, files, hints, inotify, lines, netlink, secrets
    from reconciler.asking import AskableBackend, Decision, Held
    from reconciler.diagnosis import Diagnosing, Finding
    from reconciler.dropped import CountingBackend, Dropped
    from reconciler.errors import (
        BackendError,
        BackendFailed,
        BackendUnreadable,
        FeedUnreadable,
        InvalidList,
        InvalidNetwork,
        SourceUnreadable,
        TreasonError,
    )
    from reconciler.feeding import (
        EpochFeed,
        Feed,
        FeedBan,
        FeedChange,
        FeedLift,
        FeedPlugin,
        FeedSnapshot,
        Fleet,
        FleetMember,
        FleetStatus,
        NotingFeed,
        PublishingFeed,
        WakingFeed,
    )
    from reconciler.hookspecs import hookimpl
    from reconciler.interfaces import (
        Backend,
        BackendPlugin,
        Confirming,
        ConfirmingBackend,
        DigestedBackend,
        ExplainingSource,
        FingerprintedBackend,
        HeedingSource,
        Listening,
        Marked,
        Needs,
        NoSettings,
        Noting,
        NotingSource,
        PacedSource,
        SilenceAwareSource,
        Source,
        SourcePlugin,
        SuspectingSource,
        WakingSource,
        WitnessSource,
    )
    from reconciler.model import (
        Answer,
        Change,
        Connection,
        Damage,
        Desired,
        Judgement,
        NearMiss,
        Observed,
        Plan,
        Record,
        Seen,
        Suspect,
    )
    from reconciler.network import Network
    from reconciler.networks import Networks
    from reconciler.waiting import PolledReflexes, Reflexes, WakingBackend, WatchedBackend, Watcher

__version__: Final = "0.2.0"

__all__ = [
    "Answer",
    "AskableBackend",
    "Backend",
    "BackendError",
    "BackendFailed",
    "BackendPlugin",
    "BackendUnreadable",
    "Change",
    "Confirming",
    "ConfirmingBackend",
    "Connection",
    "CountingBackend",
    "Damage",
    "Decision",
    "Desired",
    "Diagnosing",
    "DigestedBackend",
    "Dropped",
    "EpochFeed",
    "ExplainingSource",
    "Feed",
    "FeedBan",
    "FeedChange",
    "FeedLift",
    "FeedPlugin",
    "FeedSnapshot",
    "FeedUnreadable",
    "Finding",
    "FingerprintedBackend",
    "Fleet",
    "FleetMember",
    "FleetStatus",
    "HeedingSource",
    "Held",
    "InvalidList",
    "InvalidNetwork",
    "Judgement",
    "Listening",
    "Marked",
    "NearMiss",
    "Needs",
    "Network",
    "Networks",
    "NoSettings",
    "Noting",
    "NotingFeed",
    "NotingSource",
    "Observed",
    "PacedSource",
    "Plan",
    "PolledReflexes",
    "PublishingFeed",
    "Record",
    "Reflexes",
    "Seen",
    "SilenceAwareSource",
    "Source",
    "SourcePlugin",
    "SourceUnreadable",
    "Suspect",
    "SuspectingSource",
    "TreasonError",
    "WakingBackend",
    "WakingFeed",
    "WakingSource",
    "WatchedBackend",
    "Watcher",
    "WitnessSource",
    "blocklist",
    "bpf",
    "execute",
    "files",
    "hints",
    "hookimpl",
    "inotify",
    "lines",
    "netlink",
    "secrets",
]

_MODULES: Final = {
    *("blocklist", "bpf", "execute", "files", "hints", "inotify", "lines", "netlink", "secrets"),
}

if not TYPE_CHECKING:  # or any name would pass for a public one

    def __getattr__(name: str) -> object:
        """Look for a public name from upstream to downstream: that imports no more than needed."""
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name in __all__:
            for home in (
                *("errors", "network", "networks", "model", "interfaces", "waiting", "hookspecs"),
                "feeding",
                *("asking", "dropped", "diagnosis"),  # last: no pass needs them, nor the daemon
            ):
                module = import_module(f"{__name__}.{home}")
                if hasattr(module, name):
                    return globals().setdefault(name, getattr(module, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
