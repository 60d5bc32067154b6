"""`greet`: what `mpkernel run` says when it serves."""

from __future__ import annotations

import contextlib
import socket
import sys
from urllib.parse import urlsplit

from mpkernel.cli.screen import Style, screen

__all__ = ["greet"]


_THEN = "Ctrl-C ends it; mpkernel status, in another terminal, shows it"


def greet(what: str, url: str, *, network: bool, then: str = _THEN) -> None:
    """Say what is served, where, and what can be done next.

    Args:
        what: is served.
        url: of this machine.
        network: whether other machines reach it, too.
        then: what can be done.
    """
    here = url.replace("//0.0.0.0", "//localhost", 1)
    urls = [here, *(_elsewhere(url) if network else [])]
    lines: list[tuple[str, Style]] = [
        (f"mpkernel serves {what}", "good"),
        *((one, "head") for one in urls),
        (then, "quiet"),
    ]
    to = screen()
    said = "".join(f"  {to.paint(text, style)}\n" for text, style in lines)
    with contextlib.suppress(BrokenPipeError):  # a server goes on when nobody reads its greeting
        sys.stdout.write(f"\n{said}\n")
        sys.stdout.flush()


def _elsewhere(url: str) -> list[str]:
    """The URL for other machines: with this machine's address in its network, if it has one."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 1))  # sends nothing; the system chooses an own address
            address = probe.getsockname()[0]
    except OSError:
        return []
    parts = urlsplit(url)
    port = "" if parts.port is None else f":{parts.port}"
    return [parts._replace(netloc=f"{address}{port}").geturl()]
