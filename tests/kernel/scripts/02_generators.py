"""Generators: send, throw, close, yield from, infinite ones, their results."""

from itertools import islice


def averager():
    total = count = 0
    try:
        while True:
            try:
                total += yield total / (count or 1)
                count += 1
            except ValueError as error:
                print("thrown:", error)
    finally:
        print("closed after", count)


def fibonacci():
    one, two = 0, 1
    while True:
        yield one
        one, two = two, one + two


def chained():
    result = yield from inner()
    yield f"inner gave {result}"


def inner():
    yield "first"
    return 42


average = averager()
next(average)
print([average.send(value) for value in (10, 20, 60)], average.throw(ValueError("no number")))
average.close()
print(list(islice(fibonacci(), 12)), list(chained()))
