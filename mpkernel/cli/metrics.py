"""`mpkernel metrics --grafana`: what other programs need to show the metrics of servers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from mpkernel.cli.grafana import dashboard
from mpkernel.cli.parsers import CommandParser

__all__ = ["parser", "run"]


def parser() -> CommandParser:
    """Of what follows `mpkernel metrics`."""
    made = CommandParser(
        prog="mpkernel metrics",
        description="Print what other programs need to show the numbers that servers write with"
        " --metrics-file.",
        examples={
            "mpkernel metrics --grafana > mpkernel.json": "to be imported in Grafana:"
            " Dashboards, New, Import",
        },
    )
    made.add_argument(
        "--grafana",
        action="store_true",
        required=True,
        help="a dashboard for Grafana 9 or later; its data source is Prometheus",
    )
    return made


def run(arguments: Sequence[str]) -> int:
    """Print it; give the exit code.

    Args:
        arguments: what follows `mpkernel metrics`.
    """
    parser().parse_args(arguments)
    print(json.dumps(dashboard(), indent=2))
    return os.EX_OK
