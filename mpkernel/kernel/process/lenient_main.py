"""Runs in a process that an app has started by spawn or forkserver, before anything else does. It
is sent there as text (see `spawning`), since mpkernel may not be importable there.

A spawned process runs the app's file, under the name `__mp_main__`, to have what it defines. Python
refuses to start processes from there, and has programs ask for `__name__ == "__main__"` before they
start any. Cells do not ask. So here the app is run up to where it starts processes, and no further:
what the parent gives to its children is defined above that.
"""

import io
import sys
from multiprocessing import spawn
from types import ModuleType
from typing import Any


class _StartsProcesses(BaseException):
    """Ends the app's code here. A `BaseException`: code of the app that handles errors shall not
    go on."""


def _refuse() -> None:
    raise _StartsProcesses


def _run_app(path: str) -> None:
    """As `multiprocessing.spawn._fixup_main_from_path`, but that what is defined is kept."""
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
