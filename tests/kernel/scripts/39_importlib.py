"""Modules found, loaded, made and reloaded at run time."""

import importlib
import importlib.util
import pkgutil
import runpy
import sys
import tempfile
import types
from importlib import metadata, resources
from pathlib import Path

print(importlib.import_module("json").loads("[1]"), __import__("json").__name__)
print(importlib.util.find_spec("no_such_module"), importlib.util.find_spec("beside").name)
beside = importlib.import_module("beside")
print(sorted(module.name for module in pkgutil.iter_modules(beside.__path__)))
print(resources.files("beside").joinpath("shapes.py").is_file())
with tempfile.TemporaryDirectory() as folder:
    sys.path.insert(0, folder)
    path = Path(folder, "changing.py")
    path.write_text("value = 1\nprint('running', __name__)\n")
    changing = importlib.import_module("changing")
    print(changing.value)
    path.write_text("value = 'longer than before'\nprint('again')\n")
    print(importlib.reload(changing).value)
    path.write_text("print(__name__)\nresult = [n for n in (1, 2)]\n")
    print(runpy.run_path(str(path), run_name="__main__")["result"], __name__)
    sys.path.remove(folder)
made = types.ModuleType("made", "in the script")
exec("def double(n):\n    return 2 * n", vars(made))
sys.modules["made"] = made
print(importlib.import_module("made").double(21), made.double.__module__, made.__doc__)
try:
    metadata.version("no-such-distribution")
except metadata.PackageNotFoundError as error:
    print(error)
