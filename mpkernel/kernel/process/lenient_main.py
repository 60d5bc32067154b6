"""The first code that runs in a process which an app has started by spawn or forkserver. It is sent
there as text (see `spawning`), since mpkernel may not be importable there.

A spawned process runs the app's file under the name `__mp_main__`, to define its functions and
classes. Python refuses to start processes during that: programs check `__name__ == "__main__"`
before they start any. Cells do not check it. So here the app is run only up to where it starts
processes. What the parent sends to its children is defined before that point.
"""

import io
import sys
from multiprocessing import spawn
from types import ModuleType
from typing import Any


class _StartsProcesses(BaseException):
    """Ends the app's code here. A `BaseException`, so that code of the app that handles errors does
    not go on."""


def _refuse() -> None:
    raise _StartsProcesses


def _run_app(path: str) -> None:
    """Does what `multiprocessing.spawn._fixup_main_from_path` does, but keeps what was defined when
    the app is ended early."""
    main = ModuleType("__mp_main__")
    main.__file__ = path
    changed: Any = spawn
    changed.old_main_modules.append(sys.modules["__main__"])
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    with io.open_code(path) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    check = changed._check_not_importing_main
    changed._check_not_importing_main = _refuse
    try:
        exec(code, vars(main))
    except _StartsProcesses:
        pass
    finally:
        changed._check_not_importing_main = check


changed_spawn: Any = spawn
changed_spawn._fixup_main_from_path = _run_app
