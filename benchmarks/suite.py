"""The suite: its `Scenario`s, and the `Run` that each of them is handed.

A scenario is a function that takes a `Run` and gives its `Measure`s. The run says how much is
wanted, makes the contenders that can be had, and gives them their turns.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from . import machine, peers
from .contenders import Contender, Figures, LoopKind
from .measure import Measure

__all__ = [
    "SCENARIOS",
    "Options",
    "Progress",
    "Report",
    "Result",
    "Run",
    "Scenario",
    "run_suite",
]

T = TypeVar("T")


class Scenario(msgspec.Struct, frozen=True):
    """One scenario of the suite.

    Attributes:
        name: what it is called on the command line.
        shows: what its figures tell, in a line.
        needs: modules without which it is left out.
    """

    name: str
    shows: str
    needs: tuple[str, ...] = ()

    def run(self, run: Run) -> list[Measure]:
        """Measure. The scenario's module has a function of this name."""
        module = importlib.import_module(f".scenarios.{self.name.replace('-', '_')}", __package__)
        measures: list[Measure] = module.run(run)
        return measures

    def missing(self) -> list[str]:
        """Modules that it needs and that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


_REAL_SERVER = ("marimo", "httpx", "websockets")

SCENARIOS = [
    Scenario("round-trip", "from a command to its answer, with 1, 10 and 100 sessions busy"),
    Scenario("throughput", "messages a second, 200 B to 16 MiB each"),
    Scenario("fairness", "a round trip while another session of the same host floods"),
    Scenario("neighbours", "a round trip beside 100 clients of the same host that do not read"),
    Scenario("cpu", "what a message costs the server at 10,000 a second"),
    Scenario("start", "a host's start, bare and with marimo, and a session's on a live host"),
    Scenario("pythons", "the same with hosts in other interpreters: --python PATH"),
    Scenario("memory", "what a host and each session take"),
    Scenario("idle", "what 40 apps of 5 tabs cost while nobody acts"),
    Scenario("growth", "what each further session and host costs, up to 1,000 and to 40"),
    Scenario("stalls", "gaps of the server's loop while hosts start, flood and die"),
    Scenario("files", "virtual files: stored and read for the first time, and again"),
    Scenario("confined", "what it costs that an app is confined: start, round trip, virtual files"),
    Scenario("cluster", "apps on the workers of a Dask cluster, on this machine", ("distributed",)),
    Scenario("recovery", "from the kill of an app's process until its sessions are back"),
    Scenario("interrupts", "from an interrupt of the embedded kernel to its end"),
    Scenario("marimo", "a real marimo server: tabs, sliders, floods, memory", _REAL_SERVER),
    Scenario("output", "a real marimo server: many printed lines, a large table", _REAL_SERVER),
    Scenario("spread", "a real marimo server: tabs of an app that compute at once", _REAL_SERVER),
    Scenario("visitors", "a real marimo server: a confined process for each tab", _REAL_SERVER),
    Scenario("workers", "a server of several processes on one port", (*_REAL_SERVER, "uvicorn")),
    Scenario("store", "what it costs that sessions are stored on the disk", _REAL_SERVER),
    Scenario("downloads", "a real marimo server: GET of virtual files", _REAL_SERVER),
    Scenario("health", "a real marimo server: /health while apps start cold", _REAL_SERVER),
    Scenario(
        "sandboxes",
        "a real marimo server: tabs of notebooks with packages of their own",
        (*_REAL_SERVER, "uv"),
    ),
    Scenario("marimo-recovery", "a real marimo server: the tabs of a killed app", _REAL_SERVER),
]


class Options(msgspec.Struct, frozen=True):
    """How much is measured.

    Attributes:
        quick: less of everything.
        repetitions: turns of each contender.
        loop: the servers' event loop.
        with_load: everything once more, beside a process that keeps one processor busy.
        pythons: paths of further interpreters, in which `pythons` has hosts run.
    """

    quick: bool = False
    repetitions: int = 5
    loop: LoopKind = "uvloop"
    with_load: bool = False
    pythons: tuple[str, ...] = ()


class Result(msgspec.Struct):
    """What a scenario gave.

    Attributes:
        name, shows: the scenario's.
        measures: its figures; none where it was left out.
        notes: what a reader of the figures has to know, and what was left out.
        took_s: how long it took.
        is_loaded: whether another process kept a processor busy meanwhile.
    """

    name: str
    shows: str
    measures: list[Measure]
    notes: list[str]
    took_s: float
    is_loaded: bool = False

    @property
    def title(self) -> str:
        """The scenario's name, and whether there was a load."""
        return f"{self.name} beside a load" if self.is_loaded else self.name


class Report(msgspec.Struct):
    """What a run of the suite gave: the JSON file.

    Attributes:
        made: when, with the time zone.
        machine: what it ran on, and the versions.
        options: how much was measured.
        results: by scenario.
    """

    made: str
    machine: dict[str, str]
    options: Options
    results: list[Result]


class Progress(Protocol):
    """Is told how far the suite is."""

    def scenario(self, scenario: Scenario) -> None:
        """It begins."""

    def expect(self, turns: int) -> None:
        """So many more turns will be taken."""

    def turn(self, who: str) -> None:
        """A turn has begun."""

    def done(self) -> None:
        """The turn has ended."""


class Run:
    """The options, contenders and turns of a scenario.

    Attributes:
        options: as given.
        notes: what the scenario has to say beside its figures.
    """

    def __init__(self, options: Options, progress: Progress) -> None:
        self.options = options
        self.notes: list[str] = []
        self._progress = progress

    def choose(self, full: T, quick: T) -> T:
        """The value for a quick run or the one for a full run."""
        return quick if self.options.quick else full

    def note(self, text: str) -> None:
        """Add a note to the figures; the same note only once."""
        if text not in self.notes:
            self.notes.append(text)

    @contextlib.contextmanager
    def contenders(self, *names: str) -> Iterator[list[Contender]]:
        """The contenders of these names that are installed, each with its process."""
        with contextlib.ExitStack() as stack:
            found = []
            for name in names:
                if module := peers.missing(name):
                    self.note(f"without {name}: {module} is not installed")
                else:
                    found.append(stack.enter_context(Contender(name, self.options.loop)))
            yield found

    def by_turns(
        self, those: Sequence[T], name: Callable[[T], str], *, most: int | None = None
    ) -> Iterator[T]:
        """All contenders, once for each repetition, each time with another one first.

        Args:
            those: who takes turns.
            name: what they are called.
            most: how many repetitions are enough. Default: as many as there shall be.
        """
        repetitions = min(self.options.repetitions, most or self.options.repetitions)
        self._progress.expect(len(those) * repetitions)
        for repetition in range(repetitions):
            first = repetition % len(those)
            for one in (*those[first:], *those[:first]):
                self._progress.turn(name(one))
                yield one
                self._progress.done()

    def alternate(
        self,
        contenders: Sequence[Contender],
        measures: dict[str, Measure],
        measure: Any,
        *args: Any,
        most: int | None = None,
    ) -> None:
        """Have each contender take its turns, and keep the figures.

        Args:
            contenders: those that take part.
            measures: where the figures go, by their names.
            measure, args: see `Contender.turn`.
            most: see `by_turns`.
        """
        for contender in self.by_turns(contenders, lambda one: one.name, most=most):
            figures: Figures = contender.turn(measure, *args)
            for name, value in figures.items():
                measures[name].add(contender.name, value)


def run_suite(
    scenarios: Sequence[Scenario],
    options: Options,
    progress: Progress,
    told: Callable[[Result], None] = lambda _: None,
) -> Report:
    """Run scenarios after one another.

    Args:
        scenarios, options, progress: what to run, how much, and who is told how far it is.
        told: called with each result as it comes.
    """
    report = Report(
        datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        machine.described(),
        options,
        [],
    )
    for scenario in scenarios:
        progress.scenario(scenario)
        for is_loaded in (False, True) if options.with_load else (False,):
            with machine.loaded() if is_loaded else contextlib.nullcontext():
                result = _result_of(scenario, Run(options, progress), is_loaded=is_loaded)
            report.results.append(result)
            told(result)
    return report


def _result_of(scenario: Scenario, run: Run, *, is_loaded: bool) -> Result:
    began = time.monotonic()
    measures: list[Measure] = []
    if absent := scenario.missing():
        run.notes.append(f"left out: {', '.join(absent)} not installed")
    else:
        measures = [measure for measure in scenario.run(run) if measure.values]
    took_s = time.monotonic() - began
    return Result(scenario.name, scenario.shows, measures, run.notes, took_s, is_loaded)
