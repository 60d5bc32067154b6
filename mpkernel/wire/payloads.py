"""Checks what a caller passes as the payload and the channel of a message."""

from __future__ import annotations

from mpkernel.wire.frames import Channel

__all__ = ["checked_channel", "checked_payload"]

_MANAGEMENT = Channel.MANAGEMENT  # to look it up for each message would take longer than the rest


def checked_payload(payload: object) -> bytes:
    """The bytes of a payload. Other than bytes it is copied: a `memoryview` may have items of
    several bytes, and a `bytearray` may change while it waits to be sent.

    Raises:
        TypeError: it is something else, a string for example.
    """
    if type(payload) is bytes:
        return payload
    try:
        return bytes(memoryview(payload))  # type: ignore[arg-type]
    except TypeError as error:
        raise TypeError(
            f"the payload of a message must be bytes, not {type(payload).__name__}; for a text,"
            " send text.encode()"
        ) from error


def checked_channel(channel: object) -> Channel:
    """The channel of a message, which may be given as its number.

    Raises:
        TypeError: there is no such channel, or it is not for users: the other side would end the
            process with all its sessions.
    """
    if type(channel) is Channel and channel is not _MANAGEMENT:
        return channel
    found = _channel_of(channel)
    if found is _MANAGEMENT:
        raise TypeError("Channel.MANAGEMENT is mpkernel's own: choose another channel")
    return found


def _channel_of(number: object) -> Channel:
    try:
        return Channel(number)  # type: ignore[arg-type]
    except ValueError as error:
        raise TypeError(
            f"the channel of a message must be a member of mpkernel.Channel, not {number!r}"
        ) from error
