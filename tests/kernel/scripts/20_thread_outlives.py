"""A thread that outlives the main code: waited for, before atexit."""

import atexit
import threading
import time

over = threading.Event()
lines = []


def late():
    over.wait()
    time.sleep(0.05)
    print("the thread goes on:", lines)
    inner = threading.Thread(target=later, name="inner")
    inner.start()


def later():
    time.sleep(0.02)
    print("and starts another:", threading.current_thread().name)


def daemon():
    threading.Event().wait()
    print("never")


atexit.register(print, "at exit, after all threads but daemons")
threading.Thread(target=daemon, daemon=True).start()
threading.Thread(target=late).start()
lines.append("main is over")
print("main ends")
over.set()
