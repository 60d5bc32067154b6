"""What the terminal shows: a progress bar, the figures of each scenario, the machine."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .measure import Measure, Spread, Target
from .peers import OURS
from .suite import Options, Report, Result, Scenario

__all__ = ["Bar", "print_head", "print_result", "print_summary"]


class Bar:
    """A progress bar of the turns; see `suite.Progress`. Used in a `with` block.

    Args:
        console: where it is drawn.
        scenarios: how many there will be.
    """

    def __init__(self, console: Console, scenarios: int) -> None:
        self._scenarios = scenarios
        self._begun = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[who]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, who="")

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def scenario(self, scenario: Scenario) -> None:
        self._begun += 1
        description = f"{self._begun}/{self._scenarios} {scenario.name}"
        self._bar.reset(self._task, total=0, description=description, who="")

    def expect(self, turns: int) -> None:
        total = self._bar.tasks[0].total or 0
        self._bar.update(self._task, total=total + turns)

    def turn(self, who: str) -> None:
        self._bar.update(self._task, who=who)

    def done(self) -> None:
        self._bar.advance(self._task)


def print_head(console: Console, machine: dict[str, str], options: Options) -> None:
    """The machine, and how many repetitions are measured."""
    machine_line = "; ".join(f"{name} {value}" for name, value in machine.items())
    console.print(machine_line, style="dim", highlight=False)
    console.print(
        f"{'quick; ' if options.quick else ''}repetitions by turns: {options.repetitions}; loop: "
        f"{options.loop}. Columns: median and least-greatest of the repetitions, then the same of "
        "mpkernel's ratio to it (x), taken within each repetition.",
        style="dim",
    )


def print_result(console: Console, result: Result) -> None:
    """A scenario's figures, and its notes."""
    console.print()
    console.print(f"[bold]{result.title}[/bold]: {result.shows} ({result.took_s:.0f} s)")
    for measure in result.measures:
        console.print(_title(measure))
        console.print(_table(measure))
    for note in result.notes:
        console.print(f"  {note}", style="yellow", highlight=False)


def print_summary(console: Console, report: Report) -> None:
    """How many targets are met, and the names of those that are not."""
    met, missed = 0, []
    for result in report.results:
        for measure in result.measures:
            for target in measure.targets:
                verdict = measure.meets(target)
                met += verdict is True
                if verdict is False:
                    missed.append(f"{result.title}: {measure.name}, {_target(measure, target)}")
    console.print(f"\n{met} targets met, {len(missed)} not")
    for line in missed:
        console.print(f"  not met: {line}", style="red")


def _title(measure: Measure) -> Text:
    text = Text(f"{measure.name} ({measure.unit}, {measure.better} is better)")
    for target in measure.targets:
        met = measure.meets(target)
        style, word = ("green", "met") if met else ("red", "not met")
        if met is None:
            style, word = "dim", "not measured"
        text.append("; ").append(f"{_target(measure, target)}: {word}", style=style)
    return text


def _table(measure: Measure) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(width=24)
    for width in (8, 15, 8, 13):
        table.add_column(width=width, justify="right", no_wrap=True)
    for contender in measure.values:
        ratio = None if contender.startswith(OURS) else measure.ratio(OURS, contender)
        table.add_row(f"    {contender}", *_words(measure.spread(contender)), *_words(ratio, "x "))
    return table


def _words(spread: Spread | None, sign: str = "") -> tuple[str, str]:
    if spread is None:
        return "", ""
    if spread.least == spread.most:
        return sign + _number(spread.median), ""
    return sign + _number(spread.median), f"{_number(spread.least)}-{_number(spread.most)}"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or not value else f"{value:.1g}"


def _target(measure: Measure, target: Target) -> str:
    sign = "<=" if measure.better == "less" else ">="
    who = "" if target.who == OURS else f"{target.who} "
    return f"{who}{sign} {target.limit:g}" + (f" of {target.against}" if target.against else "")
