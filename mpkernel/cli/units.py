"""`text_of`: a unit for systemd, each line with what it is for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

__all__ = ["Unit", "text_of"]

_Lines: TypeAlias = tuple[tuple[str, str], ...]
"""What a line is for, and the line."""


class Unit(NamedTuple):
    """What a unit is made of.

    Attributes:
        name, user, memory: as the options say.
        folder: where it runs.
        command: the words of its command.
        stop_s: how long it may take to stop.
    """

    name: str
    user: str
    memory: str
    folder: str
    command: tuple[str, ...]
    stop_s: int


def text_of(unit: Unit) -> str:
    sections = {
        "Unit": _unit_lines(),
        "Service": _service_lines(unit),
        "Install": (("start it with the machine", "WantedBy=multi-user.target"),),
    }
    return "\n".join(
        "\n".join([f"[{section}]", *(f"# {reason}\n{line}" for reason, line in lines), ""])
        for section, lines in sections.items()
    )


def _unit_lines() -> _Lines:
    return (
        ("what `systemctl status` calls it", "Description=Notebooks, served by mpkernel"),
        ("stop before the network does: pages are told", "After=network.target"),
        ("where it cannot start, give up after this many starts", "StartLimitBurst=5"),
        ("within this many seconds", "StartLimitIntervalSec=60"),
    )


def _service_lines(unit: Unit) -> _Lines:
    return (
        *_running_lines(unit),
        *_stopping_lines(unit),
        *_bounding_lines(unit),
        *_hardening_lines(),
    )


def _running_lines(unit: Unit) -> _Lines:
    command = " ".join(_quoted(word) for word in unit.command)
    return (
        ("it is started when its program runs: one that is missing is told at once", "Type=exec"),
        ("apps run as this user too: one who owns nothing else is best", f"User={unit.user}"),
        ("where relative paths begin", f"WorkingDirectory={unit.folder.replace('%', '%%')}"),
        ("the server; words are quoted as systemd wants it", f"ExecStart={command}"),
        ("logs as they come, not by the block", "Environment=PYTHONUNBUFFERED=1"),
        (
            "`mpkernel status` finds it with the same XDG_RUNTIME_DIR, as the same user",
            f"RuntimeDirectory={unit.name}",
        ),
        ("for that user's eyes alone", "RuntimeDirectoryMode=0700"),
        (
            "PrivateTmp below would hide the usual place",
            f"Environment=XDG_RUNTIME_DIR=%t/{unit.name}",
        ),
        ("reports of crashes, which stay when it ends", f"StateDirectory={unit.name}"),
        ("for that user's eyes alone", "StateDirectoryMode=0700"),
        (
            "`mpkernel crashes` finds them with the same XDG_STATE_HOME",
            f"Environment=XDG_STATE_HOME=%S/{unit.name}",
        ),
    )


def _stopping_lines(unit: Unit) -> _Lines:
    return (
        ("start it again when it crashed, not when it was stopped", "Restart=on-failure"),
        ("after a second", "RestartSec=1"),
        (
            "SIGTERM goes to the server alone, which has its apps finish; what is left at the end"
            " is killed",
            "KillMode=mixed",
        ),
        (
            "drain_grace_s and stop_grace_s, and a little: cells that run may come to their end",
            f"TimeoutStopSec={unit.stop_s}",
        ),
        ("an app that is killed for its memory is the server's to replace", "OOMPolicy=continue"),
    )


def _bounding_lines(unit: Unit) -> _Lines:
    return (
        (
            "of server, apps and their /dev/shm together; set memory_hard_bytes too, and one app"
            " gives way before all are short",
            f"MemoryMax={unit.memory}",
        ),
        ("processes and threads: no app can take all of the machine's", "TasksMax=4096"),
        ("seven for an app, one for a page", "LimitNOFILE=65536"),
    )


def _hardening_lines() -> _Lines:
    return (
        ("nothing it starts gains rights: sudo and the like do not work", "NoNewPrivileges=yes"),
        (
            "no capability of root; to serve on a port under 1024, CAP_NET_BIND_SERVICE here and in"
            " AmbientCapabilities=",
            "CapabilityBoundingSet=",
        ),
        ("a /tmp of its own, gone with it", "PrivateTmp=yes"),
        ("/usr, /boot and /etc cannot be written to", "ProtectSystem=full"),
        ("other users' processes cannot be seen", "ProtectProc=invisible"),
        ("the kernel's variables cannot be changed", "ProtectKernelTunables=yes"),
        ("kernel modules cannot be loaded", "ProtectKernelModules=yes"),
        ("the kernel's log cannot be read", "ProtectKernelLogs=yes"),
        ("control groups cannot be changed", "ProtectControlGroups=yes"),
        ("the clock cannot be set", "ProtectClock=yes"),
        ("the host's name cannot be changed", "ProtectHostname=yes"),
        ("no files that run as somebody else", "RestrictSUIDSGID=yes"),
        ("no priority over all others", "RestrictRealtime=yes"),
        ("no sandboxes in the sandbox: most ways out begin there", "RestrictNamespaces=yes"),
        ("no other kind of program than it began as", "LockPersonality=yes"),
        ("no system calls of other architectures", "SystemCallArchitectures=native"),
        (
            "pages and databases, local sockets, the names of interfaces; nothing rarer",
            "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        ),
        ("what apps write is theirs alone", "UMask=0077"),
    )


_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_ESCAPES: Mapping[int, str] = str.maketrans(
    {"\\": r"\\", '"': r"\"", "\n": r"\n", "\t": r"\t", "%": "%%", "$": "$$"}
)


def _quoted(word: str) -> str:
    """A word as it stands in a command of a unit."""
    return word if _PLAIN.fullmatch(word) else f'"{word.translate(_ESCAPES)}"'
