"""`mpkernel doctor`: what this host allows, line by line, and what to do."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence

import msgspec

from mpkernel.doctor.checks import lines_of, other_python_line, trial_line
from mpkernel.doctor.gathering import gather
from mpkernel.doctor.lines import Level, Line, worst
from mpkernel.doctor.trial import converse
from mpkernel.marimo_backend.server import overlay

__all__ = ["run"]

_EXIT_CODES: dict[Level, int] = {"OK": 0, "WARN": 1, "FAIL": 2}


def run(arguments: Sequence[str]) -> int:
    """Look at this host and try an app; give the exit code, by the worst line.

    Args:
        arguments: what follows `mpkernel doctor`.
    """
    parser = argparse.ArgumentParser(
        prog="mpkernel doctor",
        description="Show what this host allows an mpkernel server, and what to do where that is"
        " too little. The last line is of an app that is started for it.",
        epilog="Each line is OK; WARN: it works, less well or not for long; or FAIL. Exit code, by"
        " the worst line: 0 OK, 1 WARN, 2 FAIL (and 2 for a wrong command line).",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--sweep", action="store_true", help="remove the shared memory that dead servers left"
    )
    options = parser.parse_args(list(arguments))
    facts = gather(sweep=options.sweep)
    has_marimo = facts.software.versions["marimo"] is not None
    needed = overlay.requirements() if has_marimo else ()
    others = [
        other_python_line(python, converse(python=python, requirements=needed))
        for python in facts.software.pythons
    ]
    lines = [*lines_of(facts), *others, trial_line(converse())]
    level = worst(lines)
    if options.json:
        shown = msgspec.json.encode({"level": level, "lines": lines})
        print(msgspec.json.format(shown).decode())
    else:
        print(_as_text(lines, color=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    return _EXIT_CODES[level]


_COLORS: dict[Level, str] = {"OK": "32", "WARN": "33", "FAIL": "31"}


def _as_text(lines: Sequence[Line], *, color: bool) -> str:
    width = max(len(line.name) for line in lines)
    return "\n".join(row for line in lines for row in _rows(line, width, color=color))


def _rows(line: Line, width: int, *, color: bool) -> Iterable[str]:
    level = f"{line.level:4}"
    if color:
        level = f"\x1b[{_COLORS[line.level]}m{level}\x1b[0m"
    yield f"{level}  {line.name:{width}}  {line.says}"
    if line.remedy:
        yield f"      {'':{width}}  → {line.remedy}"
