"""The thread that reads the consoles of all apps, when it has nothing to wait with for a while."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, resource, tempfile, threading, time
from mpkernel.server.links.console_relay import ConsoleRelay

relay = ConsoleRelay(forward=False)
texts, came = [], threading.Event()

def on_text(stream, text, read_at_s):
    texts.append(text)
    came.set()

def add(descriptors):
    out, err, faults = descriptors
    relay.add(
        "app.py", app="/app.py", pid=0, stdout=out, stderr=err, faults=faults,
        on_text=on_text, on_end=ended.set,
    )

ended = threading.Event()
pipes = [os.pipe() for _ in range(3)]
files = [tempfile.TemporaryFile() for _ in range(3)]
add([reading for reading, _ in pipes])
os.write(pipes[0][1], b"before")
assert came.wait(60)
came.clear()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no more descriptor may be opened
add([file.fileno() for file in files])  # the system cannot wait for files
selector = relay._selector
while relay._selector is selector and relay._thread.is_alive():
    time.sleep(0.01)
time.sleep(0.3)  # it is tried again and again
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
os.write(pipes[0][1], b"after")
came.wait(60)
print(texts, ended.is_set())
relay.close()
relay.join(60)
print(relay._thread.is_alive())
"""


def test_it_goes_on_when_it_has_descriptors_again() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=240
    )
    assert ran.stdout.splitlines() == ["['before', 'after'] True", "False"], ran.stderr
