"""An app that tries what a confined app must not be able to do, and says what came of it.

Each attempt either returns, or raises what it was refused with. `Targets` says where the victims
are: files of the user, the server, sockets that listen.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from multiprocessing import shared_memory
from typing import Any, TypedDict


class Targets(TypedDict):
    """Where the victims are."""

    server: int
    secret: str
    folder: str
    path_socket: str
    abstract_socket: str
    tcp_port: int
    allowed_port: int
    block: str


def try_all(targets: Targets) -> dict[str, str]:
    """What each attempt came to: "done", or the name of the exception."""
    return {name: _came_to(attempt, targets) for name, attempt in ATTEMPTS.items()}


def main(kernel: Any) -> None:
    targets: Targets = json.loads(kernel.args)
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


def _came_to(attempt: Callable[[Targets], object], targets: Targets) -> str:
    try:
        attempt(targets)
    except Exception as error:  # noqa: BLE001 (the test looks at it)
        return type(error).__name__
    return "done"


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(1)


def _see(folder: str, name: str) -> None:
    if name not in os.listdir(folder):
        raise FileNotFoundError(name)


def _by_link(targets: Targets) -> None:
    link = os.path.join(tempfile.mkdtemp(), "link")
    os.symlink(targets["secret"], link)
    _read(link)


def _by_hard_link(targets: Targets) -> None:
    link = os.path.join(tempfile.mkdtemp(), "link")
    os.link(targets["secret"], link)
    _read(link)


def _through_root(targets: Targets) -> None:
    _read(f"/proc/{targets['server']}/root{targets['secret']}")


def _write_beside(targets: Targets) -> None:
    with open(os.path.join(targets["folder"], "new"), "w"):
        return


def _truncate(targets: Targets) -> None:
    os.truncate(targets["secret"], 0)


def _rename(targets: Targets) -> None:
    os.rename(targets["secret"], targets["secret"] + ".moved")
    os.rename(targets["secret"] + ".moved", targets["secret"])


def _mount(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    into = tempfile.mkdtemp().encode()
    if libc.mount(targets["folder"].encode(), into, None, 4096, None) != 0:
        raise PermissionError(ctypes.get_errno(), "mount")


def _mount_in_own_namespace(targets: Targets) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            libc.unshare(0x10000000 | 0x00020000)
            _mount(targets)
        except BaseException:  # noqa: BLE001 (only whether it worked is told)
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1] != 0:
        raise PermissionError("mount in a namespace")


def _of_proc(name: str) -> Callable[[Targets], object]:
    return lambda targets: _read(f"/proc/{targets['server']}/{name}")


def _descriptor_of_server(targets: Targets) -> None:
    folder = f"/proc/{targets['server']}/fd"
    for name in os.listdir(folder):
        os.readlink(f"{folder}/{name}")


def _ptrace(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(0x4206, targets["server"], None, None) != 0:  # PTRACE_SEIZE
        raise PermissionError(ctypes.get_errno(), "ptrace")
    libc.ptrace(17, targets["server"], None, None)


def _read_memory(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(8)
    ours = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    theirs = (ctypes.c_void_p * 2)(id(None), 8)
    if libc.process_vm_readv(targets["server"], ours, 1, theirs, 1, 0) < 0:
        if ctypes.get_errno() == 14:  # EFAULT: it may, and there is nothing
            return
        raise PermissionError(ctypes.get_errno(), "process_vm_readv")


def _copy_descriptor(targets: Targets) -> None:
    pidfd = os.pidfd_open(targets["server"])
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(438, pidfd, 0, 0)
    os.close(pidfd)
    if fd < 0:
        raise PermissionError(ctypes.get_errno(), "pidfd_getfd")
    os.close(fd)


def _signal_by_pidfd(targets: Targets) -> None:
    pidfd = os.pidfd_open(targets["server"])
    try:
        signal.pidfd_send_signal(pidfd, 0)  # type: ignore[arg-type]
    finally:
        os.close(pidfd)


def _connect(family: int, kind: int, address: Any) -> None:
    with socket.socket(family, kind) as one:
        one.settimeout(2)
        one.connect(address)


def _listen_tcp(_: Targets) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()


def _io_uring(_: Targets) -> None:
    if ctypes.CDLL(None, use_errno=True).syscall(425, 1, ctypes.create_string_buffer(120)) < 0:
        raise PermissionError("io_uring_setup")


def _userfaultfd(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(323 if os.uname().machine == "x86_64" else 282, 1)  # of user mode alone
    if fd < 0:
        raise PermissionError(ctypes.get_errno(), "userfaultfd")
    os.close(fd)


def _advise(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(targets["server"])
    theirs = (ctypes.c_void_p * 2)(id(None) & ~4095, 4096)
    advised = libc.syscall(440, pidfd, theirs, 1, 20, 0)  # process_madvise, MADV_COLD
    os.close(pidfd)
    if advised < 0:
        raise PermissionError(ctypes.get_errno(), "process_madvise")


def _share_core(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(62, 3, targets["server"], 0, 0) != 0:  # PR_SCHED_CORE_SHARE_FROM
        raise PermissionError(ctypes.get_errno(), "prctl(PR_SCHED_CORE)")


def _system_v_memory(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.shmget(0, 4096, 0o600)
    if number < 0:
        raise PermissionError(ctypes.get_errno(), "shmget")
    libc.shmctl(number, 0, None)


def _keyring(_: Targets) -> None:
    if ctypes.CDLL(None, use_errno=True).syscall(250, 0, -3, 0) < 0:
        raise PermissionError("keyctl")


def _limit_server(targets: Targets) -> None:
    resource.prlimit(targets["server"], resource.RLIMIT_CORE)


def _large_file(_: Targets) -> None:
    with tempfile.TemporaryFile() as file:
        os.truncate(file.fileno(), 5 * 1024**3)


def _large_memory(_: Targets) -> None:
    import mmap

    size = 2 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | 0x4000).close()  # MAP_NORESERVE


def _import_and_run(_: Targets) -> None:
    import concurrent.futures  # noqa: F401 (that it can be read)

    subprocess.run([sys.executable, "-c", "import json"], check=True)


def _use_folders(_: Targets) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
    os.makedirs(os.path.expanduser("~/.cache/made"), exist_ok=True)


def _locks_and_pools(method: str) -> None:
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
    queue, lock = context.Queue(), context.Lock()
    with lock:
        queue.put(5)
    assert queue.get(timeout=10) == 5


def _manager(_: Targets) -> None:
    with multiprocessing.Manager() as manager:
        numbers = manager.list([1])
        numbers.append(2)
        assert list(numbers) == [1, 2]


def _dump_core(targets: Targets) -> None:
    """Where the system writes cores into the current folder, as it does by itself."""
    pid = os.fork()
    if pid == 0:
        try:
            _, most = resource.getrlimit(resource.RLIMIT_CORE)
            resource.setrlimit(resource.RLIMIT_CORE, (most, most))
            os.chdir(targets["folder"])
            faulthandler.disable()
            os.abort()
        finally:
            os._exit(1)
    if not os.WCOREDUMP(os.waitpid(pid, 0)[1]):
        raise PermissionError("a core is not dumped")


ATTEMPTS: dict[str, Callable[[Targets], object]] = {
    "read a file of the user": lambda t: _read(t["secret"]),
    "read it by a symbolic link": _by_link,
    "read it by a hard link": _by_hard_link,
    "read it through the server's root": _through_root,
    "list a folder of the user": lambda t: os.listdir(t["folder"]),
    "write a file beside it": _write_beside,
    "cut a file short": _truncate,
    "rename a file": _rename,
    "dump a core beside it": _dump_core,
    "mount a folder": _mount,
    "mount it in a namespace of its own": _mount_in_own_namespace,
    "see another app's block": lambda t: _see("/dev/shm", t["block"]),
    "read another app's block": lambda t: _read(f"/dev/shm/{t['block']}"),
    "read the server's environment": _of_proc("environ"),
    "open the server's memory": lambda t: open(f"/proc/{t['server']}/mem", "rb").close(),
    "read the server's maps": _of_proc("maps"),
    "read the server's command line": _of_proc("cmdline"),
    "read the server's descriptors": _descriptor_of_server,
    "debug the server": _ptrace,
    "read its memory by a system call": _read_memory,
    "copy one of its descriptors": _copy_descriptor,
    "send it a signal": lambda t: os.kill(t["server"], 0),
    "send it a signal by pidfd": _signal_by_pidfd,
    "change its limits": _limit_server,
    "connect to a socket with a path": lambda t: _connect(1, 1, t["path_socket"]),
    "connect to an abstract socket": lambda t: _connect(1, 1, "\0" + t["abstract_socket"]),
    "use a keyring": _keyring,
    "use System V shared memory": _system_v_memory,
    "use io_uring": _io_uring,
    "use userfaultfd": _userfaultfd,
    "advise the kernel on its memory": _advise,
    "share a core's secrets with it": _share_core,
    "send by UDP": lambda _: _connect(2, 2, ("127.0.0.1", 9)),
    "connect by TCP": lambda t: _connect(2, 1, ("127.0.0.1", t["tcp_port"])),
    "connect by TCP to a port that is allowed": lambda t: _connect(
        2, 1, ("127.0.0.1", t["allowed_port"])
    ),
    "listen by TCP": _listen_tcp,
    "write a file of 5 GiB": _large_file,
    "take twice the machine's memory": _large_memory,
    "import modules and run programs": _import_and_run,
    "use temporary files and a home": _use_folders,
    "use multiprocessing's shared memory": lambda _: _shared_memory(),
    "use locks, queues and pools": lambda _: _locks_and_pools("fork"),
    "use those of spawned processes": lambda _: _locks_and_pools("spawn"),
    "use a manager": _manager,
}


def _shared_memory() -> None:
    one = shared_memory.SharedMemory(create=True, size=10)
    one.close()
    one.unlink()


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
            [sys.executable, "-c", program, json.dumps(targets)], cwd=os.path.dirname(__file__)
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
