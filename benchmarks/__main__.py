"""The command line: `python -m benchmarks`, and `mpkernel bench` where the package is installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from . import compare, machine, markdown, plot, suite
from .report import Bar, print_head, print_result, print_summary

__all__ = ["main"]

_INTERRUPTED = 130
_PICTURES = (".svg", ".png", ".pdf")


def main(arguments: Sequence[str] | None = None, program: str = "python -m benchmarks") -> int:
    """Run the suite, or a part of it; give the exit code: 0, or 130 when it was interrupted.

    Args:
        arguments: what follows the program's name. Default: `sys.argv`.
        program: how it was called.
    """
    parser = _parser(program)
    chosen = parser.parse_args(arguments)
    console = Console()
    known = {scenario.name: scenario for scenario in suite.SCENARIOS}
    if unknown := [name for name in chosen.scenarios if name not in known]:
        parser.error(f"no scenario {', '.join(unknown)}; --list names them")
    if chosen.list:
        width = max(map(len, known))
        for scenario in known.values():
            print(f"{scenario.name:{width}}  {scenario.shows}")
        return 0
    before = _read(chosen.compare, parser) if chosen.compare else None
    options = suite.Options(
        quick=chosen.quick,
        repetitions=chosen.repetitions or (2 if chosen.quick else 5),
        loop=chosen.loop,
        with_load=chosen.with_load,
        pythons=tuple(chosen.python),
    )
    scenarios = [known[name] for name in chosen.scenarios] or list(known.values())
    print_head(console, machine.described(), options)
    try:
        with Bar(Console(stderr=True), len(scenarios)) as bar:
            report = suite.run_suite(
                scenarios, options, bar, lambda result: print_result(console, result)
            )
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    print_summary(console, report)
    if chosen.json:
        compare.write(report, chosen.json)
    if chosen.plot:
        plot.draw(report, chosen.plot)
    if chosen.markdown:
        markdown.write(report, chosen.markdown)
    if before is not None:
        compare.print_moves(console, before, report, chosen.compare)
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description="mpkernel beside its peers, by turns, on the same work."
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


def _read(path: Path, parser: argparse.ArgumentParser) -> suite.Report:
    try:
        return compare.read(path)
    except (OSError, msgspec.DecodeError) as error:
        parser.error(f"{path} has no figures of this suite: {error}")


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


if __name__ == "__main__":
    sys.exit(main())
