"""All that a kernel can observe of its process and surroundings: it must be the same in an adopted
host."""

from __future__ import annotations

import gc
import locale
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import msgspec


def observe(kernel):
    kernel.send(msgspec.json.encode({"facts": facts(), "modules": sorted(sys.modules)}))
    for message in kernel:
        kernel.send(message.payload)


def facts():
    """By name. What must differ from process to process is left out, or stands by its kind."""
    return {
        "argv": sys.argv,
        "orig_argv": [re.sub(r"=\d+", "=", argument) for argument in sys.orig_argv],
        "command line": re.sub(rb"=\d+", b"=", Path("/proc/self/cmdline").read_bytes()).decode(),
        "import path": sys.path,
        "meta path": [str(type(finder)) for finder in sys.meta_path],
        "flags": str(sys.flags),
        "limits of the interpreter": [sys.getrecursionlimit(), sys.getswitchinterval()],
        "directory": os.getcwd(),
        "environment": dict(os.environ),
        "first environment": sorted(Path("/proc/self/environ").read_text().split("\0")),
        "mask": Path("/proc/self/status").read_text().split("Umask:")[1].split()[0],
        "limits": [resource.getrlimit(getattr(resource, name)) for name in _limit_names()],
        "threads": [thread.name for thread in threading.enumerate()],
        "next thread": re.sub(r"\d+", "", threading.Thread().name),
        "main thread": threading.main_thread().name,
        "priorities": sorted(_priorities()),
        "processors": sorted(os.sched_getaffinity(0)),
        "signals": {str(s): str(type(signal.getsignal(s))) for s in signal.valid_signals()},
        "blocked signals": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "alarm": signal.alarm(0),
        "descriptors": sorted(_descriptors()),
        "inheritable": [fd for fd in map(int, os.listdir("/proc/self/fd")) if _is_inheritable(fd)],
        "process": [multiprocessing.current_process().name, multiprocessing.parent_process()],
        "start method": multiprocessing.get_start_method(allow_none=True),
        "children": [child.name for child in multiprocessing.active_children()],
        "group": [os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid()],
        "collector": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()],
        "warnings": list(map(str, warnings.filters)),
        "locale": [locale.getlocale(), sys.getdefaultencoding(), sys.stdout.encoding],
        "temporary": tempfile.gettempdir(),
        "main module": sorted(vars(sys.modules["__main__"])),
        "traces": [sys.gettrace(), sys.getprofile(), threading.gettrace()],
        "hooks": [sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__],
    }


def draw(kernel):
    """A random number: processes that share a state of the generator draw the same."""
    kernel.send(str(random.random()).encode())


def import_one(kernel):
    """Where the module that is asked for comes from."""
    for message in kernel:
        module = __import__(message.payload.decode())
        kernel.send(str(getattr(module, "__file__", None)).encode())


def _limit_names():
    return sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))


def _priorities():
    threads = os.listdir("/proc/self/task")
    return {os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in threads}


def _descriptors():
    for fd in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{fd}").partition("[")[0]
        except FileNotFoundError:  # the one that listed the folder
            continue


def _is_inheritable(fd):
    try:
        return os.get_inheritable(fd)
    except OSError:  # as above
        return False
