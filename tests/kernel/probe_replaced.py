"""`test_replaced.py` runs this as a program and in a session. It prints, as one JSON object,
everything by which code could tell what a session replaces in its process."""

import bdb
import builtins
import copy
import getpass
import importlib
import inspect
import io
import json
import multiprocessing
import os
import pickle
import selectors
import sys
import threading
import time
import types
from multiprocessing import spawn

import cloudpickle

FUNCTIONS = {
    "time.sleep": (time.sleep, [(), (1, 2), ("1",), (-1,), (None,)]),
    "time.sleep of floats": (
        time.sleep,
        [(float("nan"),), (float("inf"),), (-0.5,), (1e10,), (10**30,), (0,), (0.0,), (True * 0,)],
    ),
    "os.waitpid": (os.waitpid, [(), (1,), ("1", 0), (2**22 + 1, 0), (2**22 + 1, 0, 0), (1.5, 0)]),
    "selectors.DefaultSelector.select": (
        selectors.DefaultSelector.select,
        [(), (selectors.DefaultSelector(), "1"), (selectors.DefaultSelector(), float("nan"))],
    ),
    "selectors.SelectSelector.select": (selectors.SelectSelector.select, [()]),
    "threading.Condition.wait": (threading.Condition.wait, [(), (threading.Condition(),)]),
    "threading.Event.wait": (threading.Event.wait, [(), (1,)]),
    "threading.Thread.start": (threading.Thread.start, [(), (5,)]),
    "print": (builtins.print, []),
    "input": (builtins.input, [(1, 2)]),
    "getpass.getpass": (getpass.getpass, [(1, 2, 3, 4)]),
    "sys.unraisablehook": (sys.unraisablehook, [()]),
    "sys.excepthook": (sys.excepthook, [()]),
    "threading.excepthook": (threading.excepthook, [()]),
    "breakpoint": (builtins.breakpoint, []),
    "multiprocessing.spawn.get_preparation_data": (spawn.get_preparation_data, [()]),
    "bdb.Bdb.trace_dispatch": (bdb.Bdb.trace_dispatch, [()]),
    "bdb.Bdb.get_stack": (bdb.Bdb.get_stack, [()]),
}

KEYWORDS = {
    "time.sleep": (time.sleep, {"secs": 1}),
    "print of a file that cannot be written": (print, {"file": 5}),
    "print of a separator that is not text": (print, {"sep": 5}),
    "print of an unknown option": (print, {"colour": 5}),
    "input": (input, {"prompt": "?"}),
}

MODULES = {"sys": sys, "__main__": sys.modules["__main__"], "time": time, "builtins": builtins}


def outcome(function, *args, **options):
    try:
        return repr(function(*args, **options))
    except BaseException as error:  # noqa: BLE001 (it is what is asked for)
        return f"{type(error).__name__}: {error}"


def of_function(function):
    return {
        "type": type(function).__name__,
        "repr": repr(function).partition(" at ")[0],
        **{
            name: repr(getattr(function, name, "none"))
            for name in ("__name__", "__qualname__", "__module__", "__doc__", "__text_signature__")
        },
        "self": repr(getattr(function, "__self__", "none")),
        "signature": outcome(inspect.signature, function),
        "kinds": [
            kind.__name__
            for kind in (inspect.isbuiltin, inspect.isfunction, inspect.isroutine)
            if kind(function)
        ],
        "module": outcome(inspect.getmodule, function),
        "source": outcome(inspect.getsource, function),
        "pickled by reference": outcome(lambda: pickle.loads(pickle.dumps(function)) is function),
        "pickled": outcome(lambda: pickle.dumps(function)),
        "pickled by cloudpickle": outcome(lambda: cloudpickle.dumps(function)),
    }


def of_stream(stream):
    names = ("encoding", "errors", "newlines", "line_buffering", "write_through", "mode", "name")
    return {
        **{name: outcome(getattr, stream, name) for name in names},
        "closed": stream.closed,
        "can": [stream.readable(), stream.writable(), stream.seekable(), stream.isatty()],
        "is text": isinstance(stream, io.TextIOBase),
        "fileno": stream.fileno(),
        "binary fileno": stream.buffer.fileno(),
        "write": [outcome(stream.write, ""), outcome(stream.write, b"")],
        "write bytes": [outcome(stream.buffer.write, b""), outcome(stream.buffer.write, "")],
        "read": outcome(stream.read),
        "reconfigure": [
            outcome(stream.reconfigure, **options)
            for options in (
                {},
                {"errors": "nothing like it"},
                {"encoding": "nothing like it"},
                {"colour": 5},
                {"errors": "replace"},
            )
        ],
        "errors after that": stream.errors,
        "pickled": outcome(pickle.dumps, stream),
    }


def of_class_of_modules(kind):
    class Derived(kind):
        pass

    made, derived = kind("made", "for a test"), Derived("derived")
    made.stdout = derived.stdout = 5
    return {
        "class": [repr(kind), kind.__doc__, outcome(pickle.dumps, kind)],
        "equal": [kind == types.ModuleType, types.ModuleType == kind, {types.ModuleType: 5}[kind]],
        "asked": [isinstance(json, kind), isinstance(5, kind), issubclass(int, kind)],
        "made": [repr(made), made.__doc__, made.stdout, type(made) is types.ModuleType],
        "derived": [repr(derived), derived.stdout, repr(Derived.__bases__), repr(type(Derived))],
    }


def of_module(module):
    def uses_it():
        return module.__name__

    return {
        "repr": repr(module),
        "is a module": inspect.ismodule(module),
        "class": of_class_of_modules(type(module)),
        "missing": outcome(getattr, module, "nothing_like_it"),
        "methods": [module.__repr__(), "__name__" in module.__dir__()],
        "pickled": outcome(pickle.dumps, module),
        "copied": outcome(copy.deepcopy, module),
        "name": module.__name__,
        "by cloudpickle": outcome(lambda: cloudpickle.loads(cloudpickle.dumps(module)) is module),
        "a function that uses it": outcome(lambda: cloudpickle.loads(cloudpickle.dumps(uses_it))()),
        "imported": importlib.import_module(module.__name__) is module,
    }


def of_process():
    process = multiprocessing.current_process()
    return {
        "name and daemon": [process.name, process.daemon],
        "parent": repr(multiprocessing.parent_process()),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "main thread": threading.main_thread().name,
        "hooks": [repr(sys.breakpointhook), repr(sys.displayhook), repr(sys.excepthook)],
        "arguments": sys.argv,
        "names of __main__": sorted(name for name in globals() if name.startswith("__")),
    }


found = {
    "process": of_process(),
    **{
        name: {**of_function(function), "calls": [outcome(function, *args) for args in calls]}
        for name, (function, calls) in FUNCTIONS.items()
    },
    **{
        f"{name}, by keyword": outcome(function, **options)
        for name, (function, options) in KEYWORDS.items()
    },
    **{f"sys.{name}": of_stream(getattr(sys, name)) for name in ("stdout", "stderr")},
    **{f"module {name}": of_module(module) for name, module in MODULES.items()},
}
json.dump(found, open(RESULT, "w"))  # noqa: F821 (the test sets it)
