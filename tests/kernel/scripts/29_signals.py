"""Signal handlers, raised by the process itself, and the alarm clock."""

import os
import signal
import time

seen = []


def note(number, frame):
    seen.append((signal.Signals(number).name, frame is not None))


def ring(number, frame):
    raise TimeoutError(signal.strsignal(number))


print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
print(signal.signal(signal.SIGUSR1, note) is signal.SIG_DFL)
signal.raise_signal(signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGUSR1)
print(seen)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 0.02)
try:
    time.sleep(10)
except TimeoutError as alarm:
    print("rang:", alarm)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.raise_signal(signal.SIGTERM)
previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
signal.raise_signal(signal.SIGUSR1)
print(len(seen), signal.SIGUSR1 in signal.sigpending(), signal.SIGUSR1 in previous)
signal.pthread_sigmask(signal.SIG_SETMASK, previous)
print(len(seen))
