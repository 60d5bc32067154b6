"""What a script knows of itself as a module."""

import sys
from pathlib import Path

import __main__

counter = 1
annotated: int = 2


def module_names():
    return sorted(name for name in globals() if name.startswith("__"))


print(__name__, __doc__, __package__, __spec__)
print(Path(__file__).name, Path(__file__).is_file(), Path(__file__).samefile(sys.argv[0]))
print(__main__ is sys.modules["__main__"], __main__.counter, vars(__main__) is globals())
__main__.counter = 5
__main__.new = "set from outside"
print(counter, new)  # noqa: F821
globals()["newer"] = "by globals"
print(__main__.newer, "counter" in dir(__main__), hasattr(__main__, "nothing"))
del __main__.new
try:
    print(new)
except NameError as error:
    print(error)
print(module_names())
print(module_names.__module__, module_names.__globals__ is globals(), locals() is globals())
print(__annotations__ if sys.version_info < (3, 14) else {"annotated": int})
