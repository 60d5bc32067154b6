"""`mpkernel settings [PATH…]`: each setting that `mpkernel run PATH…` has, and where it is from."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import msgspec

from mpkernel.cli.flags import take_settings
from mpkernel.cli.output import as_json, show
from mpkernel.cli.parsers import similar
from mpkernel.cli.paths import check_paths
from mpkernel.cli.screen import Screen, Style, screen
from mpkernel.cli.tables import Cell, columns, heads, wrapped
from mpkernel.configuration.names import flag_of
from mpkernel.configuration.sources import Gathered, gather
from mpkernel.configuration.values import as_text, kind_of
from mpkernel.marimo_backend.defaults import DEFAULTS
from mpkernel.plain_text import plain

__all__ = ["USAGE", "run"]

USAGE = """\
Usage: mpkernel settings [PATH...] [--settings FILE] [--NAME VALUE]... [--json]

  Show each setting with its value and where it comes from, as `mpkernel run` with the same PATHs
  and flags would have it. A single notebook is shown with what is its own.

  The first that sets a value counts:
    flag          --memory-hard-bytes 2GiB
    environment   MPKERNEL_MEMORY_HARD_BYTES=2GiB
    file          [tool.mpkernel] in the nearest pyproject.toml, from the folder of the PATHs
                  upward (without PATHs, the current one), or in the file that --settings or
                  MPKERNEL_SETTINGS names
    default
  and above all these, for the apps that match (the first entry that does):
    app           [[tool.mpkernel.apps]] with path = "reports/**", in the same file

  --json   for programs, sizes in bytes (mpkernel docs commands)

  `mpkernel docs settings` says what each setting does.

  Exit code: 0; 1 if something is unknown or impossible, with its place.

examples:
  mpkernel settings                      as a server of the current folder has them
  mpkernel settings notebooks/sales.py   those of one notebook
  mpkernel settings --standby 3          check a flag before the server gets it
"""
_HEAD = heads("SETTING", "VALUE", "TAKES", "FROM")
_DEFAULT: Style = "quiet"
_CHANGED: Style = "good"
_NEXT = "mpkernel docs settings says what each does, and where it is set"


def run(arguments: Sequence[str]) -> int:
    """Show settings; give the exit code.

    Args:
        arguments: what follows `mpkernel settings`.

    Raises:
        SettingsError: something is unknown or impossible.
        MPKernelError: a path is missing.
    """
    if "-h" in arguments or "--help" in arguments:
        print(USAGE, end="")
        return os.EX_OK
    taken = take_settings(arguments)
    paths = [other for other in taken.others if other != "--json"]
    unknown = [path for path in paths if path.startswith("-")]
    if unknown:
        meant = similar(unknown[0], [*map(flag_of, DEFAULTS.__struct_fields__), "--json"])
        error = f"there is no option {unknown[0]}{meant}"
        print(f"mpkernel: {error}\n\n{USAGE}", end="", file=sys.stderr)
        return 2
    check_paths(paths)
    gathered = gather(taken.sources(os.environ, paths), DEFAULTS)
    if len(paths) == 1 and not os.path.isdir(paths[0]):
        gathered = gathered.of_app(paths[0])
    if "--json" in taken.others:
        print(_as_json(gathered))
    else:
        show(_as_table(gathered, screen()), then=_NEXT)
    return os.EX_OK


def _as_json(gathered: Gathered) -> str:
    values = msgspec.structs.asdict(gathered.settings)
    return as_json(
        "settings",
        file=gathered.file,
        settings={
            name: {"value": values[name], "from": origin.kind, "place": origin.place}
            for name, origin in gathered.origins.items()
        },
        apps=[{"path": rule.path, "settings": rule.changes} for rule in gathered.rules],
    )


def _as_table(gathered: Gathered, to: Screen) -> list[str]:
    rows = []
    for name, origin in gathered.origins.items():
        value = plain(as_text(name, getattr(gathered.settings, name)))
        style = _DEFAULT if origin.kind == "default" else _CHANGED
        rows.append((name, Cell(value, style), kind_of(name), Cell(plain(str(origin)), style)))
    lines = columns([_HEAD, *rows], flexible={1, 2, 3}, omit=(2,), screen=to)
    for rule in gathered.rules:
        lines += ["", *wrapped(f"apps that match {plain(rule.path)}:", to, indent="  ", first="")]
        for name, value in rule.changes.items():
            lines += wrapped(
                f"{name} = {plain(as_text(name, value))}", to, indent="    ", first="  "
            )
    return lines
