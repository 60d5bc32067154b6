"""Break unpickling in this process: whatever would unpickle raises, and is noted in a file.

    python no_unpickling.py RECORD mpkernel's-arguments…     mpkernel's command line, so broken

Every name that a module has for `pickle.loads` and its like is broken, and an audit hook notes what
is unpickled by a reference that nobody has found.
"""

from __future__ import annotations

import os
import sys
import traceback

__all__ = ["forbid_unpickling"]


def forbid_unpickling(record: str) -> None:
    """From now on.

    Args:
        record: the file in which each attempt is noted.
    """
    import _pickle
    import multiprocessing.connection
    import multiprocessing.reduction
    import pickle

    fd = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def note(what: str) -> None:
        stack = "".join(traceback.format_stack()[:-2])
        os.write(fd, f"{what} pid={os.getpid()}\n{stack}\n".encode())

    def refuse(*_arguments: object, **_options: object) -> None:
        note("unpickled")
        raise AssertionError("this process must not unpickle")

    class Refusing:
        def __init__(self, *_arguments: object, **_options: object) -> None:
            refuse()

    def audit(event: str, _arguments: tuple[object, ...]) -> None:
        if event == "pickle.find_class":
            note(event)

    functions = (
        *(pickle.loads, pickle.load, pickle._loads, pickle._load, _pickle.loads, _pickle.load),
        multiprocessing.reduction.ForkingPickler.loads,
    )
    classes = (pickle.Unpickler, pickle._Unpickler, _pickle.Unpickler)
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()):
            if any(value is one for one in functions):
                setattr(module, name, refuse)
            elif any(value is one for one in classes):
                setattr(module, name, Refusing)
    multiprocessing.reduction.ForkingPickler.loads = refuse  # type: ignore[assignment,method-assign]
    multiprocessing.connection._ConnectionBase.recv = refuse  # type: ignore[attr-defined]
    sys.addaudithook(audit)


if __name__ == "__main__":
    from mpkernel.cli.main import main

    forbid_unpickling(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
