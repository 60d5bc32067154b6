"""The result of `build()` is a Starlette application, and after a test client nothing of it is
left."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from descendants import command_of
from e2e.harness import NOTEBOOKS
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from waiting import PATIENCE_S

import mpkernel

with pytest.warns() as _:  # Starlette's about its own choice of packages
    from starlette.testclient import TestClient

SLIDER = str(NOTEBOOKS / "slider.py")
CLIENTS = 3


def notebooks() -> Starlette:
    return mpkernel.create_asgi_app().with_app(path="", root=SLIDER).build()


def mounted() -> FastAPI:
    app = FastAPI()
    app.mount("/nb", notebooks())
    return app


def visit(client: TestClient, session: str, at: str = "/nb") -> int:
    """Open the slider's page, and have its cells run. Returns the process in which they ran."""
    assert client.get(f"{at}/").status_code == 200
    deadline = time.monotonic() + PATIENCE_S
    with client.websocket_connect(f"{at}/ws?session_id={session}") as page:
        while time.monotonic() < deadline:
            if found := re.search(r"in process (\d+)", page.receive().get("text") or ""):
                return int(found[1])
    raise TimeoutError("the notebook did not run")


def left() -> tuple[Counter[str], int, Counter[str]]:
    """The descriptors of this process by kind, its children, and the threads of mpkernel."""
    kinds = Counter[str]()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            kinds[os.readlink(f"/proc/self/fd/{fd}").partition("[")[0]] += 1
    ours = Counter(t.name for t in threading.enumerate() if t.name.startswith("mpkernel"))
    return kinds, len(children()), ours


def children() -> list[psutil.Process]:
    """Of this process; but for multiprocessing's resource tracker, which other tests may start."""
    found = psutil.Process().children()
    return [child for child in found if "resource_tracker" not in command_of(child)]


@pytest.fixture(scope="module")
def first_client() -> None:
    """With its first client, the process has made what it then keeps."""
    with TestClient(mounted()) as client:
        visit(client, "s_first0")


class TestTestClients:
    @pytest.fixture
    def _without_standby(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MPKERNEL_STANDBY", "0")

    @pytest.fixture(autouse=True)
    def _nothing_is_left(self, first_client: None) -> Iterator[None]:
        before = left()
        yield
        assert left() == before

    def test_many_in_a_row_leave_nothing(self) -> None:
        app = mounted()
        for number in range(CLIENTS):
            with TestClient(app) as client:
                visit(client, f"s_{number:06d}")

    @pytest.mark.usefixtures("_without_standby")
    def test_without_a_lifespan_they_leave_nothing_either(self) -> None:
        app = mounted()
        for number in range(CLIENTS):
            visit(TestClient(app), f"s_{number:06d}")

    @pytest.mark.usefixtures("_without_standby")
    def test_a_session_of_the_same_name_is_another_one(self) -> None:
        app = mounted()
        pids = []
        for _ in range(3):
            with TestClient(app) as client:
                pids.append(visit(client, "s_sameid"))
        assert len(set(pids)) == 3

    @pytest.mark.usefixtures("_without_standby")
    def test_with_the_applications_own_lifespan(self) -> None:
        built = mpkernel.create_asgi_app().with_app(path="/nb", root=SLIDER).build()
        for number in range(3):
            with TestClient(built) as client:
                visit(client, f"s_{number:06d}")

    @pytest.mark.usefixtures("_without_standby")
    def test_two_at_once_have_processes_of_their_own(self) -> None:
        app = mounted()
        together = threading.Barrier(2, timeout=PATIENCE_S)

        def one(session: str) -> int:
            try:
                with TestClient(app) as client:
                    pid = visit(client, session)
                    together.wait()  # both loops serve
                    assert visit(client, f"{session}2") == pid
                    together.wait()
                    return pid
            except BaseException:
                together.abort()
                raise

        with ThreadPoolExecutor(2) as threads:
            both = [threads.submit(one, session) for session in ("s_one000", "s_two000")]
        if errors := [error for one in both if isinstance(error := one.exception(), Exception)]:
            raise ExceptionGroup("the clients failed", errors)
        first, second = (one.result() for one in both)
        assert first != second


def of_a_folder(folder: Path) -> Any:
    return (
        mpkernel.create_asgi_app()
        .with_app(path="/one", root=SLIDER)
        .with_dynamic_directory(path="/all", directory=str(folder))
        .with_dynamic_directory(path="/again", directory=str(folder))
    )


class TestStarlette:
    @pytest.fixture(params=["notebook", "folder"])
    def app(self, request: pytest.FixtureRequest, tmp_path: Path) -> Starlette:
        if request.param == "notebook":
            return mpkernel.create_asgi_app().with_app(path="/one", root=SLIDER).build()
        shutil.copy(SLIDER, tmp_path / "slider.py")
        return of_a_folder(tmp_path).build()

    def test_it_is_one(self, app: Starlette) -> None:
        assert isinstance(app, Starlette)
        assert "/one" in [getattr(route, "path", None) for route in app.routes]
        app.state.mine = 1
        app.add_route("/health", lambda _: PlainTextResponse("healthy"))
        with TestClient(app) as client:
            assert client.get("/health").text == "healthy"
            assert client.get("/one/").status_code == 200
            assert client.get("/elsewhere").status_code == 404

    def test_middleware_is_around_every_notebook(self, app: Starlette) -> None:
        class Marking(BaseHTTPMiddleware):
            async def dispatch(self, request: Request, call_next: Any) -> Response:
                answer: Response = await call_next(request)
                answer.headers["x-mine"] = "yes"
                return answer

        app.add_middleware(Marking)
        with TestClient(app) as client:
            for path in ("/one/", "/all/slider/", "/again/slider/", "/elsewhere"):
                answer = client.get(path)
                assert answer.headers["x-mine"] == "yes", path

    @pytest.mark.parametrize("calls_the_one_before", [True, False])
    def test_a_lifespan_is_put_around_its_own(
        self, app: Starlette, calls_the_one_before: bool
    ) -> None:
        events: list[str] = []
        before = app.router.lifespan_context

        @contextlib.asynccontextmanager
        async def lifespan(of: Starlette) -> AsyncIterator[dict[str, str]]:
            assert of is app
            events.append("begins")
            async with before(of) if calls_the_one_before else contextlib.nullcontext():
                yield {"mine": "state"}
            events.append("ends")

        async def told(request: Request) -> Response:
            return PlainTextResponse(request.state.mine)

        app.router.lifespan_context = lifespan
        app.add_route("/state", told)
        with TestClient(app) as client:
            assert events == ["begins"]
            assert client.get("/state").text == "state"
            assert client.get("/one/").status_code == 200
        assert events == ["begins", "ends"]
        assert not children()

    def test_a_lifespan_that_fails_leaves_nothing(self, app: Starlette) -> None:
        @contextlib.asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            raise RuntimeError("no database")
            yield

        app.router.lifespan_context = lifespan
        with pytest.raises(RuntimeError, match="no database"), TestClient(app):
            pass
        assert not children()

    def test_its_lifespan_may_be_part_of_anothers(self, app: Starlette) -> None:
        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            async with app.router.lifespan_context(app):
                yield

        outer = FastAPI(lifespan=lifespan)
        outer.mount("/nb", app)
        with TestClient(outer) as client:
            assert len(children()) == 1, "no process warms up for the first page"
            assert client.get("/nb/one/").status_code == 200
        assert not children()


def test_every_notebook_of_a_folder_is_isolated(tmp_path: Path) -> None:
    shutil.copy(SLIDER, tmp_path / "slider.py")
    builder = of_a_folder(tmp_path)
    app = builder.build()
    assert builder.build() is app
    outer = FastAPI()
    outer.mount("/nb", app)
    with TestClient(outer) as client:
        one = visit(client, "s_folder", "/nb/all/slider")
        assert os.getpid() != one == visit(client, "s_again0", "/nb/again/slider")
    assert not children()
