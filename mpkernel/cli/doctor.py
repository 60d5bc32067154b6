"""`mpkernel doctor`: what this host allows, line by line, and what to do."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

from mpkernel.cli.output import as_json, show
from mpkernel.cli.parsers import CommandParser
from mpkernel.cli.screen import Screen, Style, screen
from mpkernel.cli.tables import wrapped
from mpkernel.doctor.abilities import Wanted
from mpkernel.doctor.checks import lines_of, other_python_line, trial_line
from mpkernel.doctor.cluster import cluster_lines
from mpkernel.doctor.gathering import gather, wanted_on_cluster
from mpkernel.doctor.lines import Level, Line, worst
from mpkernel.doctor.software import settings_line
from mpkernel.doctor.trial import converse
from mpkernel.errors import SettingsError
from mpkernel.marimo_backend.server import overlay
from mpkernel.settings import Settings

__all__ = ["parser", "run"]

_EXIT_CODES: dict[Level, int] = {"OK": 0, "WARN": 1, "FAIL": 2}


def parser() -> CommandParser:
    """Of what follows `mpkernel doctor`."""
    made = CommandParser(
        prog="mpkernel doctor",
        description="Check whether this machine has what an mpkernel server needs, and say what to"
        " do if not. For the last line, an app is started. OK: all is well; WARN: it works, but"
        " less well or not for long; FAIL: it does not work. Exit code, by the worst line: 0 OK,"
        " 1 WARN, 2 FAIL (and 2 for a wrong command line).",
        examples={
            "mpkernel doctor": "check this machine, as the user who will run the server",
            "mpkernel doctor --cluster tls://scheduler:8786": "check the workers of a cluster",
            "mpkernel doctor --sweep": "check it, and remove what dead servers left",
        },
    )
    made.add_argument("--json", action="store_true", help="for programs (mpkernel docs commands)")
    made.add_argument(
        "--sweep", action="store_true", help="remove the shared memory that dead servers left"
    )
    made.add_argument(
        "--cluster",
        metavar="ADDRESS",
        type=_cluster,
        help="check only this Dask cluster: start a process on each of its workers",
    )
    return made


def _cluster(text: str) -> str:
    try:
        Settings(cluster=text)
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def run(arguments: Sequence[str]) -> int:
    """Look at this host and try an app; give the exit code, by the worst line.

    Args:
        arguments: what follows `mpkernel doctor`.
    """
    options = parser().parse_args(arguments)
    if options.cluster is not None:
        lines = _lines_of_cluster(options.cluster)
        return _show(lines, _NEXT_OF_CLUSTER, for_programs=options.json)
    facts = gather(sweep=options.sweep)
    has_marimo = facts.software.versions["marimo"] is not None
    needed = overlay.requirements() if has_marimo else ()
    others = [
        other_python_line(python, converse(python=python, requirements=needed))
        for python in facts.software.pythons
    ]
    lines = [*lines_of(facts), *others, trial_line(converse())]
    return _show(lines, _NEXT, for_programs=options.json)


def _lines_of_cluster(address: str) -> list[Line]:
    try:
        return cluster_lines(address, wanted_on_cluster(address))
    except SettingsError as error:
        return [settings_line(str(error)), *cluster_lines(address, Wanted())]


def _show(lines: Sequence[Line], next_steps: Mapping[Level, str], *, for_programs: bool) -> int:
    level = worst(lines)
    if for_programs:
        print(as_json("doctor", level=level, lines=lines))
    else:
        show(_in_rows(lines, screen()), then=next_steps[level])
    return _EXIT_CODES[level]


_STYLES: dict[Level, Style] = {"OK": "good", "WARN": "attention", "FAIL": "bad"}
_LEAST_CHARACTERS = 30
_NEXT: dict[Level, str] = {
    "OK": "this machine has all that a server needs: mpkernel run PATH",
    "WARN": "a server works here; the lines with WARN say what would make it better",
    "FAIL": "do what the lines with FAIL say, then mpkernel doctor again",
}
_NEXT_OF_CLUSTER: dict[Level, str] = {
    "OK": "apps run on each of these workers: mpkernel run PATH --cluster ADDRESS",
    "WARN": "the lines with WARN say what would make it better",
    "FAIL": "do what the lines with FAIL say, then mpkernel doctor --cluster again",
}


def _in_rows(lines: Sequence[Line], to: Screen) -> Iterator[str]:
    width = max(len(line.name) for line in lines)
    indent = " " * (width + 8)
    is_narrow = to.width is not None and to.width < len(indent) + _LEAST_CHARACTERS
    if is_narrow:
        indent = " " * 6
    for line in lines:
        level = to.paint(f"{line.level:4}", _STYLES[line.level])
        texts = wrapped(line.says, to.without(len(indent)))
        if is_narrow:
            yield f"{level}  {line.name}"
        else:
            yield f"{level}  {line.name:{width}}  {texts.pop(0)}"
        if line.remedy:
            texts += wrapped(line.remedy, to.without(len(indent)), indent="  ", first="→ ")
        for text in texts:
            yield indent + text
