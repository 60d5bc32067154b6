"""`compile_url_pattern_late`: marimo starts sooner without its pattern for URLs.

marimo has one regular expression that tells a URL from other text, and compiles it when it is
imported: a tenth of a second, of the seven tenths that all of marimo takes. Most servers and apps
never look at a URL with it. Here a module stands in the place of marimo's, until a text comes that
may be a URL.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["compile_url_pattern_late"]

_NAME = "marimo._utils.url"


def compile_url_pattern_late() -> None:
    """From now on, an import of marimo in this process does not compile the pattern. To be called
    before marimo is imported; later, it does nothing. Idempotent."""
    if "marimo" not in sys.modules:
        sys.modules.setdefault(_NAME, _Deputy())


class _Deputy(ModuleType):
    """Has what marimo's module has, and imports that when it is first needed."""

    def __init__(self) -> None:
        super().__init__(_NAME)
        self.__spec__ = ModuleSpec(_NAME, loader=None)

    def is_url(self, value: str, *args: Any, **options: Any) -> Any:
        """The same as marimo's function. A text without `://` is no URL; that needs no pattern."""
        return "://" in value and _real().is_url(value, *args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the machinery of imports looks for
            raise AttributeError(name)
        return getattr(_real(), name)


def _real() -> ModuleType:
    if isinstance(sys.modules.get(_NAME), _Deputy):
        sys.modules.pop(_NAME, None)
    return importlib.import_module(_NAME)
