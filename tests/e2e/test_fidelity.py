"""Everything of marimo's run mode works with mpkernel as it does with marimo alone.

    python -m pytest tests/e2e/test_fidelity.py --fidelity-table mpkernel/docs/serving.md

checks marimo's own app hosts and a cluster too, and writes the table into the page. The outcome of
a check has to be what it is with marimo alone.

    python -m pytest tests/e2e/test_fidelity.py --fidelity-cluster 20

checks a cluster too, between whose machines each packet takes 20 ms; what needs an index of
packages, which these machines do not reach, is left out there. With 0 there is no network between.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import pytest_asyncio
from e2e import fidelity_pages as pages
from e2e import fidelity_servers as servers
from e2e.fidelity import Feature, Outcomes
from e2e.fidelity_backends import ALONE, BACKENDS, ZEROMQ, Backend
from e2e.fidelity_elements import elements
from e2e.fidelity_table import MARKERS, markdown, noted
from playwright.async_api import Browser
from playwright.async_api import TimeoutError as PageTimeoutError

NO_SHARING = "marimo's pages share a session in its editor only"
NO_INPUT = "marimo gives notebooks no standard input in run mode"

ARGUMENTS = ("--", "--name", "Ada", "--count", "3", "--verbose")
WATCHING = (
    *("--watch", "--show-tracebacks", "--session-ttl", "1"),
    "--redirect-console-to-browser",
)

FEATURES = [
    Feature("query parameters", pages.query_parameters),
    Feature("command-line arguments", pages.arguments),
    Feature("`mo.app_meta().request`", pages.request),
    Feature("`mo.state`, set from a `mo.Thread` too", pages.state),
    Feature("anywidget, both ways", pages.widget),
    Feature("`mo.output` and `mo.Thread`", pages.output),
    Feature("`mo.status` from threads", pages.progress),
    Feature("`mo.stop`", pages.stop),
    Feature("`mo.download`", pages.downloads),
    Feature("`mo.ui` of every kind", elements),
    # Before, marimo's own search finds nothing with a pandas or narwhals of today.
    Feature("`mo.ui.table` with paging and search", pages.tables, since=(0, 24)),
    Feature("`mo.ui.data_explorer`", pages.explorer),
    Feature("embedded apps (`app.embed()`)", pages.embedding),
    Feature("SQL cells on DuckDB", pages.sql),
    Feature("a large plot, an upload, and what is printed", pages.together, options=WATCHING),
    Feature("several browsers, a session each", servers.browsers, "watched"),
    Feature(
        "several browsers on one session",
        servers.shared_session,
        "watched",
        unsupported={backend.key: NO_SHARING for backend in BACKENDS},
    ),
    Feature("`--watch`", servers.watch, "watched", WATCHING),
    Feature(
        "`--sandbox`: two versions of a package, and Markdown",
        servers.sandboxes,
        "packages",
        ("--sandbox",),
        fetches=True,
    ),
    Feature("`--show-tracebacks`", servers.show_tracebacks, "failing", WATCHING),
    Feature("`--session-ttl`", servers.session_ttl, "lasting", WATCHING),
    Feature("tokens", servers.tokens, "request", ("--token", "--token-password", "secret")),
    Feature("`--base-url`", servers.base_url, "request", ("--base-url", "/apps")),
    Feature(
        "server-sent events",
        servers.server_sent_events,
        "state",
        project='[tool.marimo.server]\ntransport = "sse"\n',
        since=(0, 24),
    ),
    Feature(
        "`input()`",
        pages.asking,
        unsupported={backend.key: NO_INPUT for backend in BACKENDS},
    ),
]

PAGE = Path(__file__).parents[2] / "mpkernel" / "docs" / "serving.md"
MARIMO = tuple(map(int, re.findall(r"\d+", version("marimo"))[:3]))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "feature" not in metafunc.fixturenames:
        return
    option = metafunc.config.getoption
    has_all = option("fidelity_table", default=None) is not None
    delay_ms = option("fidelity_cluster", default=None)
    has_cluster = has_all or delay_ms is not None
    backends = [
        backend
        for backend in BACKENDS
        if has_all or (has_cluster if backend.on_cluster else backend is not ZEROMQ)
    ]
    features = [feature for feature in FEATURES if feature.since <= MARIMO]
    cases = [
        pytest.param(
            feature, backend, id=f"{feature.key}-{backend.key}", marks=marks(feature, backend)
        )
        for feature in features
        for backend in backends
        if not (feature.fetches and backend.on_cluster and delay_ms)
    ]
    metafunc.parametrize(("feature", "backend"), cases)


def marks(feature: Feature, backend: Backend) -> list[pytest.MarkDecorator]:
    reason = feature.unsupported.get(backend.key)
    return (
        [pytest.mark.xfail(strict=True, raises=(AssertionError, PageTimeoutError), reason=reason)]
        if reason
        else []
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(browser: Browser, pytestconfig: pytest.Config) -> AsyncIterator[Outcomes]:
    delay_ms = pytestconfig.getoption("fidelity_cluster") or 0.0
    async with Outcomes(browser, (ARGUMENTS, WATCHING), delay_ms / 1000) as outcomes:
        yield outcomes


@pytest.mark.asyncio(loop_scope="module")
async def test_run_mode_is_the_same_on_every_backend(
    outcomes: Outcomes,
    feature: Feature,
    backend: Backend,
    record_property: Callable[[str, object], None],
) -> None:
    record_property("fidelity", (feature.name, backend.title))
    outcome = await outcomes.of(feature, backend)
    if ALONE.key not in feature.unsupported:
        assert outcome == await outcomes.of(feature, ALONE)


def test_the_page_has_the_table_that_these_tests_make() -> None:
    cells: dict[str, dict[str, str]] = {}
    notes: list[str] = []
    for feature in FEATURES:
        row = cells.setdefault(feature.name, {})
        for backend in BACKENDS:
            reason = feature.unsupported.get(backend.key)
            row[backend.title] = noted("no", reason, notes) if reason else "yes"
    begin, end = MARKERS
    written = PAGE.read_text().partition(begin)[2].partition(end)[0]
    assert written.strip() == markdown(cells, notes).strip()
