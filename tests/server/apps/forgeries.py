"""Attacks by what a host says: bytes, messages and places that the server must not believe."""

from __future__ import annotations

import contextlib
import os
import struct
import time

from taken_host import MANAGEMENT, STREAM, frame

from mpkernel.wire.before_host import NotPrepared, Prepared, Preparing
from mpkernel.wire.messages import (
    Credit,
    FileStored,
    KernelCreated,
    KernelExited,
    Pong,
    Ready,
    Running,
    WantDrain,
    Warmed,
)
from shm.names import own_tag, tag_of

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
