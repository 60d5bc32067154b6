"""Tracebacks that are printed and formatted by the script, with the right lines."""

import sys
import traceback

# %% Something that fails twice


def divide(one, two):
    return one / two


def convert(text):
    try:
        return divide(1, int(text))
    except ZeroDivisionError as error:
        raise ValueError(f"no good: {text}") from error


# %% To stderr
try:
    convert("0")
except ValueError:
    traceback.print_exc()

# %% To stdout
try:
    try:
        convert("word")
    finally:
        undefined_name  # noqa: B018
except NameError as error:
    print("".join(traceback.format_exception(error)), end="")
    frames = traceback.extract_tb(error.__context__.__traceback__)
    print([(frame.name, frame.lineno, frame.line) for frame in frames])
    error.add_note("a note\nof two lines")
    traceback.print_exception(error, limit=1, chain=False, file=sys.stdout)
print(sys.exc_info())
traceback.print_stack(limit=1, file=sys.stdout)
