"""`create_dashboard_app`: the dashboard as an ASGI application."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpkernel.marimo_backend.asgi import AsgiApp

__all__ = ["NOTEBOOK", "create_dashboard_app"]

NOTEBOOK = Path(__file__).parent / "notebook" / "dashboard.py"


def create_dashboard_app(*, token: str | None = None) -> AsgiApp:
    """The dashboard of `mpkernel dashboard`, to be mounted in an application of yours.

        app.mount("/operators", create_dashboard_app())

    Whoever is let in can restart apps and stop servers: put your own authentication around it.
    Where that is Starlette's `AuthenticationMiddleware`, or another one that sets `scope["user"]`,
    the name of the user is logged with each order.

    Args:
        token: what a page must present to be let in, as `?access_token=`. Default: nothing.

    Raises:
        UnsupportedMarimo: marimo is missing, or mpkernel does not support its version.
        MPKernelError: the environment says that mpkernel must leave marimo alone.
    """
    from mpkernel.marimo_backend.asgi import create_asgi_app

    builder = create_asgi_app(token=token, quiet=True)
    app: AsgiApp = builder.with_app(path="", root=str(NOTEBOOK)).build()
    return app
