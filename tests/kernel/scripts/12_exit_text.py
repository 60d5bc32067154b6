"""sys.exit with a text: it goes to stderr, the exit code is 1."""

import sys

print("one", flush=True)


class Reason:
    """Whatever is no number and not None is written as text."""

    def __init__(self, word):
        self.word = word

    def __str__(self):
        return f"the reason is {self.word!r}"


def check(settings):
    missing = [name for name in ("host", "port") if name not in settings]
    if missing:
        sys.exit(Reason(", ".join(missing)))


check({"host": 1, "port": 2})
print("two", file=sys.stderr)
check({"host": 1})
print("never")
