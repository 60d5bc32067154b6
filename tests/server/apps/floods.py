"""Attacks by how much a host says, and by what it does with its Pipes."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle

from taken_host import STREAM, frame, management

from mpkernel.wire.messages import (
    Credit,
    FileRemoved,
    FileStored,
    KernelExited,
    Ready,
    Running,
    WantConsole,
    WantDrain,
)
from shm.names import own_tag

SENT = "sent-by-an-app"

# Floods.


def forged_places_without_end(host):
    host.flood(management(FileStored("forged", "temp_file", "/etc/passwd", 1, ""), host.number))


def files_without_end(host):
    """Announce more files than are allowed, none of which exists."""
    own = own_tag().prefix
    for number in range(200_000):
        stored = FileStored(f"key{number}", "block", f"{own}{number}", 2**46, "text/plain")
        host.say(stored)


def removals_without_end(host):
    """Remove files without reading the server's answers."""
    host.stop_dispatcher()
    host.flood(management(FileRemoved("k" * 250), 0))


def output_beyond_the_window(host):
    host.flood(frame(STREAM, host.number, b"x" * 60_000))


def large_output_beyond_the_window(host):
    host.flood(frame(STREAM, host.number, b"x" * 3_000_000))


def empty_output(host):
    host.flood(frame(STREAM, host.number))


def output_of_an_ended_session(host):
    host.say(KernelExited())
    host.flood(frame(STREAM, host.number, b"late"))


def ready_without_end(host):
    host.flood(management(Ready(os.getpid()), 0))


def console_wishes_without_end(host):
    host.flood(management(WantConsole(), 0))


def drains_without_end(host):
    host.flood(management(WantDrain("again"), 0))


def progress_without_end(host):
    host.flood(management(Running(1, 1), host.number))


def log_without_end(host):
    host.flood(b"a line of the log\n", 1)


def faults_without_end(host):
    """Write reports as faulthandler does, to its descriptor and without end to descriptor 2."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(name) > 2 and os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                os.write(int(name), b"Current thread 0x1 (most recent call first):\n" * 1000)
    host.flood(b"Fatal Python error: none\n", 2)


# What it does with the Pipes themselves.


def closes_the_stream(host):
    """The kernel's thread holds no other: what the host itself would write now goes nowhere."""
    os.dup2(os.open("/dev/null", os.O_WRONLY), host.stream_fd)


def closes_the_control(host):
    """Shut the control Pipe. The dispatcher is stopped first: it would see the end, and end the
    process."""
    host.stop_dispatcher()
    with socket.socket(fileno=os.dup(host.control_fd)) as end:
        end.shutdown(socket.SHUT_RDWR)


def shuts_the_stream(host):
    with socket.socket(fileno=os.dup(host.stream_fd)) as end:
        end.shutdown(socket.SHUT_WR)
    threading.Event().wait()


def stops_reading(host):
    host.stop_dispatcher()


def credits_without_taking(host):
    host.stop_dispatcher()
    host.kernel.send(b"about to")
    while True:
        host.say(Credit(65536))
        time.sleep(0.001)


def sends_descriptors(host):
    """With good frames: each carries as many as the system lets one message carry."""
    files = [os.memfd_create(SENT) for _ in range(50)]
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
    output = frame(STREAM, host.number, b"with descriptors")
    credit = management(Credit(1), host.number)
    for fd, data in ((host.stream_fd, output), (host.control_fd, credit)):
        with socket.socket(fileno=os.dup(fd)) as end:
            for _ in range(200):
                end.sendmsg([data], ancillary)


def hands_over_handles(host):
    """As `multiprocessing` does it, which sends a byte with each."""
    file = os.memfd_create(SENT)
    for fd in (host.control_fd, host.stream_fd):
        for _ in range(200):
            send_handle(Connection(os.dup(fd)), file, os.getppid())


def leaves_a_writer_behind(host):
    """A process of another group, with both Pipes, which writes for ever; then the host dies."""
    writes = (
        "import os, sys\n"
        "data = bytes.fromhex(sys.argv[2]) * 1000\n"
        "while True: os.write(int(sys.argv[1]), data)"
    )
    good = frame(STREAM, host.number, b"still here").hex()
    subprocess.Popen(
        [sys.executable, "-c", writes, str(host.stream_fd), good],
        pass_fds=(host.stream_fd, host.control_fd),
        start_new_session=True,
    )
    host.kernel.receive()
    os._exit(3)


def dies_in_a_frame(host):
    host.raw(frame(STREAM, host.number, b"half", length=1000))
    os._exit(4)
