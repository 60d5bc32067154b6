"""How the benchmark suite itself behaves. What it measures is not checked here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import PATIENCE_S, until

from benchmarks import compare, machine, markdown, suite
from benchmarks.__main__ import main
from benchmarks.contenders import Contender, Figures
from benchmarks.measure import Measure, Target
from benchmarks.peers import PEERS, Peer
from mpkernel.cli import bench

ROOT = Path(__file__).parents[1]
TRANSPORTS = [name for name in PEERS if not name.startswith("marimo")]


async def works(peer: Peer, size: int) -> Figures:
    """A function that runs in each peer's process."""
    host = await peer.open_host()
    session = await host.open_session()
    session.send(b"flood 20 %d" % size)
    for _ in range(20):
        await session.receive()
    await host.close()
    return {"messages": 20.0}


async def fails(peer: Peer) -> Figures:
    raise ValueError("no figures today")


async def dies(peer: Peer) -> Figures:
    os._exit(3)


def test_the_list_names_every_scenario_and_what_it_shows(capsys: pytest.CaptureFixture[str]):
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [one.name for one in suite.SCENARIOS]
    assert all(one.shows in line for one, line in zip(suite.SCENARIOS, lines, strict=True))


def test_every_scenario_that_is_listed_is_there():
    for scenario in suite.SCENARIOS:
        module = scenario.name.replace("-", "_")
        assert importlib.util.find_spec(f"benchmarks.scenarios.{module}"), scenario.name


def test_an_unknown_scenario_is_refused_by_name(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as leaving:
        main(["round-trip", "nonsense"])
    assert leaving.value.code == 2
    assert "nonsense" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--plot", "figures.txt", "ends in none of .svg"),
        ("--json", "nowhere/figures.json", "there is no folder nowhere"),
        ("--compare", "nothing.json", "nothing.json has no figures of this suite"),
        ("--markdown", "nothing.md", "nothing.md has no lines <!-- benchmarks -->"),
        ("--repetitions", "0", "is not a number greater than 0"),
    ],
)
def test_what_cannot_be_done_in_the_end_is_said_at_once(
    option: str, value: str, complaint: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as leaving:
        main([option, value])
    assert leaving.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("name", TRANSPORTS)
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_each_peer_carries_a_kernel_s_messages(name: str, loop: Any):
    with Contender(name, loop) as contender:
        for size in (200, 1024 * 1024):
            assert contender.turn(works, size) == {"messages": 20.0}


def test_what_fails_in_a_contender_is_told_and_the_next_turn_is_taken():
    with Contender("mpkernel", "uvloop") as contender:
        with pytest.raises(RuntimeError, match="mpkernel, fails: (?s:.*)no figures today"):
            contender.turn(fails)
        assert contender.turn(works, 200) == {"messages": 20.0}


def test_a_contender_that_dies_is_told():
    with (
        Contender("mpkernel", "uvloop") as contender,
        pytest.raises(RuntimeError, match="exit code 3"),
    ):
        contender.turn(dies)


def test_a_quick_run_takes_turns_and_writes_draws_and_compares(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    earlier, figures, picture = (tmp_path / name for name in ("old.json", "new.json", "new.svg"))
    slow = Measure("server CPU a message", "µs", values={"mpkernel": [1e6] * 2})
    old = suite.Result("cpu", "long ago", [slow], [], 1.0)
    here = machine.described()
    compare.write(suite.Report("then", here, suite.Options(repetitions=2), [old]), earlier)

    arguments = ["cpu", "--quick", "--json", figures, "--plot", picture, "--compare", earlier]
    assert main([str(argument) for argument in arguments]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "<= 0.25 of ZeroMQ" in shown
    assert "1 moved beyond the noise" in shown
    assert "cpu: server CPU a message, mpkernel: 1e+06 ->" in shown

    report = compare.read(figures)
    assert report.options == suite.Options(quick=True, repetitions=2, loop="uvloop")
    (result,) = report.results
    taking_part = ["mpkernel", "ZeroMQ", "mp.Queue", "bare threads"]
    assert [*result.measures[0].values] == taking_part
    assert all(len(values) == 2 for values in result.measures[0].values.values())
    assert report.machine["pyzmq"] == importlib.metadata.version("pyzmq")
    compare.write(report, tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(figures.read_text())
    assert "</svg>" in picture.read_text()


class Silence:
    """A `suite.Progress` that shows nothing."""

    def scenario(self, scenario: suite.Scenario) -> None: ...

    def expect(self, turns: int) -> None: ...

    def turn(self, who: str) -> None: ...

    def done(self) -> None: ...


def test_each_repetition_has_all_of_them_and_another_one_first():
    run = suite.Run(suite.Options(repetitions=4), Silence())
    assert "".join(run.by_turns("abc", str)) == "abcbcacababc"
    assert "".join(run.by_turns("ab", str, most=2)) == "abba"


def report_of(values: dict[str, list[float]], repetitions: int = 5) -> suite.Report:
    measure = Measure("a trip", "µs", "less", [Target(0.5, "ZeroMQ")], values)
    result = suite.Result("trips", "how long", [measure], [], 1.0)
    return suite.Report("today", machine.described(), suite.Options(False, repetitions), [result])


BEFORE = {"mpkernel": [40.0, 41, 42, 43, 44], "ZeroMQ": [100.0, 102, 104, 106, 108]}


def test_a_comparison_finds_what_moved_and_says_for_whom():
    after = {"mpkernel": [60.0, 61, 62, 63, 64], "ZeroMQ": BEFORE["ZeroMQ"]}
    found = compare.moves(report_of(BEFORE), report_of(after))
    assert [(move.what, move.verdict) for move in found] == [
        ("mpkernel", "worse"),
        ("ratio to ZeroMQ", "worse"),
    ]
    back = compare.moves(report_of(after), report_of(BEFORE))
    assert {move.verdict for move in back} == {"better"}


def test_two_machines_are_compared_by_their_ratios():
    here, there = (
        report_of(BEFORE),
        report_of({"mpkernel": [100.0, 101, 102, 103, 104], "ZeroMQ": BEFORE["ZeroMQ"]}),
    )
    there.machine["cpu"] = "64 x another"
    assert [move.what for move in compare.moves(here, there)] == ["ratio to ZeroMQ"]


def test_a_load_is_beside_the_second_figures_only_and_ends():
    others = len(multiprocessing.active_children())

    class Loaded(suite.Scenario, frozen=True):
        def run(self, run: suite.Run) -> list[Measure]:
            children = float(len(multiprocessing.active_children()) - others)
            return [Measure("a load", "", values={"mpkernel": [children]})]

    report = suite.run_suite(
        [Loaded("loads", "how many")], suite.Options(with_load=True), Silence()
    )
    assert [one.title for one in report.results] == ["loads", "loads beside a load"]
    assert [one.measures[0].values["mpkernel"] for one in report.results] == [[0.0], [1.0]]


@pytest.mark.parametrize(
    "after",
    [
        pytest.param([41.0, 40, 43, 45, 46], id="the same again"),
        pytest.param([45.0, 45, 45.5, 46, 46], id="apart, by less than a tenth"),
        pytest.param([43.5, 47.4, 47.5, 47.5, 47.5], id="ranges that touch"),
        pytest.param([45.0, 50, 60, 70, 80], id="by less than its own spread"),
    ],
)
def test_a_comparison_takes_noise_for_noise(after: list[float]):
    before = {"mpkernel": BEFORE["mpkernel"]}
    assert compare.moves(report_of(before), report_of({"mpkernel": after})) == []


def test_few_repetitions_have_to_differ_more_to_count():
    before, after = {"mpkernel": [40.0, 41]}, {"mpkernel": [60.0, 61]}
    assert compare.moves(report_of(before, 2), report_of(after, 2)) == []
    after = {"mpkernel": [90.0, 91]}
    assert len(compare.moves(report_of(before, 2), report_of(after, 2))) == 1


def test_a_target_is_met_by_the_median_of_the_ratios():
    measure = report_of(BEFORE).results[0].measures[0]
    assert measure.meets(Target(0.5, "ZeroMQ")) is True
    assert measure.meets(Target(0.3, "ZeroMQ")) is False
    assert measure.meets(Target(0.3, "memcpy")) is None
    measure.better = "more"
    assert measure.meets(Target(0.5, "ZeroMQ")) is False


def test_the_table_has_a_column_for_the_load_where_there_was_one(tmp_path: Path):
    report = report_of({"mpkernel": [3.0], "ZeroMQ": [10.0]})
    [loaded] = report_of({"mpkernel": [6.0], "ZeroMQ": [10.0]}).results
    loaded.is_loaded = True
    report.results.append(loaded)
    lines = markdown.table(report).splitlines()
    assert lines[0].endswith("| wanted | beside a load |")
    assert (
        lines[2] == "| trips: a trip | 3 µs | ZeroMQ | 0.3 (0.3 to 0.3) | ≤ 0.5 | 0.6 **not met** |"
    )


def test_a_second_table_has_what_the_same_work_costs_at_the_least():
    report = report_of({"mpkernel": [3.0], "ZeroMQ": [10.0], "bare threads": [2.0]})
    head, _, row = markdown.lower_bounds(report).splitlines()
    assert head == "| | mpkernel | lower bound | | ratio |"
    assert row == "| trips: a trip | 3 µs | bare threads | 2 µs | 1.5 (1.5 to 1.5) |"
    assert markdown.lower_bounds(report_of({"mpkernel": [3.0], "ZeroMQ": [10.0]})) == ""


def test_the_table_of_targets_takes_its_place_in_a_file(tmp_path: Path):
    report = report_of({"mpkernel": [3.0, 4.0, 5.0], "ZeroMQ": [10.0, 10.0, 10.0]})
    report.results[0].measures[0].targets = [Target(0.35, "ZeroMQ")]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- benchmarks -->\nan older one\n<!-- /benchmarks -->\nafter\n")
    markdown.write(report, page)
    assert "| ZeroMQ | 0.4 (0.3 to 0.5) | ≤ 0.35 **not met** |" in page.read_text()
    assert "an older one" not in page.read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("<!-- /benchmarks -->\nafter\n")


@pytest.fixture
def without_zmq(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: find(name) if name != "zmq" else None
    )


@pytest.mark.usefixtures("without_zmq")
def test_without_pyzmq_its_column_is_left_out_with_a_line(capsys: pytest.CaptureFixture[str]):
    assert main(["memory", "--quick", "--repetitions", "1"]) == 0
    shown = capsys.readouterr().out
    assert "without ZeroMQ: zmq is not installed" in shown
    assert "mp.Queue" in shown
    assert not any(line.startswith("    ZeroMQ") for line in shown.splitlines())


def test_mpkernel_bench_runs_the_suite(capsys: pytest.CaptureFixture[str]):
    assert bench.run(["--list"]) == 0
    assert "round-trip" in capsys.readouterr().out


def test_mpkernel_bench_shows_its_help_and_list_without_its_extra():
    code = (
        "import sys; sys.modules |= dict.fromkeys(('rich', 'matplotlib', 'httpx', 'zmq'))\n"
        "from mpkernel.cli.main import main; sys.exit(main(['bench', sys.argv[1]]))"
    )
    for option, shown in (("--help", "mpkernel bench --quick "), ("--list", "round-trip ")):
        ran = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert shown in ran.stdout


def test_mpkernel_bench_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "rich" else find(name)
    )
    assert bench.run([]) == 1
    assert "needs rich (pip install 'mpkernel[bench]')" in capsys.readouterr().err


def whole_family(run):
    """The processes of a run, once all that it starts are there."""
    family = run.children(recursive=True)
    return family if len(family) >= len(("tracker", "contender", "host")) else None


def test_an_interrupted_run_leaves_no_process():
    run = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "fairness", "--quick"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started = psutil.Process(run.pid)
    try:
        family = until(lambda: whole_family(started))
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait(PATIENCE_S) == 130
        assert run.stderr is not None
        assert "Traceback" not in run.stderr.read()
        _, alive = psutil.wait_procs(family, timeout=10)
        assert not alive
    finally:
        run.kill()
        run.communicate()
