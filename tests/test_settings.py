"""Settings from the environment: by name, converted, and refused with the place named."""

from __future__ import annotations

import pytest

from mpkernel import Settings
from mpkernel.errors import SettingsError
from mpkernel.settings import from_environment


def test_variables_set_what_they_name() -> None:
    environ = {
        "MPKERNEL_PING_TIMEOUT_S": "30",
        "MPKERNEL_MEMORY_HARD_BYTES": "1073741824",
        "MPKERNEL_IDLE_RETIRE_S": "none",
        "MPKERNEL_RELAY_CONSOLE": "false",
        "MPKERNEL_FILE_STORAGE": "temp_file",
        "MPKERNEL_STANDBY_IMPORTS": "numpy, pandas",
        "HOME": "/root",
        "MPKERNEL_DISABLE": "1",
    }
    assert from_environment(environ) == Settings(
        ping_timeout_s=30.0,
        memory_hard_bytes=2**30,
        idle_retire_s=None,
        relay_console=False,
        file_storage="temp_file",
        standby_imports=("numpy", "pandas"),
    )


def test_the_rest_stays_as_the_defaults_are() -> None:
    defaults = Settings(standby=3)
    assert from_environment({}, defaults) == defaults


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        (
            "MPKERNEL_PING_TIMEOUT",
            "30",
            "MPKERNEL_PING_TIMEOUT in the environment names no setting",
        ),
        ("MPKERNEL_STANDBY", "many", "MPKERNEL_STANDBY in the environment is 'many'"),
        ("MPKERNEL_START_TIMEOUT_S", "none", "MPKERNEL_START_TIMEOUT_S"),
        ("MPKERNEL_FILE_STORAGE", "floppy", "MPKERNEL_FILE_STORAGE"),
        ("MPKERNEL_WINDOW_BYTES", "0", "window_bytes is 0.*MPKERNEL_WINDOW_BYTES"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(variable: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        from_environment({variable: value})
