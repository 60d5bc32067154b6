"""A web application with authentication as marimo documents it, and middleware that puts all kinds
of objects into its requests: `python srv.py PORT`, or `uvicorn srv:app`.

The user is of this module, or, with `REQUESTS_USER=simple`, Starlette's own. Every process that
runs this module adds a line to the file `REQUESTS_LOG`. `REQUESTS_LARGE` is the length of one text.
"""

from __future__ import annotations

import enum
import os
import sqlite3
import sys
import threading
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import marimo
import uvicorn
from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    BaseUser,
    SimpleUser,
)
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse

import mpkernel

with Path(os.environ["REQUESTS_LOG"]).open("a") as log:
    log.write(f"{os.getpid()} {__name__}\n")


class Role(enum.Enum):
    ADMIN = "admin"


@dataclass
class Tenant:
    name: str
    role: Role
    connection: sqlite3.Connection | None = None

    @property
    def title(self) -> str:
        return f"Tenant {self.name}"


Point = namedtuple("Point", "x y")


class Tags(dict[str, str]):
    pass


class User(BaseUser):
    def __init__(self, name: str) -> None:
        self.username = name
        self._secret = threading.Lock()

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return self.username.title()


class Backend(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser]:
        make = SimpleUser if os.environ.get("REQUESTS_USER") == "simple" else User
        return AuthCredentials(["authenticated"]), make("ada")


class Meta:
    """Puts objects into each request, as marimo's documentation shows."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["meta"] = {
            "plain": {"numbers": [1, 2.5], "none": None},
            "tenant": Tenant("Acme", Role.ADMIN),
            "point": Point(3, 4),
            "tags": Tags(color="red"),
            "path": Path("/tmp/x"),
            "with_connection": Tenant("Base", Role.ADMIN, sqlite3.connect(":memory:")),
            "connection": sqlite3.connect(":memory:"),
            "lock": threading.Lock(),
            "function": lambda: 1,
            "class": Tenant,
            "nested": deeply_nested(),
            "large": "x" * int(os.environ.get("REQUESTS_LARGE", "0")),
        }
        await self._app(scope, receive, send)


def deeply_nested() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


async def health(_: Request) -> PlainTextResponse:
    return PlainTextResponse("healthy")


def make() -> Starlette:
    package: Any = {"marimo": marimo, "mpkernel": mpkernel}[os.environ["REQUESTS_BUILDER"]]
    notebook = str(Path(__file__).with_name("notebook.py"))
    notebooks = package.create_asgi_app(session_ttl=0).with_app(path="/", root=notebook).build()
    app = Starlette()
    app.router.add_route("/health", health)
    app.add_middleware(Meta)
    app.add_middleware(AuthenticationMiddleware, backend=Backend())
    app.mount("/", notebooks)
    return app


app = make()

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
