"""An app that tries what a confined app must not be able to do, and says what came of it.

Each attempt either returns, or raises what it was refused with. `Targets` says where the victims
are: files of the user, the server, sockets that listen.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import json
import multiprocessing
import os
import resource
import signal
import socket
import struct
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
    mounts: str
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


def _change_mode(targets: Targets) -> None:
    os.chmod(targets["secret"], 0o644)


def _change_owner(targets: Targets) -> None:
    os.chown(targets["secret"], os.geteuid(), os.getegid())


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


def _write_memory(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    ours = (ctypes.c_void_p * 2)(id(None), 8)
    theirs = (ctypes.c_void_p * 2)(8, 8)  # where nothing can be: EFAULT says that it may
    if libc.process_vm_writev(targets["server"], ours, 1, theirs, 1, 0) < 0:
        _unless(errno.EFAULT, "process_vm_writev")


def _unless(allowed: int, what: str) -> None:
    """Raise what a call was refused with, unless this error says that it would be allowed."""
    if ctypes.get_errno() != allowed:
        raise PermissionError(ctypes.get_errno(), what)


def _by_handle(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 8 + 128)
    mount_id = ctypes.c_int()
    where = targets["secret"].encode()
    if libc.name_to_handle_at(-100, where, handle, ctypes.byref(mount_id), 0) != 0:
        raise PermissionError(ctypes.get_errno(), "name_to_handle_at")
    beside = os.open(tempfile.mkdtemp(), os.O_RDONLY)
    fd = libc.open_by_handle_at(beside, handle, os.O_RDONLY)
    os.close(beside)
    if fd < 0:
        raise PermissionError(ctypes.get_errno(), "open_by_handle_at")
    os.read(fd, 1)
    os.close(fd)


def _uncover_shared_memory(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if os.readlink("/proc/self/ns/mnt") == targets["mounts"]:
        raise PermissionError("it has no mounts of its own, and the machine's are not for a test")
    libc.umount2(b"/dev/shm", 2)  # MNT_DETACH
    if libc.unshare(0x10000000 | 0x00020000) == 0:
        libc.umount2(b"/dev/shm", 2)
    _see("/dev/shm", targets["block"])


def _change_root(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.unshare(0x10000000 | 0x00020000)
    if libc.chroot(targets["folder"].encode()) != 0:
        raise PermissionError(ctypes.get_errno(), "chroot")
    os.listdir("/")


def _in_a_fork(attempt: Callable[[Targets], object]) -> Callable[[Targets], object]:
    """For what changes the process itself."""

    def in_a_fork(targets: Targets) -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(_came_to(attempt, targets) != "done")
        if os.waitpid(pid, 0)[1] != 0:
            raise PermissionError("refused to a fork")

    return in_a_fork


def _be_debugged(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(0, 0, None, None) != 0:  # PTRACE_TRACEME
        raise PermissionError(ctypes.get_errno(), "ptrace")


def _start_beside(_: Targets) -> None:
    """With flags that exclude each other: the server would get a child otherwise."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = 0x8000 | 0x00020000 | 0x200  # CLONE_PARENT, CLONE_NEWNS, CLONE_FS
    libc.syscall(56 if os.uname().machine == "x86_64" else 220, flags, 0, 0, 0, 0)
    _unless(errno.EINVAL, "clone")


def _watch(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(0)
    if fd < 0 or libc.inotify_add_watch(fd, targets["folder"].encode(), 0x100) < 0:
        raise PermissionError(ctypes.get_errno(), "inotify")
    os.close(fd)


def _watch_all(_: Targets) -> None:
    fd = ctypes.CDLL(None, use_errno=True).fanotify_init(0x200, 0)  # FAN_REPORT_FID
    if fd < 0:
        raise PermissionError(ctypes.get_errno(), "fanotify_init")
    os.close(fd)


def _priority_of_server(targets: Targets) -> None:
    own = os.getpriority(os.PRIO_PROCESS, targets["server"])
    os.setpriority(os.PRIO_PROCESS, targets["server"], own)


def _io_priority_of_server(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(251 if os.uname().machine == "x86_64" else 30, 1, targets["server"], 0) != 0:
        raise PermissionError(ctypes.get_errno(), "ioprio_set")


def _processors_of_server(targets: Targets) -> None:
    os.sched_setaffinity(targets["server"], os.sched_getaffinity(targets["server"]))


def _scheduling_of_server(targets: Targets) -> None:
    os.sched_setscheduler(targets["server"], os.SCHED_OTHER, os.sched_param(0))


def _compare(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = 312 if os.uname().machine == "x86_64" else 272
    if libc.syscall(number, targets["server"], os.getpid(), 0, 1, 1) < 0:
        raise PermissionError(ctypes.get_errno(), "kcmp")


def _count_events(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = struct.pack("=IIQ", 1, 112, 1) + bytes(96)  # software events: the task's clock
    number = 298 if os.uname().machine == "x86_64" else 241
    fd = libc.syscall(number, attributes, targets["server"], -1, -1, 0)
    if fd < 0:
        raise PermissionError(ctypes.get_errno(), "perf_event_open")
    os.close(fd)


def _bpf(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    array = struct.pack("=4I", 2, 4, 4, 1) + bytes(112)
    fd = libc.syscall(321 if os.uname().machine == "x86_64" else 280, 0, array, len(array))
    if fd < 0:
        raise PermissionError(ctypes.get_errno(), "bpf")
    os.close(fd)


def _system_v_queue(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.msgget(0, 0o600)
    if number < 0:
        raise PermissionError(ctypes.get_errno(), "msgget")
    libc.msgctl(number, 0, None)


def _system_v_semaphore(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.semget(0, 1, 0o600)
    if number < 0:
        raise PermissionError(ctypes.get_errno(), "semget")
    libc.semctl(number, 0, 0)


def _posix_queue(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    name = f"/mpkernel-test-{os.getpid()}".encode()
    queue = libc.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, None)
    if queue < 0:
        raise PermissionError(ctypes.get_errno(), "mq_open")
    libc.mq_close(queue)
    libc.mq_unlink(name)


def _listen_abstract(_: Targets) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(f"\0mpkernel-hostile-{os.getpid()}-{threading.get_native_id()}")
        one.listen()


def _expose_to_killer(targets: Targets) -> None:
    with open(f"/proc/{targets['server']}/oom_score_adj", "r+"):
        return


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
    "change its mode": _change_mode,
    "change its owner": _change_owner,
    "change its times": lambda t: os.utime(t["secret"]),
    "change its attributes": lambda t: os.setxattr(t["secret"], "user.mpkernel", b""),
    "change the mode of its own file": lambda _: os.chmod(__file__, 0o600),
    "dump a core beside it": _dump_core,
    "mount a folder": _mount,
    "mount it in a namespace of its own": _mount_in_own_namespace,
    "change the root": _in_a_fork(_change_root),
    "open a file of the user by its handle": _by_handle,
    "watch a folder of the user": _watch,
    "watch all files": _watch_all,
    "uncover the machine's shared memory": _in_a_fork(_uncover_shared_memory),
    "see another app's block": lambda t: _see("/dev/shm", t["block"]),
    "read another app's block": lambda t: _read(f"/dev/shm/{t['block']}"),
    "read the server's environment": _of_proc("environ"),
    "open the server's memory": lambda t: open(f"/proc/{t['server']}/mem", "rb").close(),
    "read the server's maps": _of_proc("maps"),
    "read the server's command line": _of_proc("cmdline"),
    "read the server's descriptors": _descriptor_of_server,
    "debug the server": _ptrace,
    "read its memory by a system call": _read_memory,
    "write into its memory by a system call": _write_memory,
    "copy one of its descriptors": _copy_descriptor,
    "compare its descriptors": _compare,
    "count its events": _count_events,
    "have its parent debug it": _in_a_fork(_be_debugged),
    "give its parent a child": _start_beside,
    "have the kernel kill the server first": _expose_to_killer,
    "change its priority": _priority_of_server,
    "change its priority of input and output": _io_priority_of_server,
    "change its processors": _processors_of_server,
    "change its scheduling": _scheduling_of_server,
    "send it a signal": lambda t: os.kill(t["server"], 0),
    "send it a signal by pidfd": _signal_by_pidfd,
    "change its limits": _limit_server,
    "connect to a socket with a path": lambda t: _connect(1, 1, t["path_socket"]),
    "connect to an abstract socket": lambda t: _connect(1, 1, "\0" + t["abstract_socket"]),
    "use a keyring": _keyring,
    "use System V shared memory": _system_v_memory,
    "use System V queues": _system_v_queue,
    "use System V semaphores": _system_v_semaphore,
    "use POSIX queues": _posix_queue,
    "load a program into the kernel": _bpf,
    "use io_uring": _io_uring,
    "use userfaultfd": _userfaultfd,
    "advise the kernel on its memory": _advise,
    "share a core's secrets with it": _share_core,
    "listen at an abstract socket": _listen_abstract,
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
