"""How the kernel refuses, and what each refusal is called."""

import ctypes
import errno
import logging
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from harness import REAL_ROOT, ROOT

from reconciler.bpf import (
    BpfError,
    BpfUnavailable,
    Counter,
    Ring,
    attach,
    check_machine,
    errors,
    load,
    recent,
    syscall,
)
from reconciler.bpf.assembler import DW, EXIT, LDX, MOV, R0, R1, assemble
from reconciler.bpf.errors import refusal

kernel = pytest.mark.skipif(not REAL_ROOT, reason="only root may load programs into the kernel")

OPENING = """
from reconciler.bpf import BpfError
from sources.sockets.tracepoint import Retransmissions
try:
    Retransmissions().close()
    print("opened")
except BpfError as error:
    print(type(error).__name__, error, sep="\\n")
"""


def opened(*by: str) -> list[str]:
    """Open what tells of retransmissions, in a process of such a kind; return what it says."""
    done = subprocess.run(
        [*by, sys.executable, "-c", OPENING],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return [line.strip() for line in done.stdout.splitlines()]


@kernel
@pytest.mark.parametrize(
    ("left", "missing"),
    [
        ("", "CAP_BPF and CAP_PERFMON are"),
        (",+bpf", "CAP_PERFMON is"),
        (",+perfmon", "CAP_BPF is"),
        (",+net_admin,+sys_resource", "CAP_BPF and CAP_PERFMON are"),
    ],
)
def test_what_is_missing_is_named(left: str, missing: str) -> None:
    """Who has no capability, or one of the two."""
    kind, what, hint = opened("setpriv", f"--bounding-set=-all{left}", "--inh-caps=-all", "--")
    assert kind == "BpfUnavailable"
    assert what.endswith(f": {missing} missing")
    assert what.startswith("cannot ")
    assert "treason init --systemd" in hint


@kernel
def test_the_two_capabilities_are_enough() -> None:
    """No other is needed."""
    assert opened("setpriv", "--bounding-set=-all,+bpf,+perfmon", "--inh-caps=-all", "--") == [
        "opened"
    ]


@kernel
def test_root_of_a_container_may_not() -> None:
    """It has every capability, in a user namespace of its own."""
    kind, what = opened("unshare", "--user", "--map-root-user")
    assert kind == "BpfUnavailable"
    assert "this is a user namespace of a container" in what


@kernel
def test_the_verifiers_word_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is not in what people are told."""
    monkeypatch.setattr("reconciler.log._outlet.handler", None)  # a command may have begun it
    monkeypatch.setattr("reconciler.log._outlet.make", None)
    monkeypatch.setattr(logging.getLogger("treason"), "propagate", True)
    caplog.set_level(logging.DEBUG, "treason.bpf")
    with pytest.raises(BpfError) as caught:
        load("trial", assemble([LDX(DW, R0, R1, 4096), EXIT()]))
    assert str(caught.value) == "cannot load the program trial: Permission denied"
    assert caught.value.code == errno.EACCES
    assert not isinstance(caught.value, BpfUnavailable)
    assert "invalid bpf_context access" in caplog.text


@kernel
def test_a_tracepoint_that_is_not_there_is_named() -> None:
    """With the kernel's own reason."""
    program = load("trial", assemble([MOV(R0, 0), EXIT()]))
    try:
        with pytest.raises(BpfError, match="attach to the tracepoint no_such: No such file"):
            attach(program, "no_such")
    finally:
        os.close(program)


@kernel
@pytest.mark.parametrize("make", [lambda: Ring("trial", 5000), lambda: recent("trial", 0, 8, 8)])
def test_a_map_that_cannot_be_is_named(make: object) -> None:
    """Its size is none that the kernel takes."""
    assert callable(make)
    with pytest.raises(BpfError, match="cannot make the map trial: Invalid argument"):
        make()


@kernel
def test_a_number_begins_with_none() -> None:
    """Nothing was counted."""
    counter = Counter("trial")
    assert counter.value == 0
    counter.close()


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose kernel is 6.1, is not locked down, and where nothing is missing."""
    release("6.1.0-30-amd64", monkeypatch)
    (tmp_path / "status").write_text(f"CapEff:\t{(1 << 41) - 1:016x}\n")
    (tmp_path / "uid_map").write_text("0 0 4294967295\n")
    (tmp_path / "lockdown").write_text("[none] integrity confidentiality\n")
    for name, file in (("_STATUS", "status"), ("_USERS", "uid_map"), ("_LOCKDOWN", "lockdown")):
        monkeypatch.setattr(errors, name, tmp_path / file)
    return tmp_path


def release(name: str, monkeypatch: pytest.MonkeyPatch, machine: str = "x86_64") -> None:
    """Let the kernel be another one."""
    result = os.uname_result(("Linux", "web1", name, "#1", machine))
    monkeypatch.setattr(os, "uname", lambda: result)


def test_a_refusal_without_a_known_cause_is_the_kernels_own(whole: Path) -> None:
    """It may be a mistake of ours."""
    error = refusal(errno.EINVAL, "load the program trial")
    assert type(error) is BpfError
    assert (error.what, error.hint, error.code) == (
        "cannot load the program trial: Invalid argument",
        "",
        errno.EINVAL,
    )


def test_a_kernel_that_is_locked_down_is_named(whole: Path) -> None:
    """Where programs may read nothing."""
    (whole / "lockdown").write_text("none integrity [confidentiality]\n")
    for code in (errno.EINVAL, errno.EACCES):
        error = refusal(code, "load it")
        assert isinstance(error, BpfUnavailable)
        assert error.what == "cannot load it: the kernel is locked down (confidentiality)"
    (whole / "lockdown").unlink()
    assert refusal(errno.EINVAL, "load it").what == "cannot load it: Invalid argument"


@pytest.mark.parametrize("name", ["4.19.0-27-amd64", "5.4.0", "5.7.19"])
def test_an_old_kernel_is_named(name: str, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no ring buffer."""
    release(name, monkeypatch)
    error = refusal(errno.EINVAL, "make a map")
    assert isinstance(error, BpfUnavailable)
    assert error.what == f"cannot make a map: Linux {name} is too old; 5.8 is needed"


def test_too_little_memory_to_lock_is_named(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where that is charged: before 5.11, and where there is a limit."""
    limits = (65536, 65536)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits)
    release("5.10.0-35-amd64", monkeypatch)
    error = refusal(errno.EPERM, "make a map")
    assert isinstance(error, BpfUnavailable)
    assert error.what.endswith("the limit of locked memory (RLIMIT_MEMLOCK) is 64 KiB")
    assert "LimitMEMLOCK=8M" in error.hint
    limits = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert "not permitted" in refusal(errno.EPERM, "make a map").what
    release("6.1.0", monkeypatch)
    limits = (65536, 65536)
    assert "not permitted" in refusal(errno.EPERM, "make a map").what


def test_a_sandbox_is_suspected_where_nothing_else_forbids(whole: Path) -> None:
    """Also where /proc does not tell."""
    for _ in range(2):
        error = refusal(errno.EPERM, "make a map")
        assert error.what == "cannot make a map: not permitted, though the capabilities are there"
        assert error.hint == "a sandbox may forbid bpf(2)"
        for name in ("status", "uid_map"):
            (whole / name).unlink(missing_ok=True)


def test_an_administrators_capability_holds_both(whole: Path) -> None:
    """CAP_SYS_ADMIN was all that there was before 5.8, and is enough since."""
    (whole / "status").write_text(f"CapEff:\t{1 << 21:016x}\n")
    assert "missing" not in refusal(errno.EPERM, "make a map").what


@pytest.mark.parametrize(
    ("code", "why"), [(errno.ENOSYS, "has no bpf(2)"), (errno.ENOMEM, "has no memory for it")]
)
def test_a_kernel_that_cannot_is_named(whole: Path, code: int, why: str) -> None:
    """It was built without, or has no memory."""
    error = refusal(code, "make a map")
    assert isinstance(error, BpfUnavailable)
    assert why in error.what


@pytest.mark.parametrize("machine", ["riscv64", "i686", "s390x"])
def test_another_machine_is_named(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose system call has another number."""
    release("6.1.0", monkeypatch, machine)
    with pytest.raises(BpfUnavailable, match=f"x86_64 and aarch64 only; .* {machine}"):
        check_machine()


class Interrupted:
    """A library whose calls a signal interrupts so many times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def syscall(self, *_given: object) -> int:
        """Fail, or return a descriptor."""
        ctypes.set_errno(errno.EAGAIN)
        self.left -= 1
        return -1 if self.left >= 0 else 7


def test_what_a_signal_interrupts_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few times, not for ever."""
    interrupted = Interrupted(4)
    monkeypatch.setattr(syscall, "_library", lambda: interrupted)
    assert syscall.bpf(0, bytes(48), "make a map") == 7
    interrupted.left = 5
    with pytest.raises(BpfError, match="Resource temporarily unavailable"):
        syscall.bpf(0, bytes(48), "make a map")
