"""Kernels for tests: each is the entry of a session, and runs in a real app host."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import msgspec


def echo(kernel):
    for message in kernel:
        kernel.send(message.payload)


def pid(kernel):
    kernel.send(str(os.getpid()).encode())
    echo(kernel)


def leave_at_once(kernel):
    kernel.send(b"last words")


def exit_by_system_exit(kernel):
    sys.exit(3)


def exit_the_process(kernel):
    print("about to leave", flush=True)
    os._exit(7)


def segfault(kernel):
    ctypes.string_at(0)


def _crash_in_a_child(fork):
    child = fork()
    if child == 0:
        ctypes.string_at(0)
    os.waitpid(child, 0)


def _fork_by_c_code():
    # A thread that waits for the interpreter has it handed over. There is none in the fork, which
    # would wait for ever for somebody to take it.
    sys.setswitchinterval(60)
    return ctypes.PyDLL(None).fork()


def exit_after_a_fork_crashed(kernel):
    _crash_in_a_child(os.fork)
    os._exit(7)


def segfault_after_a_fork_crashed(kernel):
    _crash_in_a_child(os.fork)
    segfault(kernel)


def exit_after_a_fork_by_c_code_crashed(kernel):
    _crash_in_a_child(_fork_by_c_code)
    os._exit(7)


def segfault_after_a_fork_by_c_code_crashed(kernel):
    _crash_in_a_child(_fork_by_c_code)
    segfault(kernel)


def fill(kernel):
    """Answer a size with a message of that size, full of a pattern."""
    for message in kernel:
        size = int(message.payload)
        kernel.send((b"0123456789abcdef" * (size // 16 + 1))[:size])


def flood(kernel):
    """Send as fast as the window lets, until closed; say in a side channel how far it came."""
    payload = b"x" * 65536
    while not kernel.stopped:
        kernel.send(payload)


def flood_of_bytes(kernel):
    """The same, with messages of the smallest size."""
    while not kernel.stopped:
        kernel.send(b"x")


def deaf(kernel):
    """Never take a message."""
    kernel.send(b"here")
    while not kernel.stopped:
        time.sleep(0.01)


def spin(kernel):
    """Hold the GIL most of the time, for ever, whatever is asked."""
    kernel.send(b"spinning")
    while True:
        pass


def spin_in_c(kernel):
    """Hold the GIL in one C call, for a very long time."""
    kernel.send(b"spinning")
    libc = ctypes.PyDLL(None)
    libc.sleep(600)


def facts(kernel):
    """What user code can see of its process."""
    kernel.send(
        msgspec.json.encode(
            {
                "app": kernel.app,
                "session_id": kernel.session_id,
                "args": kernel.args.decode(),
                "argv": sys.argv,
                "path0": sys.path[0],
                "cwd": os.getcwd(),
                "env": dict(os.environ),
                "proc_env": open("/proc/self/environ").read(),
                "start_method": multiprocessing.get_start_method(allow_none=True),
                "is_main_process": multiprocessing.parent_process() is None,
                "process_name": multiprocessing.current_process().name,
                "daemon": multiprocessing.current_process().daemon,
                "authkey": bytes(multiprocessing.current_process().authkey).hex(),
                "main_file": getattr(sys.modules["__main__"], "__file__", None),
                "main_of_server": hasattr(sys.modules["__main__"], "SERVER_ONLY"),
                "group": os.getpgid(0),
                "sid": os.getsid(0),
                "pid": os.getpid(),
                "fds": {
                    fd: os.readlink(f"/proc/self/fd/{fd}")
                    for fd in os.listdir("/proc/self/fd")
                    if os.path.exists(f"/proc/self/fd/{fd}")
                },
                "inheritable": [
                    int(fd)
                    for fd in os.listdir("/proc/self/fd")
                    if os.path.exists(f"/proc/self/fd/{fd}") and os.get_inheritable(int(fd))
                ],
                "modules": sorted(sys.modules),
                "sigint": str(signal.getsignal(signal.SIGINT)),
            }
        )
    )
    echo(kernel)


def subprocess_sigint(kernel):
    """Whether Ctrl-C does in a subprocess what it does by default."""
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    kernel.send(str(child.wait()).encode())


def fork_and_print(kernel):
    """Twenty forked children while other threads write: each must come to its end."""
    stop = threading.Event()

    def chatter():
        while not stop.is_set():
            kernel.send(b"chatter")

    threads = [threading.Thread(target=chatter) for _ in range(2)]
    for thread in threads:
        thread.start()
    codes = []
    for number in range(20):
        child = os.fork()
        if child == 0:
            kernel.send(b"a child must not be heard")
            print(f"child {number} prints", flush=True)
            os._exit(11)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    for thread in threads:
        thread.join()
    kernel.send(b"codes " + repr(codes).encode())


def orphan(command):
    """The process id of a command whose parent has ended."""
    shell = ["sh", "-c", f"{command} >/dev/null 2>&1 & echo $!"]
    return int(subprocess.run(shell, stdout=subprocess.PIPE, check=True).stdout)


def leave_children(kernel):
    """Start processes that would outlive the host: of its process group and of sessions of their
    own, orphans, and one whose environment says nothing."""
    forked = os.fork()
    if forked == 0:
        time.sleep(600)
        os._exit(0)
    children = [
        forked,
        subprocess.Popen(["sleep", "600"]).pid,
        subprocess.Popen(["sleep", "600"], start_new_session=True).pid,
        orphan("sleep 600"),
        orphan("setsid sleep 600"),
        orphan("env -i setsid sleep 600"),
    ]
    kernel.send(msgspec.json.encode(children))
    echo(kernel)


def leave_one_that_keeps_nothing(kernel):
    """Start an orphan that has neither its host's session nor anything of its environment."""
    child = orphan("env -i setsid sleep 600")
    while True:
        with open(f"/proc/{child}/comm") as file:
            if file.read() == "sleep\n":
                break
    kernel.send(str(child).encode())
    echo(kernel)


def leave_children_and_a_file(kernel):
    """The same, an orphan that has ended, and a virtual file, which has a resource tracker."""
    orphan("setsid true")
    kernel.files.store("key", bytes(100_000))
    leave_children(kernel)


def leave_a_chain(kernel):
    """Start a process of its own session that starts the next one and ends, on and on."""
    code = "import os; print(flush=True)\nwhile True:\n    if os.fork(): os._exit(0)"
    chain = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    chain.stdout.readline()
    kernel.send(str(chain.pid).encode())
    echo(kernel)


def leak_shared_memory(kernel):
    from multiprocessing import shared_memory

    block = shared_memory.SharedMemory(create=True, size=1000)
    kernel.send(block.name.encode())
    echo(kernel)


def use_multiprocessing(kernel):
    """Use pools by fork and by spawn, and an executor, with functions of an importable module."""
    from concurrent.futures import ProcessPoolExecutor

    import helpers

    answers = {}
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            answers[method] = pool.map(helpers.square, range(5))
    with ProcessPoolExecutor(1) as executor:
        answers["executor"] = list(executor.map(helpers.square, range(5)))
    kernel.send(msgspec.json.encode(answers))


def temporary_directories(kernel):
    """Where multiprocessing keeps temporary files: of the host, a forked and a spawned process."""
    import helpers

    found = []
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            found.append(pool.apply(helpers.temporary_directory))
    found.append(helpers.temporary_directory())
    kernel.send(msgspec.json.encode(found))
    for _ in kernel:
        pass


def close_descriptors(kernel):
    kernel.receive()
    os.closerange(3, 200)
    kernel.send(b"not heard")


def garbage(kernel):
    """When asked, write bytes that are not a frame to every pipe of the process."""
    kernel.receive()
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2:
            try:
                os.write(fd, b"\xff" * 100)
            except OSError:
                continue
    time.sleep(60)


class Loud:
    """An object that writes when it is garbage-collected."""

    kernel = None

    def __init__(self):
        self.me = self

    def __del__(self):
        Loud.kernel.send(b"collected")


def collect_while_writing(kernel):
    """Have the garbage collector run `Loud.__del__` wherever it likes, in our code too."""
    Loud.kernel = kernel
    gc.set_threshold(1, 1, 1)
    for _ in range(3000):
        Loud()
        kernel.send(b"written")
    gc.set_threshold(700, 10, 10)
    gc.collect()
    kernel.send(b"done")
    echo(kernel)


def change_directory(kernel):
    os.chdir("/")
    kernel.send(os.getcwd().encode())
    echo(kernel)


def set_start_method(kernel):
    multiprocessing.set_start_method("spawn")
    kernel.send(multiprocessing.get_start_method().encode())
    echo(kernel)


def handle_signals(kernel):
    """Only a main thread may; user code is told so, as in any thread."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except ValueError as error:
        kernel.send(str(error).encode())
    echo(kernel)


def fill_memory(kernel):
    """Under a limit, so that the machine survives it."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
    try:
        hoard = [bytes(64 << 20) for _ in range(100)]
        kernel.send(b"%d" % len(hoard))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
