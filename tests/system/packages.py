"""Install, upgrade, remove and purge the package in fresh Debians: `make test-packages`.

As root. The systems are made once and cached; each story works on a copy of one.
"""

import argparse
import os
import sys
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import package_install
import package_over
import package_plain
import package_remove
import package_upgrade
from debs import Stage
from roots import SUITES

STORIES = {
    "install": package_install.fresh,
    "upgrade": package_upgrade.upgraded,
    "over": package_over.changed_over,
    "remove": package_remove.removed,
    "plain": package_plain.without_systemd,
}


def played(suite: str, deb: Path, wheels: Future[dict[str, Path]], names: list[str]) -> list[str]:
    """Play the stories on a suite, each for itself; return those that did not go as expected."""
    failed = []

    def say(text: str) -> None:
        print(f"{suite}: {text}", flush=True)

    for name in names:
        begun = time.monotonic()
        try:
            with TemporaryDirectory() as directory:
                STORIES[name](Stage(suite, deb, wheels, Path(directory), say))
        except Exception:  # noqa: BLE001 - whatever it is belongs into the output
            say(f"{name}: NOT SO\n{traceback.format_exc()}")
            failed.append(name)
        say(f"{name}: {time.monotonic() - begun:.0f} s")
    return failed


def main() -> None:
    """Play all stories on all suites, two at a time; in CI, what failed once more and alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("deb", type=Path)
    parser.add_argument("--suite", choices=SUITES, action="append")
    parser.add_argument("--only", choices=STORIES, action="append")
    chosen = parser.parse_args()
    suites, names = chosen.suite or SUITES, chosen.only or [*STORIES]
    with TemporaryDirectory() as place, ThreadPoolExecutor(len(suites) + 1) as pool:
        wheels = pool.submit(package_over.wheels, Path(place))

        def play(suite: str, names: list[str]) -> list[str]:
            return played(suite, chosen.deb, wheels, names)

        failed = dict(zip(suites, pool.map(play, suites, repeat(names)), strict=True))
        if os.environ.get("CI") and any(failed.values()):
            print("Once more and one by one:")
            failed = {suite: play(suite, again) for suite, again in failed.items()}
    print("not as expected" if any(failed.values()) else "all as expected")
    sys.exit(1 if any(failed.values()) else 0)


if __name__ == "__main__":
    main()
