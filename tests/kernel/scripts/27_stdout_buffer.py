"""Bytes through sys.stdout.buffer, in order with the text, and what kind of stream it is."""

import io
import os
import sys

print("text first")
sys.stdout.flush()
sys.stdout.buffer.write("bytes é second\n".encode())
sys.stdout.buffer.write(b"bytes that are no text: \xff\xc3\n")
sys.stdout.buffer.flush()
print("text third")
print(sys.stdout.encoding, sys.stderr.errors, sys.stdout.isatty(), sys.stdout.closed)
print(sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.name)
print(sys.stdout.writable(), sys.stdout.readable(), isinstance(sys.stdout, io.TextIOBase))
sys.stdout.flush()
print(os.write(1, b"by the descriptor\n"))
sys.stderr.buffer.write(b"error bytes\n")
sys.stderr.flush()
try:
    sys.stdout.buffer.write("text")
except TypeError as error:
    print(type(error).__name__)
sys.stdout.reconfigure(line_buffering=True)
print("each line at once")
