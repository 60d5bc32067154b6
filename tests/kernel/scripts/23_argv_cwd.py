"""sys.argv, sys.path[0] and the working directory are those of the command."""

import os
import sys
from pathlib import Path

script = Path(__file__)
print(sys.argv[1:], len(sys.argv))
print(Path(sys.argv[0]).name, sys.argv[0] == __file__)
print(sys.path[0] == str(script.resolve().parent))
print(os.getcwd() == os.path.realpath("."), Path.cwd().is_dir())
print(sys.flags.interactive, sys.flags.optimize, sys.gettrace(), hasattr(sys, "ps1"))
print(os.environ.get("PYTHONHASHSEED"), hash("a word") == hash("a wor" + "d"))
before = os.getcwd()
os.chdir(script.resolve().parent)
print(Path("beside").is_dir(), sorted(path.name for path in Path("beside").glob("*.py")))
os.chdir(before)
print(Path.cwd() == Path(before))
sys.argv[1:] = ["changed"]
print(sys.argv[1:])
