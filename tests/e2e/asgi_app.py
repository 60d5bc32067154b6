"""Web applications that serve notebooks: `python asgi_app.py PORT NOTEBOOK…`, or `make` for other
servers.

Each notebook is served under its stem; `/health` answers, `/fork` leaves a forked helper of the
server behind, `/zmq` tells whether libzmq can be had. Which framework and whose builder is said by
`ASGI_FRAMEWORK` (starlette, fastapi, lifespan: FastAPI that runs the lifespan of what it mounts, or
bare: the builder's own application) and `ASGI_BUILDER` (marimo or mpkernel); `ASGI_TOKEN` is the
pages' token; with `ASGI_SANDBOX` notebooks have environments of their own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import marimo
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

import mpkernel


async def health(_: Request) -> JSONResponse:
    return JSONResponse("healthy")


async def fork(_: Request) -> JSONResponse:
    child = os.fork()
    if child == 0:
        time.sleep(8)
        os._exit(0)
    return JSONResponse(child)


async def zmq(_: Request) -> JSONResponse:
    found = importlib.util.find_spec("zmq") is not None
    return JSONResponse({"found": found, "imported": "zmq" in sys.modules})


def make(*notebooks: str) -> Any:
    """The application that the environment asks for."""
    package = {"marimo": marimo, "mpkernel": mpkernel}[os.environ.get("ASGI_BUILDER", "marimo")]
    own = {"sandbox": True} if "ASGI_SANDBOX" in os.environ else {}
    builder = package.create_asgi_app(session_ttl=2, token=os.environ.get("ASGI_TOKEN"), **own)
    for notebook in notebooks:
        builder = builder.with_app(path=f"/{Path(notebook).stem}", root=notebook)
    framework = os.environ.get("ASGI_FRAMEWORK", "starlette")
    return builder.build() if framework == "bare" else _mounted(framework, builder.build())


def _mounted(framework: str, notebooks: Any) -> Any:
    if framework in ("fastapi", "lifespan"):
        from fastapi import FastAPI

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            async with notebooks.router.lifespan_context(notebooks):
                yield

        app: Any = FastAPI(lifespan=lifespan if framework == "lifespan" else None)
    else:
        app = Starlette()
    for route in (health, fork, zmq):
        app.router.add_route(f"/{route.__name__}", route)
    app.mount("/", notebooks)
    return app


if __name__ == "__main__":
    uvicorn.run(make(*sys.argv[2:]), port=int(sys.argv[1]), log_level="error")
