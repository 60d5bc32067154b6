"""Reading what is on standard input to its end, by input() and as a file."""

import sys

lines = []
try:
    while len(lines) < 2:
        lines.append(input("line? "))
except EOFError as error:
    print("end:", error)
print("by input:", lines)
print("by readline:", repr(sys.stdin.readline()))
print("by iteration:", list(sys.stdin))
print("the rest:", repr(sys.stdin.read()), repr(sys.stdin.read()))
print("no more:", repr(sys.stdin.buffer.read()))
try:
    input()
except EOFError as error:
    print(type(error).__name__, error)
print(sys.stdin.encoding, sys.stdin.closed, sys.stdin.isatty(), sys.stdin.name)
