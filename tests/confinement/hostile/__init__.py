"""An app that tries what a confined app must not be able to do, and says what came of it.

Each attempt either returns, or raises what it was refused with. `Targets` says where the victims
are: files of the user, the server, sockets that listen.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from .everyday import (
    import_and_run,
    large_file,
    large_memory,
    locks_and_pools,
    manager,
    use_folders,
    use_shared_memory,
)
from .on_files import (
    by_handle,
    by_hard_link,
    by_link,
    change_mode,
    change_owner,
    change_root,
    dump_core,
    mount,
    mount_in_own_namespace,
    read,
    rename,
    see,
    through_root,
    truncate,
    uncover_shared_memory,
    watch,
    watch_all,
    write_beside,
)
from .on_server import (
    advise,
    be_debugged,
    compare,
    copy_descriptor,
    count_events,
    debug,
    descriptor_of_server,
    expose_to_killer,
    io_priority_of_server,
    limit_server,
    of_proc,
    priority_of_server,
    processors_of_server,
    read_memory,
    scheduling_of_server,
    share_core,
    signal_by_pidfd,
    start_beside,
    write_memory,
)
from .on_system import (
    bpf,
    connect,
    io_uring,
    keyring,
    listen_abstract,
    listen_tcp,
    posix_queue,
    system_v_memory,
    system_v_queue,
    system_v_semaphore,
    userfaultfd,
)
from .targets import Targets, came_to, in_a_fork

ATTEMPTS: dict[str, Callable[[Targets], object]] = {
    "read a file of the user": lambda t: read(t["secret"]),
    "read it by a symbolic link": by_link,
    "read it by a hard link": by_hard_link,
    "read it through the server's root": through_root,
    "list a folder of the user": lambda t: os.listdir(t["folder"]),
    "write a file beside it": write_beside,
    "cut a file short": truncate,
    "rename a file": rename,
    "change its mode": change_mode,
    "change its owner": change_owner,
    "change its times": lambda t: os.utime(t["secret"]),
    "change its attributes": lambda t: os.setxattr(t["secret"], "user.mpkernel", b""),
    "change the mode of its own file": lambda _: os.chmod(__file__, 0o600),
    "dump a core beside it": dump_core,
    "mount a folder": mount,
    "mount it in a namespace of its own": mount_in_own_namespace,
    "change the root": in_a_fork(change_root),
    "open a file of the user by its handle": by_handle,
    "watch a folder of the user": watch,
    "watch all files": watch_all,
    "uncover the machine's shared memory": in_a_fork(uncover_shared_memory),
    "see another app's block": lambda t: see("/dev/shm", t["block"]),
    "read another app's block": lambda t: read(f"/dev/shm/{t['block']}"),
    "read the server's environment": of_proc("environ"),
    "open the server's memory": lambda t: open(f"/proc/{t['server']}/mem", "rb").close(),
    "read the server's maps": of_proc("maps"),
    "read the server's command line": of_proc("cmdline"),
    "read the server's descriptors": descriptor_of_server,
    "debug the server": in_a_fork(debug),
    "read its memory by a system call": read_memory,
    "write into its memory by a system call": write_memory,
    "copy one of its descriptors": copy_descriptor,
    "compare its descriptors": compare,
    "count its events": count_events,
    "have its parent debug it": in_a_fork(be_debugged),
    "give its parent a child": start_beside,
    "have the kernel kill the server first": expose_to_killer,
    "change its priority": priority_of_server,
    "change its priority of input and output": io_priority_of_server,
    "change its processors": processors_of_server,
    "change its scheduling": scheduling_of_server,
    "send it a signal": lambda t: os.kill(t["server"], 0),
    "send it a signal by pidfd": signal_by_pidfd,
    "change its limits": limit_server,
    "connect to a socket with a path": lambda t: connect(1, 1, t["path_socket"]),
    "connect to an abstract socket": lambda t: connect(1, 1, "\0" + t["abstract_socket"]),
    "use a keyring": keyring,
    "use System V shared memory": system_v_memory,
    "use System V queues": system_v_queue,
    "use System V semaphores": system_v_semaphore,
    "use POSIX queues": posix_queue,
    "load a program into the kernel": bpf,
    "use io_uring": io_uring,
    "use userfaultfd": userfaultfd,
    "advise the kernel on its memory": advise,
    "share a core's secrets with it": share_core,
    "listen at an abstract socket": listen_abstract,
    "send by UDP": lambda _: connect(2, 2, ("127.0.0.1", 9)),
    "connect by TCP": lambda t: connect(2, 1, ("127.0.0.1", t["tcp_port"])),
    "connect by TCP to a port that is allowed": lambda t: connect(
        2, 1, ("127.0.0.1", t["allowed_port"])
    ),
    "listen by TCP": listen_tcp,
    "write a file of 5 GiB": large_file,
    "take twice the machine's memory": large_memory,
    "import modules and run programs": import_and_run,
    "use temporary files and a home": use_folders,
    "use multiprocessing's shared memory": use_shared_memory,
    "use locks, queues and pools": lambda _: locks_and_pools("fork"),
    "use those of spawned processes": lambda _: locks_and_pools("spawn"),
    "use a manager": manager,
}


def try_all(targets: Targets) -> dict[str, str]:
    """What each attempt came to: "done", or the name of the exception."""
    return {name: came_to(attempt, targets) for name, attempt in ATTEMPTS.items()}


def main(kernel: Any) -> None:
    targets: Targets = json.loads(kernel.args)
    targets["server"] = targets["server"] or os.getppid()
    found: dict[str, Any] = try_all(targets)
    found["by others"] = {
        "thread": _from_a_thread(targets),
        "fork": _from_a_fork(targets),
        "exec": _after_exec(targets),
    }
    kernel.send(
        json.dumps(
            {
                "pid": os.getpid(),
                "found": found,
                "tmp": tempfile.gettempdir(),
                "home": os.environ["HOME"],
            }
        ).encode()
    )
    kernel.receive()


def forks_until_refused(most: int) -> int:
    """How many processes can be started, all at the same time."""
    children: list[int] = []
    try:
        while len(children) < most:
            pid = os.fork()
            if pid == 0:
                signal.pause()
            children.append(pid)
    except BlockingIOError:
        pass
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return len(children)


def _from_a_thread(targets: Targets) -> dict[str, str]:
    found: dict[str, str] = {}
    thread = threading.Thread(target=lambda: found.update(try_all(targets)))
    thread.start()
    thread.join()
    return found


def _after_exec(targets: Targets) -> dict[str, str]:
    program = (
        "import json, sys, hostile; print(json.dumps(hostile.try_all(json.loads(sys.argv[1]))))"
    )
    found: dict[str, str] = json.loads(
        subprocess.check_output(
            [sys.executable, "-c", program, json.dumps(targets)], cwd=os.path.dirname(__path__[0])
        )
    )
    return found


def _from_a_fork(targets: Targets) -> dict[str, str]:
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writes, json.dumps(try_all(targets)).encode())  # less than a pipe holds
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writes)
    with open(reads, "rb") as pipe:
        found: dict[str, str] = json.load(pipe)
    return found
