"""`lines_of`: from facts to lines. Each check judges one thing, and looks at nothing itself.

The checks here concern the system's limits; those of installed packages are in `software`.
"""

from __future__ import annotations

from mpkernel.doctor.abilities import confinement_line, uv_line
from mpkernel.doctor.cluster import address_line
from mpkernel.doctor.facts import ASKED_SOCKET_BYTES, Facts
from mpkernel.doctor.lines import Line, fail, ok, warn
from mpkernel.doctor.software import (
    interpreter_line,
    libzmq_line,
    marimo_line,
    packages_line,
    python_line,
    settings_line,
    start_method_line,
    uvloop_line,
)
from mpkernel.doctor.trial import Trial

__all__ = ["lines_of", "other_python_line", "trial_line"]

_MIB = 1024 * 1024
_GIB = 1024 * _MIB

_SERVER_DESCRIPTORS = 32
"""About what the server itself uses; hosts and pages come on top."""
_HOST_DESCRIPTORS = 7
_FEW_DESCRIPTORS = 512
_HOST_THREADS = 4
_FEW_THREADS = 64
_LITTLE_SPACE_BYTES = 64 * _MIB
_LITTLE_MEMORY_BYTES = 512 * _MIB
_LITTLE_ADDRESS_SPACE_BYTES = 4 * _GIB
_LARGE_FILE_BYTES = 1 * _GIB
_PIPE_BYTES = 64 * 1024


def lines_of(facts: Facts) -> list[Line]:
    """Judges the facts: a line for each thing. `trial_line` makes the line of the trial."""
    return [
        python_line(facts),
        interpreter_line(facts),
        packages_line(facts),
        settings_line(facts.software.settings_error),
        start_method_line(facts),
        shared_memory_line(facts),
        temporary_line(facts),
        state_line(facts),
        descriptors_line(facts),
        processes_line(facts),
        sizes_line(facts),
        pidfd_line(facts),
        confinement_line(facts.abilities, facts.wanted),
        pipes_line(facts),
        proc_line(facts),
        cgroup_line(facts),
        uvloop_line(facts),
        libzmq_line(facts),
        marimo_line(facts),
        uv_line(facts.abilities, facts.wanted),
        leftovers_line(facts),
        *map(address_line, facts.software.clusters),
    ]


def trial_line(trial: Trial) -> Line:
    """The line about the trial of a real app."""
    if trial.error is not None:
        return fail(
            "app",
            f"none could be started: {trial.error}",
            "look at the lines above, then try again",
        )
    return ok(
        "app", f"one was started and answered after {trial.took_s * 1000:.0f} ms ({trial.loop})"
    )


def other_python_line(python: str, trial: Trial) -> Line:
    """The line about a Python that the settings name, in which a real app was tried."""
    if trial.error is not None:
        return fail("other python", trial.error, f"the setting python names {python}")
    return ok("other python", f"{python}: an app was started and answered")


def shared_memory_line(facts: Facts) -> Line:
    place = facts.shared_memory
    if place.error is not None:
        return warn(
            "shared memory",
            f"nothing can be written to {place.path} ({place.error}): virtual files are temporary"
            " files instead, which is slower",
            f"mount a tmpfs on {place.path} that this user may write to, or set"
            " MPKERNEL_FILE_STORAGE=temp_file and leave it so",
        )
    free = _really_free(facts)
    says = f"{place.path} of {_size(place.size_bytes)}, {_size(free)} of it free"
    if free < place.free_bytes:
        says += f" (it shows {_size(place.free_bytes)}, but so much memory is not free)"
    if free < _LITTLE_SPACE_BYTES:
        return warn(
            "shared memory",
            f"{says}: larger virtual files are temporary files instead, which is slower",
            f"make it larger (mount -o remount,size=1G {place.path}; docker run --shm-size=1g), or"
            " remove what lies there",
        )
    return ok("shared memory", says)


def temporary_line(facts: Facts) -> Line:
    place = facts.temporary
    stands_in = facts.shared_memory.error is not None
    remedy = "have TMPDIR name a directory with space that this user may write to"
    if place.error is not None:
        says = f"no file can be written to {place.path} ({place.error})"
        if stands_in:
            return fail(
                "temporary files", f"{says}, and shared memory is missing: no virtual files", remedy
            )
        return warn("temporary files", f"{says}: nothing replaces shared memory if full", remedy)
    says = f"{place.path}, {_size(place.free_bytes)} free"
    if place.free_bytes < _LITTLE_SPACE_BYTES:
        return warn("temporary files", says, remedy)
    return ok("temporary files", says)


def state_line(facts: Facts) -> Line:
    if facts.state_error is None:
        return ok("state", f"{facts.state_folder} keeps reports of deaths, and sessions")
    return warn(
        "state",
        f"nothing can be kept in {facts.state_folder} ({facts.state_error}): no reports of deaths"
        " are written, and sessions end with their server unless session_store_directory is set",
        "set XDG_STATE_HOME to a folder that this user may write to",
    )


def descriptors_line(facts: Facts) -> Line:
    limit = facts.limits.descriptors
    if limit is None:
        return ok("descriptors", "no limit")
    apps = max(0, limit - _SERVER_DESCRIPTORS) // _HOST_DESCRIPTORS
    says = f"{limit} a process: about {apps} apps at a time, less one for every {_HOST_DESCRIPTORS}"
    says += " pages"
    remedy = "raise the limit (ulimit -n 65536; LimitNOFILE=65536 in a unit)"
    if apps == 0:
        return fail("descriptors", says, remedy)
    if limit < _FEW_DESCRIPTORS:
        return warn("descriptors", says, remedy)
    return ok("descriptors", says)


def processes_line(facts: Facts) -> Line:
    limits, cgroup = facts.limits, facts.cgroup
    rooms = []
    if limits.processes is not None:
        rooms.append((limits.processes - (limits.processes_now or 0), "this user's limit"))
    if cgroup.processes is not None:
        rooms.append((cgroup.processes - (cgroup.processes_now or 0), "the control group's limit"))
    if not rooms:
        return ok("processes", "no limit")
    room, whose = min(rooms)
    says = f"{max(room, 0)} more processes and threads until {whose}"
    remedy = "raise the limit (ulimit -u; TasksMax= in a unit; docker run --pids-limit)"
    if room < _HOST_THREADS:
        return fail("processes", says, remedy)
    if room < _FEW_THREADS:
        return warn("processes", says, remedy)
    return ok("processes", says)


def sizes_line(facts: Facts) -> Line:
    space, file = facts.limits.address_space_bytes, facts.limits.file_bytes
    if space is not None and space < _LITTLE_ADDRESS_SPACE_BYTES:
        return warn(
            "sizes",
            f"a process may have {_size(space)} of addresses: threads and libraries take more of"
            " them than of memory",
            "lift it (ulimit -v unlimited) and bound memory instead: memory_hard_bytes, or"
            " MemoryMax= in a unit",
        )
    if file is not None and file < _LARGE_FILE_BYTES:
        return warn(
            "sizes",
            f"a file may have {_size(file)}: no larger virtual file can be made",
            "lift it (ulimit -f unlimited)",
        )
    return ok("sizes", "no limit on addresses and files that matters")


def pidfd_line(facts: Facts) -> Line:
    if facts.pidfd_error is not None:
        return warn(
            "pidfd",
            f"cannot be had ({facts.pidfd_error}): pipes tell of deaths instead, and later, where"
            " another process holds one open",
            "use Linux 5.3 or later, and a sandbox that allows pidfd_open",
        )
    return ok("pidfd", "tells of a death at once")


def pipes_line(facts: Facts) -> Line:
    granted, console = facts.socket_bytes, facts.pipe_bytes
    if granted is None or console is None:
        return fail("pipes", "none can be made", "look at the limit on descriptors")
    says = f"Pipes hold {_size(granted)}, pipes of consoles {_size(console)}"
    if granted < ASKED_SOCKET_BYTES:
        return warn(
            "pipes",
            f"{says}: large messages are slower",
            f"sysctl -w net.core.wmem_max={ASKED_SOCKET_BYTES}, or more",
        )
    if console < _PIPE_BYTES:
        return warn(
            "pipes",
            f"{says}: this user has many large pipes, and what apps print waits sooner",
            "sysctl -w fs.pipe-user-pages-soft=65536",
        )
    return ok("pipes", says)


def proc_line(facts: Facts) -> Line:
    proc = facts.proc
    if proc.error is not None:
        return warn(
            "/proc",
            f"cannot be read ({proc.error}): memory, threads and age of apps are not watched, and"
            " what dead servers left cannot be told from what is in use",
            "mount it: mount -t proc proc /proc",
        )
    if proc.hidepid not in ("0", "off"):
        return ok(
            "/proc",
            f"hides other users' processes (hidepid={proc.hidepid}), which is fine: apps run as"
            " the server's user",
        )
    return ok("/proc", f"shows {proc.processes} processes")


def cgroup_line(facts: Facts) -> Line:
    group = facts.cgroup
    if group.memory_bytes is None:
        return ok("memory limit", "none by a control group")
    left = max(0, group.memory_bytes - (group.memory_used_bytes or 0))
    says = f"{_size(group.memory_bytes)} by the control group, {_size(left)} left"
    remedy = "raise it, or bound each app: memory_hard_bytes"
    if group.dies_whole:
        return warn(
            "memory limit",
            f"{says}; over it the whole group is killed, the server too",
            f"switch memory.oom.group off (OOMPolicy=continue in a unit); {remedy}",
        )
    if left < _LITTLE_MEMORY_BYTES:
        return warn("memory limit", says, remedy)
    return ok("memory limit", says)


def leftovers_line(facts: Facts) -> Line:
    count = len(facts.leftovers)
    what = f"{count} blocks and directories of dead servers, {_size(facts.leftover_bytes)}"
    if not count:
        return ok("leftovers", "none of dead servers")
    if facts.are_swept:
        return ok("leftovers", f"removed {what}")
    return warn(
        "leftovers", what, "`mpkernel doctor --sweep` removes them; so does the next server's start"
    )


def _really_free(facts: Facts) -> int:
    """How much of `/dev/shm` can be filled: its files are memory, of which less may be free."""
    bounds = [facts.shared_memory.free_bytes]
    if facts.memory_available_bytes is not None:
        bounds.append(facts.memory_available_bytes)
    if facts.cgroup.memory_bytes is not None:
        used = facts.cgroup.memory_used_bytes or 0
        bounds.append(max(0, facts.cgroup.memory_bytes - used))
    return min(bounds)


def _size(number: int) -> str:
    for unit, size in (("GiB", _GIB), ("MiB", _MIB), ("KiB", 1024)):
        if number >= size:
            return (
                f"{number / size:.3g} {unit}"
                if number < 1000 * size
                else f"{number // size} {unit}"
            )
    return f"{number} B"
