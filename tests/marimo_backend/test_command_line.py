"""marimo's command line is as `mpkernel run` expects it."""

from __future__ import annotations

import pytest

from mpkernel.marimo_backend.command_line import command_line, options_of_run, options_with_value
from mpkernel.marimo_backend.run_options import FLAGS, WITH_VALUE, paths_if_known


def test_the_command_line_is_a_click_group_with_run() -> None:
    assert "run" in command_line().commands


def test_the_options_that_are_known_before_it_is_imported_are_marimos() -> None:
    assert options_with_value() >= WITH_VALUE
    assert options_of_run().keys() - options_with_value() >= FLAGS


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        (["a.py", "--port", "3000", "b"], ["a.py", "b"]),
        (["--headless", "a.py", "--port=3000", "-p", "3000"], ["a.py"]),
        (["--watch"], []),
        (["a.py", "--of-tomorrow", "value"], None),
        (["a.py", "-p3000"], None),
    ],
)
def test_paths_are_known_where_all_options_are(options: list[str], paths: list[str] | None) -> None:
    assert paths_if_known(options) == paths
