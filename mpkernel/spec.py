"""`KernelSpec`: what runs on a session's thread."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from mpkernel.argument_checks import check_argument
from mpkernel.errors import SettingsError

__all__ = ["KernelSpec"]


class KernelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel of a session, by name: it is imported in the app's process only.

    Attributes:
        entry: "package.module:function". The function is called on the session's own thread with
            one argument, a `mpkernel.Kernel`; the session ends when it returns. The
            app's own folder is importable.
        args: bytes that only this function reads, as `kernel.args`. Default: none.
        argv: what `sys.argv` shall hold after the app's path. Default: nothing. Counts when the
            session is the one that starts the process.
        env: the whole environment of the process, whatever `env_allow` and `env_deny` say. None
            for the server's own, as far as these let it through. Counts when the session is the one
            that starts the process.
        executable: another Python for the process: the path of its program, or of the folder of a
            virtual environment. It needs msgspec there, and `requirements`. Default: as
            `Settings.python` says. Counts when the session is the one that starts the process.
        sandbox: whether the app, if its file has a header that names its packages (PEP 723), runs
            in an environment of its own; see `docs/sandboxes.md`. Default: as `Settings.sandbox`
            says. Counts when the session is the one that starts the process.
        requirements: the packages that this function needs in such an environment, or with such a
            Python, as requirements (PEP 508). Default: none but mpkernel's own.
        left_out: packages that others ask for, and that are not installed in such an environment,
            unless the header names them. Default: none.

    Raises:
        SettingsError: a text in it cannot be handed to a process.
        TypeError: `entry` is not a string, `args` is not bytes, or `argv` is a single string, or
            has anything but strings in it.
    """

    entry: str
    args: bytes = b""
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] | None = None
    executable: str | None = None
    sandbox: bool | None = None
    requirements: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        named = 'the name of a function, as in "package.module:function"'
        check_argument("KernelSpec.entry", self.entry, str, named)
        check_argument("KernelSpec.args", self.args, bytes, "bytes")
        check_argument("KernelSpec.argv", self.argv, (tuple, list), "a tuple of strings")
        if self.executable is not None and (not self.executable or "\0" in self.executable):
            raise SettingsError(
                f"KernelSpec.executable is {self.executable!r}; it must be the path of a Python"
            )
        for one in self.argv:
            check_argument("each of KernelSpec.argv", one, str, "a string")
        for name, text in (("entry", self.entry), *(("argv", one) for one in self.argv)):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise SettingsError(
                    f"KernelSpec.{name} has {text!r}, which UTF-8 cannot express"
                ) from None
        for variable, value in (self.env or {}).items():
            try:
                is_impossible = b"\0" in os.fsencode(variable) + os.fsencode(value)
            except UnicodeEncodeError:
                is_impossible = True
            if is_impossible or not variable or "=" in variable:
                raise SettingsError(
                    f"KernelSpec.env has {variable!r}, which no process can have: a name must not"
                    " be empty or hold '=', and neither name nor value a NUL or what the file"
                    " system's encoding cannot express"
                )
