"""Valid frames, both ways: every message and every channel. What `mutation` starts from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from mpkernel.kernel import messages as kernel_messages
from mpkernel.wire import messages as m
from mpkernel.wire.frames import Channel

__all__ = [
    "CLIENT",
    "CONTROL",
    "PREFIX",
    "STREAM",
    "Template",
    "down",
    "first_down",
    "first_up",
    "up",
]

CONTROL, STREAM, CLIENT = 0, 1, 2
"""Where a piece of an input goes: into a Pipe, or to what a client does (`server_target`)."""

PREFIX = "mpk-0-0-0-placeholder---"
"""In an input, how the names of the host's blocks begin; replaced by what they do begin with."""

_SESSIONS = 4


class Template(NamedTuple):
    """A frame before it is mutated: a management message as its fields, or a payload."""

    pipe: int
    channel: int
    session: int
    payload: dict[str, Any] | bytes


def first_up() -> list[list[Template]]:
    """What a host says first; sometimes it comes late."""
    ready = _to_server(m.Ready(4711), CONTROL)
    return [[ready], []]


def up() -> list[list[Template]]:
    """What a host says, in sequences as a host says it."""
    sequences = [
        [_to_server(m.WantConsole()), _to_server(m.WantConsole())],
    ]
    for session in range(1, _SESSIONS + 1):
        created = _to_server(m.KernelCreated(140_000_000_000_000 + session), session=session)
        outputs = [
            Template(STREAM, Channel.STREAM, session, kernel_messages.encode(message))
            for message in _outputs()
        ]
        progress = [
            _to_server(m.Running(begun, done), session=session)
            for begun, done in ((1, 0), (2, 0), (3, 0), (3, 1), (3, 3))
        ]
        sequences += [
            [created, *outputs],
            outputs * 6,
            [created, *progress[:3], *outputs],
            [_to_server(m.Credit(100), session=session), *outputs, *progress[:2]],
            _files(session),
            [*outputs, *_notifications(session)],
        ]
    sequences *= 8
    # Rare: what can be said once, or ends a session, or the host.
    sequences.append(progress)
    sequences.append([_to_server(m.Pong(1), CONTROL)])
    sequences.append([_to_server(m.Ready(4711), CONTROL)])
    sequences.append([_to_server(m.Warmed(["numpy", "pandas"], slowed=False), CONTROL)])
    sequences.append(
        [_to_server(m.WantDrain("3 threads of closed sessions still wait in this process"))]
    )
    sequences.append([_to_server(m.KernelExited(), session=_SESSIONS)])
    sequences.append([_to_server(m.KernelExited("Traceback…\nZeroDivisionError"), session=2)])
    return sequences


def first_down() -> list[list[Template]]:
    """What a server says first, to a fresh host and to one that was a standby."""
    files = m.FileStorage("shared_memory", "temp_file", 1 << 24, 1 << 26, 1 << 20, 30.0)
    first = [
        _to_host(m.Setup("/nowhere/app.py", ["app.py"], 1 << 22, 1 << 26, files, _STOPPING)),
        *(_create(number, entry) for number, entry in enumerate(_ENTRIES[:_SESSIONS], start=1)),
    ]
    return [*[first] * 9, [_WARM, *first]]


def down() -> list[list[Template]]:
    """What a server says afterwards, in sequences as a server says it."""
    files_freed = m.FilesFreed(["a" * 22 + ".png", "b"])
    sequences = [
        [_to_host(m.Ping(number)) for number in range(1, 5)],
        [_to_host(m.ConsoleText("stderr", "oh\n", 12.5)), _to_host(files_freed)],
        [_to_host(files_freed), _to_host(m.GiveUpFree())],
    ]
    for session in range(1, _SESSIONS + 1):
        commands = [
            Template(CONTROL, channel, session, kernel_messages.encode(command))
            for channel, command in (
                (Channel.CONTROL, kernel_messages.RunApp()),
                (Channel.CONTROL, kernel_messages.Execute("1 / 0", "cell")),
                (Channel.UI_ELEMENT, kernel_messages.SetValues({"n": 3})),
                (Channel.COMPLETION, kernel_messages.Complete(1, "pri", 3)),
                (Channel.INPUT, kernel_messages.Answer("yes")),
            )
        ]
        credit = _to_host(m.Credit(64), session=session)
        sequences += [[*commands, credit], commands * 4, [credit, *commands * 3]]
    sequences *= 8
    for number, entry in enumerate(_ENTRIES, start=_SESSIONS + 1):
        stop = _to_host(m.StopKernel(0.0), session=number)
        sequences.append([_create(number, entry), *sequences[4], stop])
    # Rare, for they end the host.
    sequences.append([_WARM])
    sequences.append([_to_host(m.Shutdown())])
    return sequences


_STOPPING = m.Stopping(0.05, 2)
_ENTRIES = tuple(
    f"tests.fuzz.kernels:{name}"
    for name in ("echo", "files", "redirected", "flood", "console", "failing", "missing")
)


def _to_server(message: m.UpMessage, pipe: int = STREAM, *, session: int = 0) -> Template:
    return Template(pipe, Channel.MANAGEMENT, session, _fields(message))


def _to_host(message: m.DownMessage, *, session: int = 0) -> Template:
    return Template(CONTROL, Channel.MANAGEMENT, session, _fields(message))


def _create(number: int, entry: str) -> Template:
    return _to_host(m.CreateKernel(f"s{number}", entry, b"\0\xff", 1 << 16), session=number)


def _fields(message: msgspec.Struct) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(message, builtin_types=(bytes,))
    return fields


_WARM = _to_host(m.Warm(["json", "tests.fuzz.kernels"], at_low_priority=True))


def _outputs() -> Sequence[kernel_messages.Message]:
    return (
        kernel_messages.Status("busy"),
        kernel_messages.Console("stdout", "hello\n" * 20, "cell"),
        kernel_messages.Outputs("cell", [kernel_messages.Figure("text/plain", "42")]),
        kernel_messages.Done("cell", 0.1, "ok"),
        kernel_messages.Status("idle"),
    )


def _files(session: int) -> list[Template]:
    block = m.FileStored("k" * 22, "block", PREFIX + "1", 300, "image/png")
    temp_file = m.FileStored("t" * 22, "temp_file", f"/tmp/{PREFIX}x/0", 5, "text/plain")
    return [
        _to_server(block, session=session),
        _to_server(m.FileRemoved(block.key), session=session),
        _to_server(temp_file, session=session),
        _to_server(m.FileRemoved(temp_file.key), session=session),
        _to_server(m.ShortOfMemory()),
        _to_server(block, session=session),
    ]


def _notifications(session: int) -> list[Template]:
    """What marimo's journal reads of its kernel's output."""
    return [
        Template(STREAM, Channel.STREAM, session, payload)
        for payload in (
            b'{"op":"mpkernel-widget","model_id":"m","object_id":"Hbol-0"}',
            b'{"op":"remove-ui-elements","cell_id":"Hbol"}',
            b'{"op":"completed-run"}',
        )
    ]
