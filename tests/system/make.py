"""Boot a real Debian with real systemd, and let it test itself: `make test-system`.

As root. The base system is made once, by debootstrap, and cached, also with PostgreSQL in it; each
run works on a copy.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from roots import MIRROR, cached, copied, named, run, starting_nothing

HERE = Path(__file__).resolve().parent
SUITE = "bookworm"
PACKAGES = (
    "systemd,systemd-sysv,dbus,python3,python3-venv,nftables,iproute2,util-linux,iptables,ipset,"
    "netfilter-persistent,iptables-persistent"
)
BASE = named(SUITE, PACKAGES.split(","))
SERVED = f"{BASE}-postgresql"
MINUTES = 12


def base() -> Path:
    """The cached system."""

    def make(system: Path) -> None:
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, system, MIRROR)

    return cached(BASE, make)


def extended(name: str, suites: Iterable[str], packages: Iterable[str]) -> Path:
    """The cached system with more packages, one after the other; none of them is started."""

    def make(system: Path) -> None:
        copied(base(), system)
        (system / "etc/apt/sources.list").write_text(
            "".join(f"deb {MIRROR} {each} main\n" for each in suites)
        )
        shutil.copy("/etc/resolv.conf", system / "etc/resolv.conf")
        inside = ["chroot", system, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"]
        run(*inside, "apt-get", "-qq", "update")
        get = [*inside, "apt-get", "-qq", "install", "--yes", "--no-install-recommends"]
        with starting_nothing(system):
            for each in packages:
                run(*get, each, stdout=subprocess.DEVNULL)
        run(*inside, "apt-get", "clean")
        shutil.rmtree(system / "var/lib/apt/lists")

    return cached(name, make)


def served() -> Path:
    """The cached system with PostgreSQL, which starts when a test lets it."""
    ready = extended(SERVED, (SUITE,), ("postgresql",))
    starts = ready / "etc/systemd/system/multi-user.target.wants/postgresql.service"
    starts.unlink(missing_ok=True)
    return ready


def install(system: Path, wheel: Path) -> None:
    """Put the wheel with all it needs into a virtual environment of the system's own Python."""
    wheels = system / "wheels"
    pip = [sys.executable, "-m", "pip"]
    run(
        *pip,
        "download",
        "--quiet",
        "--only-binary=:all:",
        "--python-version=3.11",
        "--dest",
        wheels,
        f"{wheel}[fleet]",
    )
    # python-iptables has no wheel, and the system no compiler: the one of here will do.
    legacy = sys.version_info[:2] == (3, 11)
    if legacy:
        run(
            *pip[:3], "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, "python-iptables>=1.2"
        )
    inside = ["chroot", system]
    run(*inside, "python3", "-m", "venv", "/opt/treason")
    offline = ["--no-index", "--find-links", "/wheels"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    name = "treason[fleet,legacy]" if legacy else "treason[fleet]"
    run(*inside, "/opt/treason/bin/pip", "install", "-q", *offline, name, env=environment)
    (system / "usr/bin/treason").symlink_to("/opt/treason/bin/treason")
    for name in (
        "inside.py",
        "machine.py",
        "resident.py",
        "followed.py",
        "kept.py",
        "shared.py",
        "prisoner.py",
    ):
        shutil.copy(HERE / name, system / "opt/treason" / name)
    unit = system / "etc/systemd/system/self-test.service"
    unit.write_text((HERE / "self-test.service").read_text())
    run(*inside, "systemctl", "enable", "--quiet", "self-test.service", env=environment)


def boot(system: Path) -> None:
    """Boot it until it powers itself off; when it reboots, systemd-nspawn ends with 133."""
    for _ in range(4):
        done = subprocess.run(
            ["timeout", "--signal=KILL", f"{MINUTES}m",
             "systemd-nspawn", "--quiet", "--private-network", "--register=no", "--keep-unit",
             "--capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYSLOG", "--bind=/dev/kmsg",
             "--console=pipe", "--boot", "--directory", str(system)],
            stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode != 133:
            break
    if done.returncode != 0:
        print(f"systemd-nspawn ended with {done.returncode}: {done.stderr[-2000:]!r}")


def main() -> None:
    """Make it, boot it, tell what it found."""
    ready = served()
    with tempfile.TemporaryDirectory(prefix="run.", dir=ready.parent) as directory:
        system = Path(directory, "system")
        copied(ready, system)
        install(system, Path(sys.argv[1]).resolve())
        boot(system)
        report = system / "opt/treason/report"
        print(report.read_text() if report.exists() else "the system wrote no report")
        if not report.exists() or not report.read_text().endswith("all as expected\n"):
            sys.exit(1)


if __name__ == "__main__":
    main()
