"""Boot kernels that can print their message, and provoke it for real: `make test-kernel`.

As root. The kernels of Debian 11, of Debian 12 and of its backports print different forms of the
message. They run in qemu without hardware support, on one system that is made once and cached.
Versions that are named behind the wheel choose among them.
"""

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

from make import BASE, HERE, SUITE, extended, install
from roots import copied, run

KERNEL = "linux-image-cloud-amd64"
SUITES = ("bullseye", SUITE, f"{SUITE}-backports")
"""Whose kernels are tried; the older ones first, since a later one replaces the name."""
READY = f"{BASE}-kernels-{len(SUITES)}"
PEERS = HERE.parent / "peers.py"
PROGRAMS = ("attacked.py", "told.py", "forger.py", "shrinker.py")
MINUTES = 18
EXPECTED = "all as expected"
# In the emulation of qemu 7.2 the kernel's cmpxchg16b ends in a double fault.
CPU = "qemu64,-cx16"


def ready() -> Path:
    """The cached system with both kernels, each with its modules and an initial RAM disk."""
    return extended(READY, SUITES, [f"{KERNEL}/{each}" for each in SUITES])


def boot(kernel: Path, image: Path, report: Path) -> None:
    """Boot it until it powers itself off or reboots; what it finds it writes to a serial line."""
    initrd = kernel.with_name(kernel.name.replace("vmlinuz", "initrd.img"))
    console = report.with_name("console")
    done = subprocess.run(
        ["timeout", "--signal=KILL", f"{MINUTES}m",
         "qemu-system-x86_64", "-accel", "tcg", "-cpu", CPU, "-m", "1024", "-smp", "2",
         "-display", "none", "-nodefaults", "-no-user-config", "-no-reboot",
         "-kernel", str(kernel), "-initrd", str(initrd),
         # A busy machine may let the timer's test at boot fail: kernel-parameters.txt.
         "-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 no_timer_check",
         "-drive", f"file={image},format=raw,if=virtio,cache=unsafe",
         "-serial", f"file:{console}",
         "-chardev", f"file,id=report,path={report},append=on", "-serial", "chardev:report"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0 or not report.exists() or not report.stat().st_size:
        said = console.read_text(errors="replace")[-2000:] if console.exists() else ""
        print(f"qemu ended with {done.returncode}: {done.stderr[-2000:]}\n{said}")


def tried(kernel: Path, disk: Path, place: Path) -> bool:
    """Boot a kernel twice, on a copy of the disk; tell what it found."""
    place.mkdir()
    image, report = place / "image", place / "report"
    run("cp", "--sparse=always", disk, image)
    for number in (1, 2):
        boot(kernel, image, report)
        text = report.read_text() if report.exists() else ""
        if text.count(f"{EXPECTED}\n") != number:
            break
    print(f"{kernel.name}\n{text or 'the system wrote no report'}")
    return text.count(f"{EXPECTED}\n") == 2


def chosen(kernels: list[Path], versions: list[str]) -> list[Path]:
    """Return the kernels of these versions, or all; end where one is missing."""
    assert len(kernels) == len(SUITES), kernels
    found = {each: [path for path in kernels if f"-{each}." in path.name] for each in versions}
    missing = [each for each, paths in found.items() if not paths]
    if missing:
        sys.exit(f"no kernel of {', '.join(missing)} among {[path.name for path in kernels]}")
    return [path for paths in found.values() for path in paths] or kernels


def main() -> None:
    """Make the disk once; boot each kernel twice on a copy; tell what they found."""
    base = ready()
    with tempfile.TemporaryDirectory(prefix="run.", dir=base.parent) as directory:
        system, disk = Path(directory, "system"), Path(directory, "disk")
        copied(base, system)
        install(system, Path(sys.argv[1]).resolve())
        shutil.copy(HERE / "inside_kernel.py", system / "opt/treason/inside.py")
        for each in (*(HERE / name for name in PROGRAMS), PEERS):
            shutil.copy(each, system / "opt/treason")
        run("mke2fs", "-q", "-F", "-t", "ext4", "-d", system, disk, "2G", stdout=subprocess.DEVNULL)
        kernels = chosen(sorted(system.glob("boot/vmlinuz-*")), sys.argv[2:])
        with ThreadPoolExecutor(len(kernels)) as pool:  # mostly they wait
            places = [Path(directory, kernel.name) for kernel in kernels]
            passed = [*pool.map(tried, kernels, repeat(disk), places)]
        if passed.count(False) == 1:
            number = passed.index(False)
            print("Once more and alone:")
            passed[number] = tried(kernels[number], disk, places[number].with_suffix(".again"))
    if not all(passed):
        sys.exit(1)


if __name__ == "__main__":
    main()
