"""The options of the suite's command line. Nothing of the extra `bench` is imported here."""

from __future__ import annotations

import argparse
from pathlib import Path

from mpkernel.cli.parsers import CommandParser

from . import markdown

__all__ = ["made_parser"]

_PICTURES = (".svg", ".png", ".pdf")


def made_parser(program: str) -> argparse.ArgumentParser:
    """Of what follows the program's name.

    Args:
        program: how it was called.
    """
    parser = CommandParser(
        prog=program,
        description="mpkernel beside its peers, by turns, on the same work.",
        examples={
            f"{program} --list": "the scenarios, and what each shows",
            f"{program} --quick": "all of them, in a few minutes",
            f"{program} round-trip --json mine.json": "one of them, and its figures in a file",
            f"{program} --compare mine.json": "which figures have changed since then",
        },
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: all of them")
    parser.add_argument("--list", action="store_true", help="list the scenarios and exit")
    parser.add_argument("--quick", action="store_true", help="fewer measurements: a few minutes")
    parser.add_argument(
        "--repetitions", type=_positive, metavar="N", help="turns of each (default 5; quick: 2)"
    )
    parser.add_argument(
        "--with-load",
        action="store_true",
        help="everything once more, beside a process that keeps one processor busy",
    )
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PATH",
        help="another interpreter, with msgspec, for the scenario pythons; as often as you like",
    )
    parser.add_argument("--json", type=_writable, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--plot", type=_picture, metavar="FILE", help=f"draw the ratios ({', '.join(_PICTURES)})"
    )
    parser.add_argument(
        "--markdown",
        type=_marked,
        metavar="FILE",
        help=f"write the table of targets into it, between {' and '.join(markdown.MARKERS)}",
    )
    parser.add_argument("--compare", type=Path, metavar="FILE", help="compare with these figures")
    parser.add_argument(
        "--loop", choices=("uvloop", "asyncio"), default="uvloop", help="default: uvloop"
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number greater than 0")
    return int(text)


def _writable(text: str) -> Path:
    """Errors in the paths are reported before the run, not after a quarter of an hour."""
    path = Path(text)
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def _marked(text: str) -> Path:
    path = Path(text)
    if not path.is_file() or not all(mark in path.read_text() for mark in markdown.MARKERS):
        raise argparse.ArgumentTypeError(f"{path} has no lines {' and '.join(markdown.MARKERS)}")
    return path


def _picture(text: str) -> Path:
    path = _writable(text)
    if path.suffix not in _PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r} ends in none of {', '.join(_PICTURES)}")
    return path
