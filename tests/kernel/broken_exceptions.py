"""Exceptions of a user whose text, name, traceback or exit code cannot be had."""

from __future__ import annotations

__all__ = ["BROKEN"]

BROKEN = """
import sys

class Deaf:
    def write(self, text):
        raise SystemExit("not even what it was told")

class Broken(Exception):
    def __str__(self):
        raise SystemExit("not even this")

class Class(type):
    def __getattribute__(self, name):
        raise SystemExit("not even its name")

class Nameless(Exception, metaclass=Class):
    pass

class Frameless(Exception):
    @property
    def __traceback__(self):
        raise SystemExit("not even where it was")

    @__traceback__.setter
    def __traceback__(self, frames):
        pass

class Codeless(SystemExit):
    @property
    def code(self):
        raise SystemExit("not even its exit code")
"""
