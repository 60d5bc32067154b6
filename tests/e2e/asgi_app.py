"""A web application that mounts notebooks: `python asgi_app.py PORT NOTEBOOK…`.

Each notebook is mounted under its stem; `/fork` leaves a forked helper of the server behind.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import marimo
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route


async def health(_: Request) -> JSONResponse:
    return JSONResponse("healthy")


async def fork(_: Request) -> JSONResponse:
    child = os.fork()
    if child == 0:
        time.sleep(8)
        os._exit(0)
    return JSONResponse(child)


def main(port: str, *notebooks: str) -> None:
    builder = marimo.create_asgi_app(session_ttl=2)
    for notebook in notebooks:
        builder = builder.with_app(path=f"/{Path(notebook).stem}", root=notebook)
    routes = [Route("/health", health), Route("/fork", fork), Mount("/", builder.build())]
    uvicorn.run(Starlette(routes=routes), port=int(port), log_level="error")


if __name__ == "__main__":
    main(*sys.argv[1:])
