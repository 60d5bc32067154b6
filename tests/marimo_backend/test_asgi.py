"""`create_asgi_app` takes what marimo's takes, and refuses what it cannot isolate."""

from __future__ import annotations

import importlib.util
import inspect
import sys

import pytest

import mpkernel
from mpkernel.errors import MPKernelError
from mpkernel.marimo_backend import seam


def test_it_takes_what_marimos_takes_with_marimos_defaults() -> None:
    ours = inspect.signature(mpkernel.create_asgi_app).parameters
    for name, theirs in inspect.signature(seam.server("create_asgi_app")).parameters.items():
        assert ours[name].default == theirs.default
        assert ours[name].kind == theirs.kind


@pytest.mark.parametrize("method", ["with_app", "with_dynamic_directory", "build"])
def test_its_builder_takes_what_marimos_takes(method: str) -> None:
    theirs = seam.server("create_asgi_app")()
    ours = mpkernel.create_asgi_app()

    def parameters(builder: object) -> list[tuple[str, object, object]]:
        signature = inspect.signature(getattr(builder, method))
        return [(p.name, p.kind, p.default) for p in signature.parameters.values()]

    assert parameters(ours) == parameters(theirs)


def test_an_option_that_this_marimo_lacks_is_named() -> None:
    own = "sandbox"
    known = inspect.signature(seam.server("create_asgi_app")).parameters
    for name, ours in inspect.signature(mpkernel.create_asgi_app).parameters.items():
        if name not in known and name != own:
            with pytest.raises(TypeError, match=name):
                mpkernel.create_asgi_app(**{name: not ours.default})


def test_marimos_record_of_zmq_is_as_it_was() -> None:
    record = seam.server("DependencyManager").zmq
    before = "zmq" in sys.modules
    mpkernel.create_asgi_app()
    assert seam.server("DependencyManager").zmq is record
    assert record.has() is (importlib.util.find_spec("zmq") is not None)
    assert ("zmq" in sys.modules) is before


def test_it_never_serves_without_isolation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPKERNEL_DISABLE", "1")
    with pytest.raises(MPKernelError, match="MPKERNEL_DISABLE"):
        mpkernel.create_asgi_app()
    monkeypatch.delenv("MPKERNEL_DISABLE")
    monkeypatch.setenv("MARIMO_SERVER_ASGI_MIDDLEWARE_DENYLIST", "mpkernel")
    with pytest.raises(MPKernelError, match="leaves mpkernel out"):
        mpkernel.create_asgi_app()
