"""inspect finds the source of what the script defines, wherever its cell begins."""

import inspect
import linecache
import sys

# %% A function and a class


def area(width: int, height: int = 2) -> int:
    """Width by height."""
    # a comment within
    return width * height


class Shape:
    """A shape."""

    def draw(self):
        return "drawn"


# %% What inspect knows of them

double = lambda x: x * 2  # noqa: E731

print(inspect.getsource(area), end="")
print(inspect.getsource(Shape.draw), end="")
print(inspect.getsourcelines(Shape))
print(inspect.getsource(double), end="")
print(inspect.signature(area), inspect.getdoc(area))
print(inspect.getfile(Shape) == __file__, inspect.getsourcefile(area) == __file__)
print(inspect.getmodule(area) is sys.modules["__main__"], inspect.getmodule(Shape).__name__)
frame = inspect.currentframe()
print(frame.f_lineno, inspect.getframeinfo(frame).code_context, area.__code__.co_firstlineno)
print(linecache.getline(__file__, 1), end="")
