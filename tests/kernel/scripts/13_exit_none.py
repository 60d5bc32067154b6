"""sys.exit() and raise SystemExit mean success, in the middle of a file."""

import sys
import threading

exits = []


def leave():
    try:
        sys.exit()
    except SystemExit as error:
        exits.append(error.code)
        raise


# It ends its thread, in silence.
thread = threading.Thread(target=leave)
thread.start()
thread.join()
print("exits:", exits)

for code in (None, 0, False, ()):
    try:
        raise SystemExit(code)
    except SystemExit as error:
        print(repr(error), error.code)

try:
    leave()
finally:
    print("on the way out", len(exits))
print("never")
