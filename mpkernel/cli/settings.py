"""`mpkernel settings [PATH…]`: each setting that `mpkernel run PATH…` has, and where it is from."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import msgspec

from mpkernel.cli.flags import take_settings
from mpkernel.configuration.sources import Gathered, gather
from mpkernel.configuration.values import as_text, kind_of
from mpkernel.marimo_backend.defaults import DEFAULTS

__all__ = ["run"]

_USAGE = """\
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

  --json   as JSON, sizes in bytes

  `mpkernel docs settings` says what each setting does.

  Exit code: 0; 1 if something is unknown or impossible, with its place.
"""


def run(arguments: Sequence[str]) -> int:
    """Show settings; give the exit code.

    Args:
        arguments: what follows `mpkernel settings`.

    Raises:
        SettingsError: something is unknown or impossible.
    """
    if "-h" in arguments or "--help" in arguments:
        print(_USAGE, end="")
        return os.EX_OK
    taken = take_settings(arguments)
    paths = [other for other in taken.others if other != "--json"]
    unknown = [path for path in paths if path.startswith("-")]
    if unknown:
        print(f"mpkernel: there is no option {unknown[0]}\n\n{_USAGE}", end="", file=sys.stderr)
        return 2
    gathered = gather(taken.sources(os.environ, paths), DEFAULTS)
    if len(paths) == 1 and not os.path.isdir(paths[0]):
        gathered = gathered.of_app(paths[0])
    print(_as_json(gathered) if "--json" in taken.others else _as_table(gathered))
    return os.EX_OK


def _as_json(gathered: Gathered) -> str:
    values = msgspec.structs.asdict(gathered.settings)
    return json.dumps(
        {
            "file": gathered.file,
            "settings": {
                name: {"value": values[name], "from": origin.kind, "place": origin.place}
                for name, origin in gathered.origins.items()
            },
            "apps": [{"path": rule.path, "settings": rule.changes} for rule in gathered.rules],
        },
        indent=2,
    )


def _as_table(gathered: Gathered) -> str:
    rows = [
        (name, as_text(name, getattr(gathered.settings, name)), kind_of(name), str(origin))
        for name, origin in gathered.origins.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in (("SETTING", "VALUE", "TAKES", "FROM"), *rows)
    ]
    for rule in gathered.rules:
        changes = (f"{name} = {as_text(name, value)}" for name, value in rule.changes.items())
        lines += ["", f"apps that match {rule.path}:", *(f"  {change}" for change in changes)]
    return "\n".join(lines)
