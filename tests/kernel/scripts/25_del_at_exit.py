"""__del__: when the last reference goes, in a cycle, and for globals when the process ends."""

import atexit
import gc


class Noisy:
    def __init__(self, name):
        self.name = name
        self.friend = None

    def __del__(self):
        print("deleted", self.name)


def local():
    noisy = Noisy("a local")
    print("in the function with", noisy.name)


local()
one, two = Noisy("cycle one"), Noisy("cycle two")
one.friend, two.friend = two, one
del one, two
print("collected", gc.collect() >= 2)
replaced = Noisy("replaced")
replaced = None
until_the_end = Noisy("a global")
atexit.register(print, "at exit, before the globals go")
print("the code ends")
