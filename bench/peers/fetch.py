"""Fetch the peers: Debian's packages are unpacked into the cache, and nothing is installed.

So no service is started, and no firewall touched, by any package's own scripts.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.measure import Failed
from reconciler.errors import TreasonError
from reconciler.execute import run

PLACE: Final = Path(__file__).parent.parent.parent / ".cache" / "bench" / "peers"
PACKAGES: Final = ("fail2ban", "python3-pyinotify", "crowdsec", "crowdsec-firewall-bouncer")


def unpacked(name: str) -> Path:
    """Return the directory that stands for a package's root; raise `Failed` if there is none."""
    place = PLACE / name
    if not place.is_dir():
        raise Failed(f"the package {name} could not be fetched")
    return place


def version(name: str) -> str:
    """Return the version of a package that was fetched."""
    file = PLACE / name / "version"
    return file.read_text() if file.exists() else "not there"


def fetch(name: str) -> None:
    """Download and unpack a package, as apt knows it."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=PLACE) as directory:
        os.chdir(directory)
        run(["apt-get", "-o", "APT::Sandbox::User=root", "download", name], timeout=300)
        (archive,) = Path(directory).glob("*.deb")
        made = Path(directory, "root")
        run(["dpkg-deb", "--extract", str(archive), str(made)])
        (made / "version").write_text(archive.name.split("_")[1])
        made.rename(PLACE / name)
        os.chdir(PLACE)


def main() -> None:
    """Fetch what is missing; tell what cannot be had."""
    for name in PACKAGES:
        if (PLACE / name).is_dir():
            continue
        try:
            if os.geteuid() == 0:
                run(["apt-get", "update", "--quiet"], timeout=300)
            fetch(name)
        except TreasonError as error:
            print(f"{name} will not be measured: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
