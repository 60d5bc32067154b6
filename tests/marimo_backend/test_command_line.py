"""marimo's command line is as `mpkernel run` expects it."""

from __future__ import annotations

from mpkernel.marimo_backend.command_line import command_line


def test_the_command_line_is_a_click_group_with_run() -> None:
    assert "run" in command_line().commands
