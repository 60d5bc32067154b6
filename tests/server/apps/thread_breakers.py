"""Kernels for tests: after each of these, no thread of the process begins as it should."""

from __future__ import annotations

import sys
import threading

from kernels import echo


def fail_each_thread_by_settrace(kernel):
    _fail_each_thread(kernel, threading.settrace)


def fail_each_thread_by_setprofile(kernel):
    _fail_each_thread(kernel, threading.setprofile)


def set_threading_excepthook_to_none(kernel):
    threading.excepthook = None
    kernel.send(b"set")
    echo(kernel)


def delete_sys_excepthook(kernel):
    del sys.excepthook
    kernel.send(b"deleted")
    echo(kernel)


def _fail_each_thread(kernel, at_each_call):
    def failing(*_):
        raise RuntimeError("this function of the app fails in each new thread")

    at_each_call(failing)
    kernel.send(b"failing")
    for _ in kernel:
        kernel.send(b"here")
