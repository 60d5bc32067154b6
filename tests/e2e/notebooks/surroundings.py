import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import marimo as mo

    return (mo,)


@app.cell
def _():
    import asyncio
    import builtins
    import decimal
    import faulthandler
    import gc
    import importlib
    import json
    import locale
    import logging
    import multiprocessing
    import os
    import resource
    import signal
    import socket
    import stat
    import subprocess
    import sys
    import threading
    import time
    import warnings

    return (
        asyncio,
        builtins,
        decimal,
        faulthandler,
        gc,
        importlib,
        json,
        locale,
        logging,
        multiprocessing,
        os,
        resource,
        signal,
        socket,
        stat,
        subprocess,
        sys,
        threading,
        time,
        warnings,
    )


@app.cell
def _(
    asyncio,
    builtins,
    decimal,
    faulthandler,
    gc,
    importlib,
    json,
    locale,
    logging,
    mo,
    multiprocessing,
    os,
    resource,
    signal,
    socket,
    stat,
    subprocess,
    sys,
    threading,
    time,
    warnings,
):
    _main = sys.modules["__main__"]

    def _handler(number):
        try:
            found = signal.getsignal(number)
        except ValueError:
            return "?"
        return getattr(found, "__qualname__", None) or str(found)

    def _module(name):
        try:
            return importlib.import_module(name).__file__
        except ImportError as error:
            return str(error)

    def _kind(descriptor):
        mode = os.fstat(descriptor).st_mode
        names = ("ISCHR", "ISFIFO", "ISREG", "ISSOCK", "ISDIR")
        return next((name for name in names if getattr(stat, f"S_{name}")(mode)), "other")

    def _named(thing):
        return f"{thing.__module__}.{thing.__qualname__}"

    _child = """
    import json, os, signal, sys
    ignored = [n for n in range(1, 65) if n not in (32, 33) and signal.getsignal(n) == signal.SIG_IGN]
    fds = [n for n in range(256) if os.path.exists(f"/proc/self/fd/{n}")]
    blocked = [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])]
    print(json.dumps([sys.executable, sys.path, ignored, fds, blocked]))
    """

    def _of_child():
        code = "\n".join(line.strip() for line in _child.splitlines())
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        names = ("executable", "sys.path", "ignored signals", "descriptors", "blocked signals")
        return dict(zip(names, json.loads(ran.stdout)))

    report = {
        "sys.path": sys.path,
        "sys.argv": sys.argv,
        "orig_argv known": bool(sys.orig_argv),
        "__file__": __file__,
        "__name__": __name__,
        "main": {
            "name": _main.__name__,
            "file": getattr(_main, "__file__", None),
            "spec": str(getattr(_main, "__spec__", None)),
            "package": getattr(_main, "__package__", None),
            "is mine": vars(_main) is globals(),
            "doc": getattr(_main, "__doc__", None),
        },
        "names": sorted(name for name in globals() if name.startswith("__")),
        "helper": _module("helper"),
        "only_lib": _module("only_lib"),
        "in the working directory": _module("in_cwd"),
        "cwd": os.getcwd(),
        "PWD": os.environ.get("PWD"),
        "environ": {
            name: value for name, value in os.environ.items() if not name.startswith(("MPKERNEL_", "XDG_"))
        },
        "notebook_dir": str(mo.notebook_dir()),
        "notebook_location": str(mo.notebook_location()),
        "app_meta": mo.app_meta().mode,
        "locale": locale.setlocale(locale.LC_ALL),
        "encoding": [
            locale.getpreferredencoding(False),
            sys.getfilesystemencoding(),
            sys.stdout.encoding,
            sys.stdout.errors,
            sys.stderr.errors,
            sys.flags.utf8_mode,
        ],
        "signals": {signal.Signals(n).name: _handler(n) for n in signal.valid_signals() if n < 32},
        "blocked": sorted(int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "wakeup descriptor": signal.set_wakeup_fd(-1) if threading.current_thread() is threading.main_thread() else None,
        "limits": {
            name: resource.getrlimit(getattr(resource, name))
            for name in dir(resource)
            if name.startswith("RLIMIT_")
        },
        "umask": [line for line in open("/proc/self/status") if line.startswith("Umask")],
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "affinity": len(os.sched_getaffinity(0)),
        "oom_score_adj": open("/proc/self/oom_score_adj").read().strip(),
        "standard descriptors": [_kind(fd) for fd in range(3)],
        "inheritable descriptors": [
            fd
            for fd in map(int, os.listdir("/proc/self/fd"))
            if os.path.exists(f"/proc/self/fd/{fd}") and os.get_inheritable(fd)
        ],
        "process group": os.getpgrp() == os.getpid(),
        "session": os.getsid(0) == os.getpid(),
        "flags": {
            name: getattr(sys.flags, name)
            for name in dir(sys.flags)
            if not name.startswith(("_", "n_")) and not callable(getattr(sys.flags, name))
        },
        "xoptions": sys._xoptions,
        "warnoptions": sys.warnoptions,
        "warnings": [str(one) for one in warnings.filters],
        "executable": [sys.executable, sys.prefix, sys.base_prefix, sys.exec_prefix],
        "bytecode": [sys.dont_write_bytecode, sys.pycache_prefix],
        "recursion": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "hooks": [
            _named(sys.excepthook),
            _named(sys.unraisablehook),
            _named(sys.displayhook),
            _named(threading.excepthook),
        ],
        "finders": [getattr(one, "__qualname__", type(one).__qualname__) for one in sys.meta_path],
        "path hooks": len(sys.path_hooks),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "process": [
            multiprocessing.current_process().name,
            multiprocessing.current_process().daemon,
            multiprocessing.parent_process() is None,
        ],
        "daemon": threading.current_thread().daemon,
        "stack size": threading.stack_size(),
        "loop": _named(type(asyncio.get_running_loop())) if asyncio._get_running_loop() else None,
        "loop policy": _named(type(asyncio.get_event_loop_policy())),
        "default timeout": socket.getdefaulttimeout(),
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_debug()],
        "decimal": str(decimal.getcontext()),
        "faulthandler": faulthandler.is_enabled(),
        "logging": [
            logging.getLogger().level,
            [type(one).__qualname__ for one in logging.getLogger().handlers],
            logging.getLevelName(logging.getLogger("marimo").level),
            logging.root.manager.disable,
        ],
        "stdin": [sys.stdin is None, getattr(sys.stdin, "closed", None)],
        "time": [time.tzname, time.timezone],
        "child": _of_child(),
        "builtins": sorted(set(vars(builtins))),
    }
    with open(os.path.join(os.environ["REPORTS"], mo.query_params()["report"]), "w") as _file:
        json.dump(report, _file, indent=1, default=str)
    mo.md("report written")
    return


if __name__ == "__main__":
    app.run()
