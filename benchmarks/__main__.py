"""The command line: `python -m benchmarks`, and `mpkernel bench` where the package is installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from . import compare, machine, markdown, plot, suite
from .options import made_parser
from .report import Bar, print_head, print_result, print_summary

__all__ = ["main"]

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None, program: str = "python -m benchmarks") -> int:
    """Run the suite, or a part of it; give the exit code: 0, or 130 when it was interrupted.

    Args:
        arguments: what follows the program's name. Default: `sys.argv`.
        program: how it was called.
    """
    parser = made_parser(program)
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


def _read(path: Path, parser: argparse.ArgumentParser) -> suite.Report:
    try:
        return compare.read(path)
    except (OSError, msgspec.DecodeError) as error:
        parser.error(f"{path} has no figures of this suite: {error}")


if __name__ == "__main__":
    sys.exit(main())
