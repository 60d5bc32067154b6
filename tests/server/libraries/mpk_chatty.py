"""Writes more to its standard output and error than a pipe holds."""

import os

for descriptor in (1, 2):
    for _ in range(200):
        os.write(descriptor, b"x" * 1023 + b"\n")
os.write(2, b"the last line\n")
