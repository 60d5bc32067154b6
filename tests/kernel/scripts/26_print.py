"""print with its options, on both streams, and objects that write."""

import io
import sys


class Slow:
    """A file is whatever has a write."""

    def __init__(self):
        self.parts = []

    def write(self, text):
        self.parts.append(text)


print("a", 1, None, sep="-", end="!\n")
print("no end", end="")
print(" here it is", flush=True)
print("to stderr", file=sys.stderr)
print(*range(5), sep=", ")
print()
print("tab\tand\rreturn", "\x1b[1mbold\x1b[0m", "nul\0", sep="|")
slow = Slow()
print("one", "two", file=slow)
print(slow.parts)
buffer = io.StringIO()
print("kept", file=buffer)
print(repr(buffer.getvalue()), sys.stdout.write("written\n"))
sys.stdout.writelines(["line one\n", "line two\n"])
sys.stderr.write("partial")
sys.stderr.write(" line, without an end")
sys.__stdout__.write("by the original\n")
print("x" * 100_000)
try:
    print("wrong", sep=1)
except TypeError as error:
    print(error)
