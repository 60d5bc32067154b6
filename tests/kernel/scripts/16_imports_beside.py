"""Imports from the folder of the script, which is first in sys.path."""

import pickle
import sys
from importlib import import_module
from pathlib import Path

import beside
from beside import runner
from beside.shapes import Box, largest


def greet(name):
    return f"hello {name}"


def main():
    print(sys.path[0] == str(Path(__file__).parent), beside.VERSION)
    print(largest([Box(2, 3), Box(1, 9)]))
    print(pickle.loads(pickle.dumps(Box(1, 2))).area)
    print(runner.main_names())
    print(runner.call("greet", "you"))
    print(Path(beside.__file__).parent == Path(sys.path[0], "beside"), beside.shapes.__package__)
    print(import_module("beside") is beside, "beside.runner" in sys.modules)
    try:
        import_module(".missing", "beside")
    except ModuleNotFoundError as error:
        print(error, error.name)
    runner.fail("on purpose")


if __name__ == "__main__":
    main()
