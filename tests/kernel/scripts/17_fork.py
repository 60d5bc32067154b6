"""multiprocessing by fork: functions of the script, state as it was, exit codes."""

import multiprocessing
import sys

state = {"set": "before"}


def child(queue, number):
    queue.put((number, state["set"], multiprocessing.current_process().name))
    print("child", number)
    sys.exit(number)


def fail():
    raise RuntimeError("in a child")


def square(number):
    return number * number


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    print("parent, once")
    state["set"] = "in the parent"
    for number in (0, 5):
        process = context.Process(target=child, args=(queue, number), name=f"child-{number}")
        process.start()
        process.join()
        print(queue.get(), process.exitcode)
    with context.Pool(2) as pool:
        print(pool.map(square, range(8)))
        pool.close()
        pool.join()
    process = context.Process(target=fail, name="failing")
    process.start()
    process.join()
    print("failed with", process.exitcode)
