"""Metrics: what their text says, and that its readers can read it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as as_openmetrics
from server.openmetrics import number, numbers
from server.snapshots import app_snapshot, host_snapshot, pool_of

from mpkernel.server.operations.metrics import ServerFacts, metrics_of
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.tallies import BOUNDS_S, Histogram, Tallies

FACTS = ServerFacts("mine", 7, "1.0", "3.11.2", 1.7e9, 2**20)


class TestTheText:
    # Whatever a file system allows, and what it does not.
    @given(st.lists(st.text(st.characters(exclude_categories=())), max_size=3, unique=True))
    @example(["/\udcff.py", "/?.py"])
    def test_is_read_by_both_parsers_whatever_apps_are_called(self, paths: list[str]) -> None:
        readable = [path.encode("utf-8", "backslashreplace").decode() for path in paths]
        if len(set(readable)) < len(paths):
            return  # two that cannot be told apart
        apps = [app_snapshot(path, Tallies(), host_snapshot(1)) for path in paths]
        found = numbers(metrics_of(pool_of(*apps), FACTS))
        assert {
            dict(labels)["app"] for name, labels in found if name == "mpkernel_sessions"
        } == set(readable)

    @pytest.mark.parametrize(
        "path", ['/a"b.py', "/a\\b.py", "/a\nb.py", '/a\\"\n# EOF\nx 1\n', "/a\\n.py", "/a\r\x85b"]
    )
    def test_is_not_steered_by_a_path(self, path: str) -> None:
        found = numbers(metrics_of(pool_of(app_snapshot(path, Tallies())), FACTS))
        assert number(found, "sessions", app=path) == 0

    def test_says_what_each_number_is(self) -> None:
        app = app_snapshot("/app.py", Tallies(), host_snapshot(1))
        families = list(as_openmetrics(metrics_of(pool_of(app), FACTS)))
        assert all(family.documentation.endswith(".") for family in families)
        for family in families:
            for unit in ("seconds", "bytes"):
                assert (family.unit == unit) is family.name.endswith(f"_{unit}")
        kinds = {family.name: family.type for family in families}
        assert kinds["mpkernel_host_deaths_total"] == "unknown"
        assert kinds["mpkernel_hosts"] == "gauge"
        assert kinds["mpkernel_host_ping_seconds"] == "histogram"

    def test_has_no_types_and_no_empty_lines_that_only_one_format_knows(self) -> None:
        lines = metrics_of(pool_of(app_snapshot("/app.py", Tallies())), FACTS).splitlines()
        assert all(lines)
        kinds = {line.split()[-1] for line in lines if line.startswith("# TYPE")}
        assert kinds == {"gauge", "histogram"}

    def test_counts_deaths_by_every_reason_from_the_beginning(self) -> None:
        tallies = Tallies()
        tallies.deaths[Reason.OUT_OF_MEMORY] += 2
        found = numbers(metrics_of(pool_of(app_snapshot("/app.py", tallies)), FACTS))
        deaths = {
            reason: number(found, "host_deaths_total", reason=reason.value) for reason in Reason
        }
        assert deaths == {**dict.fromkeys(Reason, 0), Reason.OUT_OF_MEMORY: 2}

    def test_counts_for_the_server_what_it_counts_for_all_apps_together(self) -> None:
        apps = []
        for path in ("/a.py", "/b.py"):
            tallies = Tallies()
            tallies.sessions = 3
            tallies.deaths[Reason.KILLED] += 1
            tallies.ping.observe(0.2)
            apps.append(app_snapshot(path, tallies))
        found = numbers(metrics_of(pool_of(*apps), FACTS))
        assert number(found, "server_sessions_opened_total") == 6
        assert number(found, "server_host_deaths_total", reason="killed") == 2
        assert number(found, "server_host_ping_seconds_count") == 2
        assert number(found, "server_host_ping_seconds_sum") == pytest.approx(0.4)
        mine = {name.removeprefix("mpkernel_server_") for name, labels in found}
        for name, labels in found:
            if "app" in dict(labels) and name.endswith("_total"):
                assert name.removeprefix("mpkernel_") in mine

    def test_leaves_out_what_is_not_known_and_who_is_gone(self) -> None:
        hosts = (host_snapshot(1), host_snapshot(2, "died"))
        found = numbers(metrics_of(pool_of(app_snapshot("/app.py", Tallies(), *hosts)), FACTS))
        assert number(found, "host_threads", process="1") == 3
        assert number(found, "host_descriptors", process="1") is None
        assert number(found, "host_threads", process="2") is None
        assert number(found, "hosts", state="ready") == 1

    def test_says_on_which_machine_a_process_of_a_cluster_runs(self) -> None:
        workers = (None, "", "tcp://10.0.0.7:4711", "tls://[fe80::1]:4711")
        hosts = [host_snapshot(at, worker=worker) for at, worker in enumerate(workers)]
        found = numbers(metrics_of(pool_of(app_snapshot("/app.py", Tallies(), *hosts)), FACTS))
        assert number(found, "hosts_without_worker") == 1
        machines = {
            (dict(labels)["process"], dict(labels)["machine"])
            for name, labels in found
            if name == "mpkernel_host_machine"
        }
        assert machines == {("2", "10.0.0.7"), ("3", "[fe80::1]")}


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_each_duration_up_to_every_bound_over_it(durations: list[float]) -> None:
    tallies = Tallies()
    for duration_s in durations:
        tallies.ping.observe(duration_s)
    found = numbers(metrics_of(pool_of(app_snapshot("/app.py", tallies)), FACTS))
    for bound in BOUNDS_S:
        counted = number(found, "host_ping_seconds_bucket", le=str(bound))
        assert counted == sum(duration_s <= bound for duration_s in durations)
    assert number(found, "host_ping_seconds_bucket", le="+Inf") == len(durations)
    assert number(found, "host_ping_seconds_count") == len(durations)
    assert number(found, "host_ping_seconds_sum") == pytest.approx(sum(durations))


def test_a_new_histogram_is_empty() -> None:
    assert sum(Histogram().latencies().counts) == 0
