"""`claim`: the connections to the worker that has a lease, one for each of its `ROLES`."""

from __future__ import annotations

import asyncio
import socket

from distributed.comm.tcp import TCP
from distributed.security import Security

from mpkernel.dask_backend.dialing import dial
from mpkernel.dask_backend.lease import HANDLER, ROLES
from mpkernel.dask_backend.pending_lease import PendingLease
from mpkernel.dask_backend.pumping import pump_to_end
from mpkernel.errors import ClusterError, ProtocolError

__all__ = ["claim"]

_DIAL_S = 10.0


async def claim(lease: PendingLease, address: str, security: Security) -> list[socket.socket]:
    """Connect to a worker for a lease. On the client's loop.

    Args:
        lease: which. A connection that is encrypted goes on in its `pumping`.
        address: the worker's.
        security: the client's.

    Returns: the connections in the order of `ROLES`.

    Raises:
        ClusterError: the worker cannot be reached, or does not have the lease any more.
    """
    claims = (_claim(lease, address, security, role) for role in ROLES)
    found = await asyncio.gather(*claims, return_exceptions=True)
    socks = [one for one in found if isinstance(one, socket.socket)]
    if len(socks) < len(ROLES):
        for sock in socks:
            sock.close()
        raise next(one for one in found if isinstance(one, BaseException))
    return socks


async def _claim(lease: PendingLease, address: str, security: Security, role: str) -> socket.socket:
    try:
        comm, answer = await dial(
            address,
            HANDLER,
            security,
            timeout_s=_DIAL_S,
            arguments={"ticket": lease.ticket, "role": role},
        )
    except (OSError, TimeoutError, ProtocolError) as error:
        raise ClusterError(
            f"the worker {address} could not be reached: {error or type(error).__name__}",
            remedy="let the server reach the workers' own addresses, not only the scheduler's",
        ) from error
    if not isinstance(answer, dict) or answer.get("claimed") is not True:
        comm.abort()
        raise ClusterError(
            f"the worker {address} refuses the app: {str(answer)[:200]}", remedy="try again"
        )
    if type(comm) is TCP:
        sock: socket.socket = comm.stream.socket.dup()
        comm.abort()
        return sock
    ours, theirs = socket.socketpair()
    lease.pumping.append(asyncio.create_task(pump_to_end(comm, theirs)))
    return ours
