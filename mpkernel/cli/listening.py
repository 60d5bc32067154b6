"""Whether the server can listen where it is told to, before marimo says that it serves there."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from mpkernel.errors import MPKernelError

__all__ = ["check_listening"]

_OF_THIS_MACHINE = "127.0.0.1"


def check_listening(options: Sequence[str]) -> None:
    """Refuse an address that the server cannot have.

    Args:
        options: of `mpkernel run`. Without `--port` only the address of `--host` is tried: marimo
            then looks for a free port of it. A port that is not a number is left to marimo's error.

    Raises:
        MPKernelError: the port is in use, is none or is not for this user, or this machine does not
            have the address.
    """
    given = _value(options, "--port", "-p")
    try:
        port = int(given or "0")
    except ValueError:
        return
    if not 0 <= port < 1 << 16:
        raise MPKernelError(
            f"{given} is not a port", remedy="choose one from 1 to 65535 with --port"
        )
    host = _value(options, "--host")
    if host == "":  # the server would listen on every address
        raise MPKernelError(
            "--host is empty",
            remedy="leave --host out for this machine alone, or name 0.0.0.0 for all others",
        )
    host = (host or _OF_THIS_MACHINE).strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        raise _refused(host, port, error) from error


def _refused(host: str, port: int, error: OSError | UnicodeError) -> MPKernelError:
    if not isinstance(error, OSError):  # no name of a machine can be so
        return MPKernelError(f"{host} is not an address: {error}", remedy="choose one with --host")
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return MPKernelError(
            f"{host} is not an address of this machine: {error.strerror}",
            remedy="leave --host out for this machine alone, or name 0.0.0.0 for all others",
        )
    if error.errno == errno.EADDRINUSE:
        return MPKernelError(
            f"port {port} on {host} is in use",
            remedy="choose another with --port, or leave it out; `mpkernel status` shows your"
            " servers, and `ss -ltnp` the program that has the port",
        )
    if error.errno == errno.EACCES:
        return MPKernelError(
            f"port {port} on {host} is not for this user",
            remedy="choose one from 1024 up with --port",
        )
    return MPKernelError(
        f"port {port} on {host} cannot be had: {error}", remedy="choose others with --port, --host"
    )


def _value(options: Sequence[str], *names: str) -> str | None:
    """The value of an option; the last one if it is repeated, as marimo takes it."""
    value = None
    for position, option in enumerate(options):
        name, separator, text = option.partition("=")
        if name in names:
            value = text if separator else next(iter(options[position + 1 : position + 2]), None)
    return value
