"""Warnings: to stderr with the line of code, once or always, as errors, caught."""

import warnings


def old(stacklevel=1):
    warnings.warn("old is old", DeprecationWarning, stacklevel=stacklevel)
    return "result"


class PaperWarning(UserWarning): ...


for number in range(3):
    warnings.warn(f"number {number % 2}", PaperWarning, stacklevel=1)
    print(old(), old(stacklevel=2))

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    old()
    old()
print([(str(each.message), each.category.__name__) for each in caught])

with warnings.catch_warnings():
    warnings.simplefilter("error")
    try:
        old()
    except DeprecationWarning as error:
        print("raised", error)

warnings.filterwarnings("ignore", category=PaperWarning)
warnings.warn("not seen", PaperWarning, stacklevel=1)
warnings.warn_explicit("made up", UserWarning, "elsewhere.py", 7)
