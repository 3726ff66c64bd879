"""For authors of plugins: the promises that every source and backend keeps, as pytest classes.

Subclass a contract, give the fixture that it asks for, and run pytest. `Memory` is a backend to
test against. It needs pytest: ``pip install 'treason[testing]'``.
"""

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{name}"
        for name in (
            "backend",
            "diagnosing",
            "feed",
            "heeding",
            "judging",
            "packets",
            "optional",
            "optional_feed",
            "reflexes",
            "source",
            "steps",
            "waking",
            "waking_feed",
            "watched",
            "witness",
        )
    )
)

from reconciler.testing.backend import EXAMPLE, BackendContract  # noqa: E402 - rewritten from here on
from reconciler.testing.diagnosing import DiagnosingContract  # noqa: E402
from reconciler.testing.feed import FeedContract  # noqa: E402
from reconciler.testing.heeding import HeedingSourceContract  # noqa: E402
from reconciler.testing.judging import JudgingSourceContract  # noqa: E402
from reconciler.testing.memory import Memory, Table  # noqa: E402
from reconciler.testing.optional import (  # noqa: E402
    AskableContract,
    ConfirmingContract,
    DigestedContract,
    FingerprintedContract,
    MarkedContract,
)
from reconciler.testing.optional_feed import (  # noqa: E402
    EpochFeedContract,
    NotingFeedContract,
    PublishingFeedContract,
)
from reconciler.testing.packets import CountingContract, PacketContract  # noqa: E402
from reconciler.testing.reflexes import PolledReflexesContract, ReflexesContract  # noqa: E402
from reconciler.testing.source import SourceContract  # noqa: E402
from reconciler.testing.steps import given, needed, reach, state  # noqa: E402
from reconciler.testing.waking import WakingSourceContract  # noqa: E402
from reconciler.testing.waking_feed import WakingFeedContract  # noqa: E402
from reconciler.testing.watched import WatchedContract  # noqa: E402
from reconciler.testing.witness import WitnessContract  # noqa: E402

__all__ = [
    "EXAMPLE",
    "AskableContract",
    "BackendContract",
    "ConfirmingContract",
    "CountingContract",
    "DiagnosingContract",
    "DigestedContract",
    "EpochFeedContract",
    "FeedContract",
    "FingerprintedContract",
    "HeedingSourceContract",
    "JudgingSourceContract",
    "MarkedContract",
    "Memory",
    "NotingFeedContract",
    "PacketContract",
    "PolledReflexesContract",
    "PublishingFeedContract",
    "ReflexesContract",
    "SourceContract",
    "Table",
    "WakingFeedContract",
    "WakingSourceContract",
    "WatchedContract",
    "WitnessContract",
    "given",
    "needed",
    "reach",
    "state",
]
