"""A calendar that is set while processes run: `time.time` shows it to them, and `/proc/stat`, which
tells when the machine was started, is one of our own. Clocks that nobody sets are the system's.

(libfaketime does not do: without monotonic time, which no calendar moves, Python cannot sleep in
it.)
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from faults.namespaces import with_mounts

DAY_S = 86_400

_OF_EACH_INTERPRETER = """
import mmap, os, struct, time

with open(os.environ["MPKERNEL_TEST_CALENDAR"], "rb") as file:
    offset = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
true, true_ns = time.time, time.time_ns
time.time = lambda: true() + struct.unpack("q", offset)[0]
time.time_ns = lambda: true_ns() + struct.unpack("q", offset)[0] * 10**9
"""


class Calendar:
    """The calendar of the processes that run with `before` and `env`.

    Attributes:
        before: the beginning of their command.
        env: what their environment has besides.
    """

    def __init__(self, folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(_OF_EACH_INTERPRETER)
        self._offset = folder / "calendar"
        self._offset.write_bytes(struct.pack("q", 0))
        self._stat = folder / "stat"
        self._stat.write_text(Path("/proc/stat").read_text())
        self._at = self._stat.read_text().index("btime ") + len("btime ")
        self._started_at = int(self._stat.read_text()[self._at :].split()[0])
        self.before = with_mounts(f"mount --bind {self._stat} /proc/stat")
        path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
        self.env = {"PYTHONPATH": path, "MPKERNEL_TEST_CALENDAR": str(self._offset)}

    def set(self, days: int) -> None:
        """Have it be so many days from the true date, from now on."""
        _put(self._offset, 0, struct.pack("q", days * DAY_S))
        _put(self._stat, self._at, b"%d" % (self._started_at + days * DAY_S))


def _put(path: Path, at: int, data: bytes) -> None:
    """Write in place and in one step, so that a reader never sees a part."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(fd, data, at)
    finally:
        os.close(fd)
