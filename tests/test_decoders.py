"""msgspec looks at a class when it decodes to it for the first time. A second thread that decodes
to the same class meanwhile reads what is not filled in yet, and the process dies of a SIGSEGV
(msgspec 0.22). So a decoder for classes is made when its module is imported, and kept."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import mpkernel

PACKAGE = Path(mpkernel.__file__).parent

# These decode on one thread only, or to types that have no fields.
_MAY_LOOK = {
    "configuration/values.py",
    "dask_backend/trying.py",
    "kernel/script.py",
    "marimo_backend/server/handed_scope.py",
    "marimo_backend/server/kept_journal.py",
    "marimo_backend/server/overlay.py",
    "marimo_backend/spooled.py",
    "own_folders.py",
    "settings.py",
}


def test_what_threads_decode_has_a_decoder_that_is_kept() -> None:
    assert _files_that_call_in_a_function(_decodes_to_a_type) == _MAY_LOOK


def test_decoders_are_made_when_their_module_is_imported() -> None:
    """But for marimo's messages: that decoder is made when the server's first pool is."""
    assert _files_that_call_in_a_function(_makes_a_decoder) == {"marimo_backend/seam.py"}


def _decodes_to_a_type(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    return name == "msgspec.convert" or (
        name.endswith(".decode") and any(keyword.arg == "type" for keyword in call.keywords)
    )


def _makes_a_decoder(call: ast.Call) -> bool:
    return ast.unparse(call.func) in ("msgspec.json.Decoder", "msgspec.msgpack.Decoder")


def _files_that_call_in_a_function(is_meant: Callable[[ast.Call], bool]) -> set[str]:
    return {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if any(isinstance(part, ast.Call) and is_meant(part) for part in ast.walk(function))
    }
