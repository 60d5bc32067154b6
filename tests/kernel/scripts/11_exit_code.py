"""sys.exit with a number: cleaning up happens, the code is kept."""

import atexit
import contextlib
import sys


@contextlib.contextmanager
def tidy(name):
    print("enter", name)
    try:
        yield
    except SystemExit as exit_:
        print("leaving with", exit_.code)
        raise
    finally:
        print("tidy", name)


def stop(code):
    sys.exit(code)


atexit.register(print, "at exit")
try:
    stop(1000)
except SystemExit as first:
    print("survived", first.code)

with tidy("outer"), tidy("inner"):
    try:
        stop(41)
    except Exception:  # noqa: BLE001 (SystemExit is none)
        print("never")
    finally:
        print("finally")
