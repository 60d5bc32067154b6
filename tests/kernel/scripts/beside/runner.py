"""What a script sees of itself from another module."""

import sys


def main_names() -> list[str]:
    main = sys.modules["__main__"]
    return sorted(name for name in vars(main) if not name.startswith("_"))


def call(name: str, *args: object) -> object:
    return getattr(sys.modules["__main__"], name)(*args)


def fail(reason: str) -> None:
    raise LookupError(f"beside: {reason}")
