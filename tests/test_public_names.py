"""What `import mpkernel` offers: every name, and nothing that it was not asked for."""

from __future__ import annotations

import subprocess
import sys

import mpkernel


def test_every_public_name_is_there() -> None:
    for name in mpkernel.__all__:
        assert getattr(mpkernel, name) is not None


def test_only_what_is_used_is_loaded() -> None:
    """For an app's process imports the package too."""
    code = (
        "import sys, mpkernel; mpkernel.Channel;"
        " print(*(name for name in sys.modules if name.startswith('mpkernel.')))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert set(loaded.split()) == {"mpkernel.errors", "mpkernel.wire", "mpkernel.wire.frames"}


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    assert not hasattr(mpkernel, "Nothing")


def test_journals_are_found_where_version_0_1_had_them() -> None:
    from mpkernel.server import journal

    assert (journal.Journal, journal.Rebuilt) == (mpkernel.Journal, mpkernel.Rebuilt)
