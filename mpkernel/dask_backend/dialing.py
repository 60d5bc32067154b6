"""`dial`: opens a connection to a worker of Dask, on the worker's own address.

`distributed.core.connect` and `Comm.read` are not used. They unpickle what the worker says,
whatever `deserialize` is, and they allocate as many bytes as a header of 8 bytes asks for. Here a
message is bounded, and msgpack alone reads it. What comes after the answer is for the caller to
read, from `comm.stream`.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgpack
from distributed.comm.addressing import parse_address
from distributed.comm.registry import get_backend
from distributed.comm.tcp import TCP
from distributed.security import Security

from mpkernel.errors import ProtocolError

__all__ = ["dial"]

_MAX_MESSAGE_BYTES = 64 * 1024
_MAX_FRAMES = 16
_LENGTH = struct.Struct("<Q")


async def dial(
    address: str,
    operation: str,
    security: Security,
    *,
    timeout_s: float,
    arguments: Mapping[str, str] = MappingProxyType({}),
) -> tuple[TCP, object]:
    """Connect to a worker, and have it call one of its handlers.

    Args:
        address: the worker's, as the scheduler gives it.
        operation: the handler's name in the worker's `handlers`.
        security: the client's.
        timeout_s: how long all of it may take.
        arguments: what the handler is given. Default: nothing.

    Returns:
        The connection, and the first message of the handler. The caller closes the connection.

    Raises:
        OSError: the worker cannot be reached, or ended the connection.
        TimeoutError: the worker did not answer in time.
        ProtocolError: what answers is no worker of Dask, or does not follow its protocol.
    """
    scheme, location = parse_address(address)
    if scheme not in ("tcp", "tls"):
        raise ProtocolError(
            f"the worker {address} does not speak TCP or TLS",
            remedy="start the workers with --protocol tcp or tls",
        )
    connector = get_backend(scheme).get_connector()
    async with asyncio.timeout(timeout_s):
        comm = await connector.connect(
            location, deserialize=False, **security.get_connection_args("worker")
        )
        try:
            hello = await _read(comm, address)
            if not isinstance(hello, dict) or not isinstance(hello.get("pickle-protocol"), int):
                raise ProtocolError(f"what answers at {address} is no worker of Dask")
            comm.handshake_options = {"pickle-protocol": 5, "compression": None}
            # The worker's own greeting, without compression, is a greeting that it understands.
            await comm.write(
                {
                    "compression": None,
                    "pickle-protocol": hello["pickle-protocol"],
                    "python": hello.get("python"),
                }
            )
            await comm.write({"op": operation, "reply": True, **arguments})
            return comm, await _read(comm, address)
        except BaseException:
            comm.abort()
            raise


async def _read(comm: TCP, address: str) -> Any:
    """One message of distributed's: how many bytes follow, how many frames, how long each is, and
    the frames. The first is the message; the others are what is pickled in it."""
    (size,) = _LENGTH.unpack(await comm.stream.read_bytes(_LENGTH.size))
    if size > _MAX_MESSAGE_BYTES:
        raise ProtocolError(
            f"the worker {address} sends a message of {size} bytes,"
            f" at most {_MAX_MESSAGE_BYTES} are allowed"
        )
    body = memoryview(await comm.stream.read_bytes(size))
    try:
        (count,) = _LENGTH.unpack_from(body)
        if not 1 <= count <= _MAX_FRAMES:
            raise ValueError(f"{count} frames")
        lengths = struct.unpack_from(f"<{count}Q", body, _LENGTH.size)
        start = _LENGTH.size * (count + 1)
        if start + sum(lengths) != size:
            raise ValueError("the lengths of the frames do not fit")
        return msgpack.unpackb(body[start : start + lengths[0]], strict_map_key=False)
    except (ValueError, struct.error, msgpack.UnpackException, RecursionError) as error:
        raise ProtocolError(
            f"the worker {address} sends what is no message of Dask's: {error!r}"
        ) from error
