"""An app whose code has got hold of its process's Pipes, and means no good.

`attack` is the entry of a session; `kernel.args` says which attack, one of this module's functions.
Each gets the descriptors of both Pipes and the session's number.
"""

from __future__ import annotations

import array
import contextlib
import gc
import os
import socket
import struct
import subprocess
import sys
import threading
import time

from mpkernel.host.kernel import hosted_half
from mpkernel.host.main import Dispatcher
from mpkernel.wire.messages import (
    Credit,
    FileRemoved,
    FileStored,
    KernelCreated,
    KernelExited,
    NotPrepared,
    Pong,
    Prepared,
    Preparing,
    Ready,
    Running,
    WantConsole,
    WantDrain,
    Warmed,
    encode,
)
from shm.names import own_tag, tag_of

MANAGEMENT, CONTROL, STREAM = 0, 1, 5


def echo(kernel):
    kernel.send(str(os.getpid()).encode())
    for message in kernel:
        kernel.send(message.payload)


def attack(kernel):
    """Say that it is there, wait for a word, attack, stay."""
    [dispatcher] = [one for one in gc.get_objects() if type(one) is Dispatcher]
    name = kernel.args.decode()
    kernel.send(b"here")
    kernel.receive()
    globals()[name](Host(kernel, dispatcher))
    with contextlib.suppress(OSError):
        kernel.send(b"attacked")
    threading.Event().wait()


def idle(kernel):
    kernel.send(b"here")
    threading.Event().wait()


class Host:
    """What an attack has in its hands: the process's Pipes, and the session's number."""

    def __init__(self, kernel, dispatcher):
        self.kernel = kernel
        self.number = hosted_half(kernel).number
        self.dispatcher = dispatcher
        self.control_fd = dispatcher._control_fd
        self.stream_fd = dispatcher._stream_fd

    def raw(self, data, fd=None):
        fd = self.stream_fd if fd is None else fd
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    def say(self, message, session=None):
        self.raw(management(message, self.number if session is None else session))

    def flood(self, data, fd=None):
        """Write these frames for ever, many in one write."""
        many = data * max(1, 65536 // len(data))
        while True:
            self.raw(many, fd)

    def stop_dispatcher(self):
        """Stop the host from reading the control Pipe."""
        self.dispatcher._read = threading.Event().wait


def frame(channel, session, payload=b"", *, length=None):
    body = len(payload) + 5 if length is None else length
    return struct.pack("!iBI", body, channel, session) + payload


def management(message, session):
    return frame(MANAGEMENT, session, encode(message))


# Bytes that are not frames.


def garbage(host):
    host.raw(os.urandom(2**20) + b"\xff" * 65536)


def garbage_on_control(host):
    host.raw(b"\xff" * 65536, host.control_fd)


def truncated_frame(host):
    host.raw(frame(STREAM, host.number, b"half of it", length=1000))


def over_the_limit(host):
    host.raw(frame(STREAM, host.number, length=2**31 - 1))


def eight_byte_length(host):
    host.raw(struct.pack("!iQ", -1, 2**63) + b"x" * 100)


def negative_length(host):
    host.raw(struct.pack("!iBI", -5, STREAM, host.number))


def too_short(host):
    host.raw(struct.pack("!i", 0) * 100)


def never_ending(host):
    """Write a frame of the largest size, a byte at a time, while no other thread can write."""
    host.raw(frame(STREAM, host.number, b"x", length=4 * 2**20))
    while True:
        host.raw(b"x")
        time.sleep(0.05)


def unknown_channel(host):
    host.raw(frame(77, host.number, b"hello"))


# Frames that are not messages.


def no_msgpack(host):
    host.raw(frame(MANAGEMENT, host.number, b"\xc1\xc1\xc1"))


def wrong_type(host):
    host.raw(frame(MANAGEMENT, host.number, b"\x82\xa4type\xa6credit\xa5bytes\xa3ten"))


def unknown_type(host):
    host.raw(frame(MANAGEMENT, host.number, b"\x81\xa4type\xa8explode!"))


def message_for_a_host(host):
    host.raw(frame(MANAGEMENT, 0, b"\x81\xa4type\xa8shutdown"))


def deep_nesting(host):
    host.raw(frame(MANAGEMENT, 0, b"\x82\xa4type\xa5ready\xa1x" + b"\x91" * 100_000 + b"\xc0"))


def no_text(host):
    host.raw(frame(MANAGEMENT, 0, b"\x82\xa4type\xaawant_drain\xa6reason\xa2\xff\xfe"))


def pickled(host):
    import pickle

    class Bomb:
        def __reduce__(self):
            return os._exit, (66,)

    for channel in (MANAGEMENT, STREAM):
        host.raw(frame(channel, host.number, pickle.dumps(Bomb())))


# Messages that make no sense.


def ready_again(host):
    host.say(Ready(os.getpid()), session=0)


def ready_as_another(host):
    host.say(Ready(1), session=0)


def pong_never_asked(host):
    for number in range(100):
        host.say(Pong(2**40 + number), session=0)


def warmed(host):
    host.say(Warmed(["os"], False), session=0)


def preparing(host):
    host.say(Preparing("what users must believe"), session=0)


def prepared(host):
    host.say(Prepared(), session=0)


def not_prepared(host):
    host.say(NotPrepared("what users must believe", ""), session=0)


def negative_credit(host):
    host.raw(frame(MANAGEMENT, host.number, b"\x82\xa4type\xa6credit\xa5bytes\xff"))


def huge_credit(host):
    for _ in range(1000):
        host.say(Credit(2**53))


def commands_out_of_order(host):
    host.say(Running(2, 1))
    host.say(Running(1, 1))
    host.say(Running(0, 0))


def more_commands_than_were_sent(host):
    host.say(Running(2**53, 2**53))


def created_twice(host):
    for thread in (1, 2, 3):
        host.say(KernelCreated(thread))


def ended_before_it_was_opened(host):
    host.say(KernelExited(), session=host.number + 1)


def session_that_there_is_not(host):
    host.raw(frame(STREAM, 2**32 - 1, b"hello"))


def session_of_the_host_itself(host):
    host.raw(frame(STREAM, 0, b"hello"))


def files_of_a_session_that_there_is_not(host):
    place = f"{own_tag().prefix}0"
    host.say(FileStored("forged", "block", place, 1, "text/plain"), session=99)


def ends_another_session(host):
    """Within one process there is no boundary: the other session ends, and no more."""
    for number in range(1, host.number):
        host.say(KernelExited("ended by another"), session=number)


def endless_reason(host):
    """One message as large as may be, and one with lines of its own for the log."""
    host.say(WantDrain("because\nCRITICAL forged line " * 100_000), session=0)


def endless_error(host):
    host.say(KernelExited("x" * 3_000_000))


# Places that are not its own.


def files_elsewhere(host):
    """Names of blocks and files of the server, of its parent's, of nobody's; links; lengths."""
    own, server = own_tag().prefix, tag_of(os.getppid()).prefix
    folder = f"/tmp/{own}x"
    os.makedirs(folder, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.symlink("/etc/passwd", f"{folder}/link")
        os.mkfifo(f"{folder}/fifo")
        os.symlink("/etc/passwd", f"/dev/shm/{own}link")
    announced = [
        ("block", f"{server}0"),
        ("block", f"{own}../../etc/passwd"),
        ("block", f"../etc/passwd/{own}"),
        ("block", f"{own}link"),
        ("block", f"{own}" + "x" * 100_000),
        ("block", f"{own}\0"),
        ("temp_file", "/etc/passwd"),
        ("temp_file", f"/tmp/{own}x/../../etc/passwd"),
        ("temp_file", f"/tmp/{server}x/passwd"),
        ("temp_file", f"{folder}/link"),
        ("temp_file", f"{folder}/fifo"),
        ("temp_file", folder),
        ("temp_file", f"{folder}/\0"),
        ("temp_file", f"/dev/shm/{own}link"),
    ]
    for number, (kind, place) in enumerate(announced):
        for size in (10, 2**46):
            host.say(FileStored(f"forged{number}-{size}", kind, place, size, "text/plain"))


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


# Floods.


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
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
    with socket.socket(fileno=os.dup(host.stream_fd)) as end:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
        for _ in range(200):
            end.sendmsg([frame(STREAM, host.number, b"with descriptors")], ancillary)


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
