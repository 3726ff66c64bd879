"""Systems of Debian that are made once and cached, for the tests of this folder. As root."""

import os
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "treason-system"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")

SUITES = ("bookworm", "trixie")
"""Those whose users get the package."""
BOOTING = ("systemd", "systemd-sysv", "dbus")
"""What a least system needs besides, to boot."""
OFFERED = (
    *BOOTING, "python3", "nftables", "ipset", "iptables", "libpq5", "iproute2", "ca-certificates",
)  # fmt: skip
"""What the systems can install without a network, with all that it recommends."""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
"""What a command inside has."""

Say = Callable[[str], None]
"""Writes a line of the report."""


def run(*argv: object, **options: object) -> None:
    """Run a command that must succeed."""
    subprocess.run([str(word) for word in argv], check=True, **options)  # type: ignore[call-overload]  # options by name


def silently(*argv: object, **options: object) -> None:
    """Run a command whose output matters only if it fails."""
    words = [str(word) for word in argv]
    kept = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(words, check=False, **kept, **options)  # type: ignore[call-overload]  # options by name
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: ended with {done.returncode}\n{done.stdout}")


def copied(source: Path, target: Path) -> None:
    """Copy a system."""
    run("cp", "--archive", "--reflink=auto", source, target)


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return a system; it is made under another name first, so that a half one is never used."""
    ready = CACHE / name
    if not ready.is_dir():
        CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="part.", dir=CACHE) as directory:
            system = Path(directory, "system")
            make(system)
            system.rename(ready)
    return ready


def named(prefix: str, words: Iterable[str]) -> str:
    """Return a name that changes with the words."""
    return f"{prefix}-{zlib.crc32(','.join(words).encode()):08x}"


@contextmanager
def starting_nothing(system: Path) -> Iterator[None]:
    """Let no package start what it installs, for the time of the block."""
    policy = system / "usr/sbin/policy-rc.d"  # invoke-rc.d(8)
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def plain(suite: str) -> Path:
    """Debian's least system, without systemd, that has the packages to be installed at hand."""

    def make(system: Path) -> None:
        get = "apt-get -qq install --yes --download-only -o APT::Install-Recommends=true"
        hook = f'chroot "$1" {get} {" ".join(OFFERED)}'
        least = ["--variant=minbase", "--skip=cleanup/apt", f"--customize-hook={hook}"]
        silently("mmdebstrap", *least, suite, system, MIRROR)

    return cached(named(f"plain-{suite}", OFFERED), make)


def booting(suite: str) -> Path:
    """The same with systemd."""

    def make(system: Path) -> None:
        copied(plain(suite), system)
        _install(system, BOOTING)

    return cached(named(f"booting-{suite}", OFFERED), make)


def furnished(suite: str) -> Path:
    """The same with all that is offered, so that only the package itself is new."""

    def make(system: Path) -> None:
        copied(booting(suite), system)
        _install(system, OFFERED)

    return cached(named(f"furnished-{suite}", OFFERED), make)


def _install(system: Path, packages: Iterable[str]) -> None:
    """Install packages that are at hand."""
    install = f"apt-get -qq install --yes --no-install-recommends {' '.join(packages)}"
    script = f"mount -t proc proc /proc && mount -t devpts devpts /dev/pts && exec {install}"
    inside = ["unshare", "--net", "--mount", "chroot", system, "sh", "-c", script]
    with starting_nothing(system):
        silently(*inside, env=ENVIRONMENT)
