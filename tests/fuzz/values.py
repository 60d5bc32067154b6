"""Values that programs often handle wrongly."""

from __future__ import annotations

from tests.fuzz.corpus import PREFIX

__all__ = ["FLOATS", "HOSTILE_INTEGERS", "INTEGERS", "STRINGS"]

INTEGERS = (0, 1, 2, 3, 127, 128, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63)
HOSTILE_INTEGERS = (-1, -2, -128, -(2**31), -(2**63), 2**63 - 1, 2**64 - 1)
FLOATS = (0.0, 0.001, 0.05, 1.0, 1e6, 1e12, 1e300, -1.0, float("inf"), float("nan"))
STRINGS = (
    "",
    "a",
    "k" * 22,
    "t" * 22,
    "a" * 22 + ".png",
    "\0",
    "a/b",
    "../../etc/passwd",
    "x" * 300,
    "é\u2028😀",
    "%s %d {0}",
    PREFIX,
    PREFIX + "1",
    PREFIX + "\0",
    PREFIX + "y" * 300,
    f"/tmp/{PREFIX}x/0",
    f"/tmp/{PREFIX}x/\0",
    f"/tmp/{PREFIX}x/../0",
    "tests.fuzz.kernels:echo",
    "tests.fuzz.kernels:__name__",
    "echo:",
)
