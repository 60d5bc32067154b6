"""Decorators: of functions, with arguments, stacked, as objects."""

import functools


def traced(mark):
    def decorate(function):
        @functools.wraps(function)
        def call(*args, **options):
            result = function(*args, **options)
            print(mark, f"{function.__name__}{args} -> {result!r}")
            return result

        return call

    return decorate


class Counted:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function, self.calls = function, 0

    def __call__(self, *args, **options):
        self.calls += 1
        return self.function(*args, **options)


@Counted
@traced("*")
def add(one, two=1):
    """Add two numbers."""
    return one + two


@functools.cache
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


print(add(1, two=4), add(2), add.calls, add.__doc__, add.__name__, add.__module__)
print(fibonacci(30), fibonacci.cache_info())
