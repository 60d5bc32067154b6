"""`mpkernel bench [SCENARIO…]`: the benchmarks of mpkernel and of what it is compared with."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence

from mpkernel.cli.output import show
from mpkernel.cli.screen import screen
from mpkernel.cli.tables import columns, heads

__all__ = ["run"]

_PLACES = ("mpkernel.benchmarks", "benchmarks")
"""In an installed package; in a checkout."""

_INSTALL = "pip install 'mpkernel[bench]'"

_NEEDED = ("rich", "matplotlib", "httpx", "websockets")


def run(arguments: Sequence[str]) -> int:
    """Run the suite; give the exit code: 1 where a package that it needs is missing.

    Args:
        arguments: what follows `mpkernel bench`.
    """
    place = next((name for name in _PLACES if importlib.util.find_spec(name)), None)
    if place is not None and "--list" in arguments:
        scenarios = importlib.import_module(f"{place}.suite").SCENARIOS
        rows = [(one.name, one.shows) for one in scenarios]
        table = [heads("SCENARIO", "WHAT IT SHOWS"), *rows]
        show(columns(table, flexible={1}, screen=screen()), then="mpkernel bench SCENARIO measures")
        return 0
    if place is not None and {"-h", "--help"} & set(arguments):
        importlib.import_module(f"{place}.options").made_parser("mpkernel bench").print_help()
        return 0
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if place is None or absent:
        what = f"needs {', '.join(absent)}" if absent else "is not part of this installation"
        print(f"mpkernel: the benchmark suite {what} ({_INSTALL})", file=sys.stderr)
        return 1
    suite = importlib.import_module(f"{place}.__main__")
    return int(suite.main(list(arguments), program="mpkernel bench"))
