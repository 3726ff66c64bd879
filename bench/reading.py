"""Read a source as a scan does, so often: ``python -m bench.reading kmsg TIMES`` (or journal:DIR).

Print the seconds that this took without the start of Python, then records and offences.
"""

import sys
import time
from collections.abc import Callable
from typing import Final

from reconciler.detection.detect import RULES, detect
from reconciler.interfaces import Source

_NOWHERE: Final = " (in no record)"
"""Where this program was tested, the buffer is full of messages as no machine has them."""


def main(name: str, times: str) -> int:
    """Read, and print figures."""
    make = _maker(name)
    needles = [rule.needle + (_NOWHERE if name == "kmsg" else "") for rule in RULES]
    records = offences = 0
    # dd is over before others get its processor, this is not; no other process works for it here,
    # and it waits for nothing, so its own time is what passes on an idle machine.
    clock = time.process_time if name == "kmsg" else time.perf_counter
    start = clock()
    for _ in range(int(times)):
        for record in make().read(None, needles):
            records += 1
            offences += detect(record) is not None
    print(f"{clock() - start:.6f} {records} {offences}")
    return 0


def _maker(name: str) -> Callable[[], Source]:
    kind, _, argument = name.partition(":")
    if kind == "kmsg":
        from sources.kmsg import Kmsg  # noqa: PLC0415 - only what is measured is imported

        return Kmsg
    from sources.journal import Settings  # noqa: PLC0415 - see above
    from sources.journal.source import Journal  # noqa: PLC0415 - see above

    return lambda: Journal(Settings(argument))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
