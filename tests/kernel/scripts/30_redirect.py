"""Standard streams that are redirected, replaced, taken away and given back."""

import contextlib
import io
import sys


class Shouting(io.TextIOBase):
    def __init__(self, to):
        self.to = to

    def write(self, text):
        return self.to.write(text.upper())


text = io.StringIO()
with contextlib.redirect_stdout(text):
    print("kept")
    with contextlib.redirect_stderr(sys.stdout):
        print("kept too", file=sys.stderr)
print(text.getvalue().splitlines())
original, sys.stdout = sys.stdout, Shouting(sys.stdout)
print("loud")
sys.stdout = None
print("to nowhere")
sys.stdout = original
errors, sys.stderr = sys.stderr, io.StringIO()
print("hidden", file=sys.stderr)
hidden, sys.stderr = sys.stderr, errors
print("back", repr(hidden.getvalue()), file=sys.stderr)
keep, sys.stdin = sys.stdin, io.StringIO("typed\n")
print(input("asked: "), sys.stdin.read() == "")
sys.stdin = keep
del sys.stdout
try:
    print("there is none")
except RuntimeError as error:
    sys.stderr.write(f"{error}\n")
sys.stdout = original
print("normal")
