"""Executors of threads and of processes, with results, errors and callbacks."""

import multiprocessing
from concurrent import futures


def cube(number):
    return number**3


def fail(number):
    raise ArithmeticError(f"no root of {number}")


def main():
    seen = []
    with futures.ThreadPoolExecutor(3) as pool:
        print(list(pool.map(cube, range(6))))
        done = [pool.submit(cube, number) for number in range(4)]
        print(sorted(future.result() for future in futures.as_completed(done)))
        failing = pool.submit(fail, -1)
        failing.add_done_callback(lambda future: seen.append(future.exception()))
        finished, unfinished = futures.wait([failing])
        print(len(finished), len(unfinished), failing.cancel())
    print(seen)
    context = multiprocessing.get_context("fork")
    with futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        print(list(pool.map(cube, range(6), chunksize=2)))
        try:
            pool.submit(fail, 7).result()
        except ArithmeticError as error:
            print(repr(error), type(error.__cause__).__name__)
    try:
        pool.submit(cube, 1)
    except RuntimeError as error:
        print(error)


if __name__ == "__main__":
    main()
