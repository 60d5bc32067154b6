"""Context managers: classes, generators, stacks, suppressed and replaced exceptions."""

from contextlib import ExitStack, contextmanager, nullcontext, suppress


class Resource:
    def __init__(self, name, swallow=()):
        self.name, self.swallow = name, swallow

    def __enter__(self):
        print("open", self.name)
        return self

    def __exit__(self, kind, error, trace):
        print("close", self.name, kind and kind.__name__)
        return kind is not None and issubclass(kind, self.swallow)


@contextmanager
def renamed(word):
    try:
        yield word.upper()
    except KeyError as error:
        raise LookupError(word) from error


with Resource("a", (ValueError,)), Resource("b"):
    raise ValueError("swallowed by a")
try:
    with renamed("key") as word:
        {}[word]
except LookupError as error:
    print(repr(error), repr(error.__cause__))
with ExitStack() as stack, nullcontext(7) as number:
    for name in "xyz":
        stack.enter_context(Resource(name))
    stack.callback(print, "called back", number)
    stack.enter_context(suppress(OSError))
    raise OSError("gone")
