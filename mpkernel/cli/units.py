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
        (
            "started after the network, and stopped before it, so that pages learn of the stop",
            "After=network.target",
        ),
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
        ("if the program is missing, `systemctl start` says so", "Type=exec"),
        ("apps run as this user too: best one that owns nothing else", f"User={unit.user}"),
        ("where relative paths begin", f"WorkingDirectory={unit.folder.replace('%', '%%')}"),
        ("the server; words are quoted as systemd wants it", f"ExecStart={command}"),
        ("lines of the log appear at once", "Environment=PYTHONUNBUFFERED=1"),
        (
            "`mpkernel status` finds it with the same XDG_RUNTIME_DIR, as the same user",
            f"RuntimeDirectory={unit.name}",
        ),
        ("only that user can read it", "RuntimeDirectoryMode=0700"),
        (
            "PrivateTmp below would hide the usual place",
            f"Environment=XDG_RUNTIME_DIR=%t/{unit.name}",
        ),
        (
            "reports of crashes and stored sessions, which stay when it ends",
            f"StateDirectory={unit.name}",
        ),
        ("only that user can read them", "StateDirectoryMode=0700"),
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
            "SIGTERM goes to the server only, which ends its apps in order; what is left is killed",
            "KillMode=mixed",
        ),
        (
            "how long a stop may take: drain_grace_s (for cells that run), stop_grace_s, and 5 s",
            f"TimeoutStopSec={unit.stop_s}",
        ),
        (
            "if an app is killed for its memory, the server goes on and replaces it",
            "OOMPolicy=continue",
        ),
    )


def _bounding_lines(unit: Unit) -> _Lines:
    return (
        (
            "memory of server, apps and their /dev/shm together; with memory_hard_bytes, one app is"
            " ended before all lack memory",
            f"MemoryMax={unit.memory}",
        ),
        ("processes and threads: no app can take all of the machine's", "TasksMax=4096"),
        ("descriptors: seven for an app, one for a page", "LimitNOFILE=65536"),
    )


def _hardening_lines() -> _Lines:
    return (
        ("nothing that it starts gains rights: sudo does not work", "NoNewPrivileges=yes"),
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
        ("no file can be made a program that runs as its owner", "RestrictSUIDSGID=yes"),
        ("no real-time priority", "RestrictRealtime=yes"),
        (
            "no namespaces; remove this for a launch_wrapper that makes some (bwrap), or if apps"
            " with `confine` need locks of multiprocessing",
            "RestrictNamespaces=yes",
        ),
        ("no change to the rules of another system for programs", "LockPersonality=yes"),
        ("no system calls of other architectures", "SystemCallArchitectures=native"),
        (
            "sockets: of the Internet, of this machine, and for the names of interfaces; no others",
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
