"""The privileges of root (Linux's capabilities). A confined process keeps only those that concern
owners and modes of the files that it can reach."""

from __future__ import annotations

import os
import struct

from mpkernel.confinement.landlock import libc, system_call

__all__ = ["give_up_capabilities", "permitted_capabilities"]

_CAPSET = {"x86_64": 126, "aarch64": 91}
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_VERSION_3 = 0x20080522
_CHOWN, _DAC_OVERRIDE, _FOWNER, _FSETID = 0, 1, 3, 4
_NUMBERS = 64
_KEPT = 1 << _CHOWN | 1 << _DAC_OVERRIDE | 1 << _FOWNER | 1 << _FSETID


def give_up_capabilities(before: int) -> None:
    """Give them up. Only threads that are started later follow the calling one.

    Args:
        before: the capabilities that the process had at its start. A user namespace of its own
            gives it others; it keeps none of these.

    Raises:
        OSError: the kernel refused.
    """
    permitted = permitted_capabilities()
    if not permitted:
        return
    libc().prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    # The first number that the kernel does not know is refused; without CAP_SETPCAP all are, which
    # does no harm: with `no_new_privileges` nothing that is executed gets more than is permitted.
    for number in range(_NUMBERS):
        if not 1 << number & _KEPT and libc().prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            break
    kept = permitted & before & _KEPT
    header = struct.pack("=Ii", _VERSION_3, 0)
    data = struct.pack("=6I", kept, kept, 0, kept >> 32, kept >> 32, 0)
    system_call(_CAPSET[os.uname().machine], header, data)


def permitted_capabilities() -> int:
    """The permitted capabilities of the calling thread, a bit for each."""
    with open("/proc/thread-self/status", "rb") as status:
        for line in status:
            if line.startswith(b"CapPrm:"):
                return int(line.split()[1], 16)
    return 0
