"""Environments for apps whose header (PEP 723) names the packages that they need; `uv` makes them.

    app.py ─ read_header ─▶ Header ─ recipe_for ─▶ Recipe ─ its key ─▶ Store: is it there, whole?
                                                                          ├─ yes ─▶ Environment
                                                                          └─ no ──▶ uv makes it

    header    what an app says of itself: its packages, and which Pythons it runs on; in Markdown,
              it says so in its `front_matter`
    recipe    what an environment is made of. Equal recipes share one environment
    uv        the program `uv`: where it is, what it is told, how it is ended
    making    how uv makes an environment
    order     what the server hands to the process that makes one
    compiled  what Python has compiled for one environment, and need not for another
    store     the folder of environments: found, locked against other processes, listed, pruned
    lock      the lock of one environment

An environment lies in a folder that is named by its key, and is made in that folder, because the
programs of packages name their interpreter by its path. It is *whole* when the file that says so
lies in it, and that file is written last. One lock per key keeps two processes from making the same
environment at once, and keeps what a process uses from being removed.

Nothing in this package needs an event loop: all of it may block, and is for a thread or a process
of its own.
"""

from __future__ import annotations

from mpkernel.sandboxes.header import Header, read_header
from mpkernel.sandboxes.making import Making
from mpkernel.sandboxes.recipe import Recipe, recipe_for
from mpkernel.sandboxes.store import Environment, Kept, Store
from mpkernel.sandboxes.uv import find_uv

__all__ = [
    "Environment",
    "Header",
    "Kept",
    "Making",
    "Recipe",
    "Store",
    "find_uv",
    "read_header",
    "recipe_for",
]
