"""atexit: last in, first out, with arguments, unregistered, one that fails, on both streams."""

import atexit
import sys


@atexit.register
def first():
    print("registered first, called last")


class Broken:
    """A function would be reported with its address."""

    def __repr__(self):
        return "<Broken>"

    def __call__(self):
        raise ValueError("at exit")


def several(*words, end):
    print(*words, end=end)
    sys.stdout.flush()
    print("to stderr", file=sys.stderr)


@atexit.register
def unwanted():
    print("never")


atexit.register(Broken())
atexit.register(several, "some", "words", end=".\n")
atexit.unregister(unwanted)
print("the code ends")
