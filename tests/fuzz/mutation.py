"""Frames that a peer should not send: from valid ones, by chance, and again from the same seed.

A frame's damage is of one of two kinds. Most leave it a frame, and a message of its type: other
values, other sessions, other channels, another order. Few break it: then nothing that follows in
the same input is read, so these are rare (`breaking`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

from tests.fuzz.corpus import CLIENT, CONTROL, STREAM, Template
from tests.fuzz.inputs import Input
from tests.fuzz.values import FLOATS, HOSTILE_INTEGERS, INTEGERS, STRINGS

__all__ = ["Mutator"]

_header = struct.Struct("!iBI")
_encode = msgspec.msgpack.Encoder().encode

# Another value of these breaks the frame, or wastes time.
_FIXED = ("type", "kind", "stream", "entry", "app", "done")


class Mutator:
    """Makes inputs.

    Args:
        random: where chance comes from.
        sequences: valid ones.
        firsts: one of these goes before them, seldom mutated. Default: nothing.
        has_client: whether a client acts in between.
        forged: how many of the sessions that a frame is moved to were not given out. Default 0.3.
        breaking: how many of all frames are broken. Default 0.002.
    """

    def __init__(
        self,
        random: Random,
        sequences: Sequence[Sequence[Template]],
        firsts: Sequence[Sequence[Template]] = ((),),
        *,
        has_client: bool = False,
        forged: float = 0.3,
        breaking: float = 0.002,
    ) -> None:
        self._random = random
        self._sequences = sequences
        self._firsts = firsts
        self._has_client = has_client
        self._forged = forged
        self._breaking = breaking

    def input(self) -> Input:
        """Make the input for one life of a peer."""
        random = self._random
        templates = self._templates(random.choice((10, 50, 200, 600)))
        untouched = random.choice(self._firsts)
        if random.random() < 0.03:
            templates, untouched = [*untouched, *templates], ()
        first = [(one.pipe, _frame_of(one)) for one in untouched]
        frames = [(one.pipe, self.frame(one)) for one in templates]
        if random.random() < 0.02:
            pipe, channel, session = frames[-1][0], random.randrange(1, 6), self._session()
            large = _header.pack(300_005, channel, session) + random.randbytes(100) * 3000
            frames.insert(random.randrange(len(frames)), (pipe, large))
        return self._in_pieces(first, frames)

    def frame(self, template: Template) -> bytes:
        """One frame, mutated."""
        random = self._random
        _, channel, session, payload = template
        roll = random.random()
        if roll < self._breaking:
            return random.choice(_BREAKING)(self, template)
        if isinstance(payload, dict):
            if roll < 0.8 and len(payload) > 1:
                data = _encode(self._with_another_value(payload))
            else:
                session, data = self._session(), _encode(payload)
        elif roll < 0.35:
            data = self._flipped(payload)
        elif roll < 0.55:
            data = payload[: random.randrange(len(payload) + 1)] * random.randrange(3)
        elif roll < 0.8:
            session, data = self._session(), payload
        else:
            channel, data = random.randrange(1, 6), payload
        return _header.pack(len(data) + 5, channel, session) + data

    def _templates(self, count: int) -> list[Template]:
        random = self._random
        templates: list[Template] = []
        while len(templates) < count:
            sequence = random.choice(self._sequences)
            begin = random.randrange(len(sequence)) if random.random() < 0.3 else 0
            templates += sequence[begin:]
        if random.random() < 0.3:  # in another order
            begin = random.randrange(len(templates))
            part = templates[begin : begin + 20]
            random.shuffle(part)
            templates[begin : begin + 20] = part
        if random.random() < 0.3:  # some twice
            begin = random.randrange(len(templates))
            templates[begin:begin] = templates[begin : begin + random.randrange(1, 10)]
        return templates

    def _in_pieces(self, first: list[tuple[int, bytes]], frames: list[tuple[int, bytes]]) -> Input:
        """Divide frames into reads: mostly many frames in each, sometimes cut anywhere. Between two
        reads, clients may act."""
        random = self._random
        pieces = [(CONTROL, b"".join(data for _, data in first))] if first else []
        counts = [0] * len(pieces)
        all_on_one = STREAM if random.random() < 0.7 else None
        step = random.choice((1, 5, 20, 60, 300))
        begin = 0
        while begin < len(frames):
            end = min(len(frames), begin + random.randrange(1, step + 1))
            by_pipe: dict[int, list[bytes]] = {}
            for pipe, data in frames[begin:end]:
                if self._has_client and all_on_one is not None:
                    pipe = all_on_one
                by_pipe.setdefault(pipe, []).append(data)
            for pipe, parts in by_pipe.items():
                self._add_cut(pieces, counts, pipe, b"".join(parts), len(parts))
            if self._has_client:
                pieces.append((CLIENT, random.randbytes(6)))
                counts.append(0)
            begin = end
        return Input(pieces, counts)

    def _add_cut(
        self, pieces: list[tuple[int, bytes]], counts: list[int], pipe: int, data: bytes, count: int
    ) -> None:
        if self._random.random() < 0.2:
            cut = self._random.randrange(len(data) + 1)
            pieces.append((pipe, data[:cut]))
            counts.append(0)
            data = data[cut:]
        pieces.append((pipe, data))
        counts.append(count)

    def _session(self) -> int:
        random = self._random
        if random.random() > self._forged:
            return random.randrange(1, 5)
        return random.choice((0, random.randrange(13), 2**32 - 1, random.getrandbits(32)))

    def _with_another_value(self, fields: dict[str, Any]) -> dict[str, Any]:
        random = self._random
        name = random.choice(list(fields)[1:])
        if name in _FIXED and random.random() > self._breaking:
            return fields
        return {**fields, name: self._another(fields[name])}

    def _another(self, value: object) -> object:
        random = self._random
        match value:
            case bool():
                return not value
            case int():
                if random.random() < self._breaking:
                    return random.choice(HOSTILE_INTEGERS)
                return random.choice((random.choice(INTEGERS), random.randrange(5), value + 1))
            case float():
                return random.choice(FLOATS[:5] if random.random() < 0.9 else FLOATS)
            case str():
                return random.choice((random.choice(STRINGS), value + "x", value * 3))
            case bytes():
                return self._flipped(value)
            case list():
                return [self._another("") for _ in range(random.choice((0, 1, 3, 50)))]
            case dict():
                return self._with_another_value(value)
            case _:
                return random.choice((None, 0, 7, "text"))

    def _flipped(self, data: bytes) -> bytes:
        random = self._random
        flipped = bytearray(data)
        for _ in range(random.choice((1, 1, 1, 4, 16)) if data else 0):
            flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
        return bytes(flipped)

    # What breaks a frame.

    def _another_type(self, template: Template) -> bytes:
        fields = _fields_of(template)
        fields[self._random.choice(list(fields))] = self._random.choice(
            (None, True, -1, 1.5, "text", b"bytes", [], [[]], {}, {"a": {}}, {1: 2}, 2**64 - 1)
        )
        return self._managed(template, _encode(fields))

    def _hostile_value(self, template: Template) -> bytes:
        fields = _fields_of(template)
        name = self._random.choice(list(fields))
        values: tuple[object, ...] = (*HOSTILE_INTEGERS, *FLOATS)
        fields[name] = self._random.choice(values)
        return self._managed(template, _encode(fields))

    def _other_fields(self, template: Template) -> bytes:
        fields = _fields_of(template)
        if self._random.random() < 0.5:
            del fields[self._random.choice(list(fields))]
        else:
            fields[self._random.choice(("type", "", "more", "x" * 200))] = "pong"
        return self._managed(template, _encode(fields))

    def _of_the_other_side(self, template: Template) -> bytes:
        tags = ("shutdown", "ready", "pong", "ping", "warm", "warmed", "setup", "credit", "exited")
        fields = _fields_of(template) | {"type": self._random.choice(tags)}
        return self._managed(template, _encode(fields))

    def _deeply_nested(self, template: Template) -> bytes:
        depth = self._random.choice((10, 500, 1100, 50_000))
        nest = self._random.choice((b"\x91", b"\x81\0", b"\x81\x91\0")) * depth + b"\0"
        head = b"\x82\xa4type" + _encode(_fields_of(template).get("type", "pong")) + b"\xa4more"
        return self._managed(template, head + nest)

    def _false_length_inside(self, template: Template) -> bytes:
        data = bytearray(_encode(_fields_of(template)))
        at = self._random.randrange(len(data))
        data[at : at + 1] = self._random.choice(
            (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\x7f\xff\xff\xff", b"\xc1")
        )
        return self._managed(template, bytes(data))

    def _damaged(self, template: Template) -> bytes:
        data = self._flipped(_encode(_fields_of(template)))
        if self._random.random() < 0.3:
            data = data[: self._random.randrange(len(data))]
        return self._managed(template, data)

    def _false_header(self, template: Template) -> bytes:
        frame = _frame_of(template)
        random, size = self._random, len(frame) - 4
        length = random.choice((-1, -(2**31), 0, 4, 5, 2**31 - 1, 2**22, 2**28, size - 1, size + 9))
        channel = random.choice((template.channel, random.randrange(256)))
        return _header.pack(length, channel, self._session()) + frame[9:]

    def _cut_off(self, template: Template) -> bytes:
        frame = _frame_of(template)
        return frame[: self._random.randrange(len(frame))]

    def _noise(self, template: Template) -> bytes:
        return self._random.randbytes(self._random.randrange(1, 60))

    def _on_another_channel(self, template: Template) -> bytes:
        data = template.payload if isinstance(template.payload, bytes) else b"\x80"
        return _header.pack(len(data) + 5, 0, template.session) + data

    def _managed(self, template: Template, data: bytes) -> bytes:
        return _header.pack(len(data) + 5, 0, template.session) + data


_BREAKING: tuple[Callable[[Mutator, Template], bytes], ...] = (
    Mutator._another_type,
    Mutator._hostile_value,
    Mutator._other_fields,
    Mutator._of_the_other_side,
    Mutator._deeply_nested,
    Mutator._false_length_inside,
    Mutator._damaged,
    Mutator._false_header,
    Mutator._cut_off,
    Mutator._noise,
    Mutator._on_another_channel,
)


def _fields_of(template: Template) -> dict[str, Any]:
    if isinstance(template.payload, dict):
        return dict(template.payload)
    return {"type": "credit", "bytes": 1}


def _frame_of(template: Template) -> bytes:
    payload = template.payload
    data = payload if isinstance(payload, bytes) else _encode(payload)
    return _header.pack(len(data) + 5, template.channel, template.session) + data
