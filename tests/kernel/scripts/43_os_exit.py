"""os._exit ends the process at once: no finally, no atexit, nothing that is still buffered."""

import atexit
import os
import sys
import threading


class Noisy:
    def __del__(self):
        print("never deleted")


def waiting():
    threading.Event().wait()


noisy = Noisy()
atexit.register(print, "never at exit")
print("flushed")
print("and this", file=sys.stderr)
sys.stdout.flush()
try:
    pid = os.fork()
    if pid == 0:
        os.write(1, b"from a child\n")
        os._exit(4)
    print("child ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    threading.Thread(target=waiting).start()
    os._exit(3)
finally:
    print("never finally")
