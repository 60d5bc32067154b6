"""Where settings come from: which source counts, and that an error names the place of the
mistake."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from other_user import NOBODY, as_nobody, require_root

from mpkernel import Settings
from mpkernel.configuration.sources import Gathered, Sources, gather
from mpkernel.errors import SettingsError

GIB = 1024**3


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder of notebooks below one with settings."""
    (tmp_path / "notebooks" / "reports").mkdir(parents=True)
    return tmp_path


def gathered(project: Path, toml: str = "", **sources: object) -> Gathered:
    if toml:
        (project / "pyproject.toml").write_text(toml)
    return gather(Sources(folder=str(project / "notebooks"), **sources))  # type: ignore[arg-type]


def origins(found: Gathered) -> dict[str, str]:
    return {name: str(at) for name, at in found.origins.items() if at.kind != "default"}


def test_without_any_source_the_defaults_hold(project: Path) -> None:
    assert gathered(project) == gather(Sources())
    assert gathered(project).settings == Settings()
    assert gather(Sources(), Settings(standby=3)).settings.standby == 3


def test_a_flag_goes_before_the_environment_and_that_before_the_file(project: Path) -> None:
    found = gathered(
        project,
        "[tool.mpkernel]\nstandby = 1\nmax_threads = 1\nmemory_hard_bytes = '2GiB'\n",
        environ={"MPKERNEL_STANDBY": "2", "MPKERNEL_MAX_THREADS": "2", "HOME": "/root"},
        flags={"standby": "3"},
    )
    assert found.settings == Settings(standby=3, max_threads=2, memory_hard_bytes=2 * GIB)
    assert origins(found) == {
        "standby": "flag --standby",
        "max_threads": "environment MPKERNEL_MAX_THREADS",
        "memory_hard_bytes": f"file {project / 'pyproject.toml'}",
    }


def test_the_nearest_file_with_settings_counts(project: Path) -> None:
    (project / "notebooks" / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    toml = "[tool.mpkernel]\nstandby = 1\n"
    assert gathered(project, toml).file == str(project / "pyproject.toml")
    (project / "notebooks" / "pyproject.toml").write_text("[tool.mpkernel]\nstandby = 2\n")
    assert gathered(project).settings.standby == 2


@pytest.mark.parametrize("how", ["file", "link to it", "link of another"])
def test_a_file_of_another_user_is_passed_over(
    project: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    require_root()
    (project / "pyproject.toml").write_text("[tool.mpkernel]\nstandby = 1\n")
    foreign = project / "notebooks" / "pyproject.toml"
    if how == "file":
        foreign.write_text("[tool.mpkernel]\nstandby = 2\nnonsense")
    else:
        target = project / "elsewhere.toml"
        target.write_text("[tool.mpkernel]\nstandby = 2\n")
        foreign.symlink_to(target)
        if how == "link to it":
            os.chown(target, NOBODY, NOBODY)
    if how != "link to it":
        os.chown(foreign, NOBODY, NOBODY, follow_symlinks=False)
    assert gathered(project).settings.standby == 1
    [warning] = caplog.messages
    assert f"{foreign} is not used: it belongs to another user (uid {NOBODY})" in warning
    if how != "file":
        assert gathered(project, file=str(foreign)).settings.standby == 2


def test_a_file_of_root_counts_for_every_user() -> None:
    require_root()
    with tempfile.TemporaryDirectory(prefix="mpk-t-") as folder:
        Path(folder).chmod(0o755)
        Path(folder, "pyproject.toml").write_text("[tool.mpkernel]\nstandby = 1\n")
        found = as_nobody(
            "from mpkernel.configuration.sources import Sources, gather",
            "print(gather(Sources(folder=sys.argv[1])).settings.standby)",
            folder,
        )
    assert found == "1\n"


def test_a_file_that_is_named_counts_instead(project: Path) -> None:
    named, variable = project / "flag.toml", project / "variable.toml"
    named.write_text("[tool.mpkernel]\nstandby = 5\n")
    variable.write_text("[tool.mpkernel]\nstandby = 6\n")
    environ = {"MPKERNEL_SETTINGS": str(variable)}
    toml = "[tool.mpkernel]\nstandby = 1\n"
    assert gathered(project, toml, environ=environ).settings.standby == 6
    assert gathered(project, environ=environ, file=str(named)).settings.standby == 5


def test_an_app_has_its_own(project: Path) -> None:
    found = gathered(
        project,
        """
        [tool.mpkernel]
        ping_timeout_s = 30
        [[tool.mpkernel.apps]]
        path = "notebooks/reports/**"
        ping_timeout_s = 600
        memory_hard_bytes = "2GiB"
        """,
        environ={"MPKERNEL_MEMORY_HARD_BYTES": "1GiB"},
    )
    assert found.settings.ping_timeout_s == 30
    report = found.of_app(str(project / "notebooks" / "reports" / "sales.py"))
    assert report.settings == Settings(ping_timeout_s=600, memory_hard_bytes=2 * GIB)
    assert origins(report)["ping_timeout_s"].startswith(f"app {project / 'pyproject.toml'} (")
    other = found.of_app(str(project / "notebooks" / "sales.py"))
    assert other.settings == Settings(ping_timeout_s=30, memory_hard_bytes=GIB)


def test_a_folder_whose_name_looks_like_a_glob_is_none(tmp_path: Path) -> None:
    odd = tmp_path / "[ab]"
    (odd / "notebooks").mkdir(parents=True)
    found = gathered(odd, '[[tool.mpkernel.apps]]\npath = "*.py"\nmax_threads = 5\n')
    assert found.of_app(str(odd / "x.py")).settings.max_threads == 5
    assert found.of_app(str(tmp_path / "a" / "x.py")).settings.max_threads is None


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"MPKERNEL_PING_TIMEOUT": "3"}, "MPKERNEL_PING_TIMEOUT in the environment names no"),
        ({"MPKERNEL_PING_TIMEOUT": "3"}, "did you mean MPKERNEL_PING_TIMEOUT_S"),
        ({"MPKERNEL_STANDBY": "many"}, "MPKERNEL_STANDBY in the environment is 'many'.*whole"),
        ({"MPKERNEL_START_TIMEOUT_S": "none"}, "START_TIMEOUT_S.*a number of seconds"),
        ({"MPKERNEL_START_TIMEOUT_S": "nan"}, "set by: environment MPKERNEL_START_TIMEOUT_S"),
        ({"MPKERNEL_FILE_STORAGE": "floppy"}, "shared_memory or temp_file or none"),
        ({"MPKERNEL_WINDOW_BYTES": "0"}, "window_bytes is 0.*set by: environment MPKERNEL_WINDOW"),
        ({"MPKERNEL_WINDOW_BYTES": "2 stones"}, "a size such as 500MB or 2GiB"),
        ({"MPKERNEL_SETTINGS": "/nowhere.toml"}, "/nowhere.toml cannot be read"),
    ],
)
def test_a_mistake_in_the_environment_names_its_variable(
    environ: Mapping[str, str], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        gather(Sources(environ))


@pytest.mark.parametrize(
    "variable", ["MPKERNEL_DISABLE", "MPKERNEL_TEST_MARK", "MPKERNEL_ALLOW_ANY_MARIMO"]
)
def test_variables_that_are_no_settings_are_left_alone(variable: str) -> None:
    assert gather(Sources({variable: "1"})).settings == Settings()


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        (
            "[tool.mpkernel]\nping_timeout = 3\n",
            r"\[tool.mpkernel\]: ping_timeout names no setting",
        ),
        ("[tool.mpkernel]\nping_timeout = 3\n", "did you mean ping_timeout_s"),
        ("[tool.mpkernel]\nstandby = 'many'\n", r"standby is 'many' \(it takes a whole number"),
        ("[tool.mpkernel]\nstandby = -1\n", "standby is -1.*set by: file .*pyproject.toml"),
        ("[tool.mpkernel]\nstandby = \n", r"pyproject.toml cannot be read: .*line 2"),
        pytest.param(
            f"[tool.mpkernel]\nstandby = {'9' * 5000}\n",
            "pyproject.toml cannot be read: .*digits",
            id="a number that is too long for Python",
        ),
        pytest.param(
            f"[tool.mpkernel]\nstandby = {'[' * 5000}\n",
            "pyproject.toml cannot be read: .*recursion",
            id="a value that is nested too deeply for Python",
        ),
        ("[tool]\nmpkernel = 3\n", "tool.mpkernel is not a table"),
        ("[tool.mpkernel]\napps = 3\n", "apps is not an array of tables"),
        ("[[tool.mpkernel.apps]]\nmax_threads = 3\n", "number 1 does not say for which apps"),
        (
            "[[tool.mpkernel.apps]]\npath = '*'\nthreads = 3\n",
            r"\[\[tool.mpkernel.apps\]\] number 1 \(\*\): threads names no setting",
        ),
        (
            "[[tool.mpkernel.apps]]\npath = '*'\nstandby = 3\n",
            "standby is a setting of the whole server",
        ),
        (
            "[[tool.mpkernel.apps]]\npath = '*'\nmax_threads = 0\n",
            "max_threads is 0.*set by: app .*pyproject.toml",
        ),
        (
            "[tool.mpkernel]\nmemory_hard_bytes = 1\n"
            "[[tool.mpkernel.apps]]\npath = 'x'\nmemory_soft_bytes = 2\n",
            r"memory_soft_bytes is 2.*set by: app .*x\), file .*pyproject.toml",
        ),
    ],
)
def test_a_mistake_in_the_file_names_the_file_and_the_key(
    project: Path, toml: str, says: str
) -> None:
    with pytest.raises(SettingsError, match=says) as refused:
        gathered(project, toml)
    assert str(project / "pyproject.toml") in str(refused.value)


@pytest.mark.parametrize("value", ["'A_*, B'", "['A_*', 'B']"])
def test_names_in_the_file_are_a_list_or_a_text_with_commas(project: Path, value: str) -> None:
    toml = f"[tool.mpkernel]\nenv_deny = {value}\nconfine_connect = '80,443'\n"
    settings = gathered(project, toml).settings
    assert (settings.env_deny, settings.confine_connect) == (("A_*", "B"), (80, 443))


def test_two_sources_that_do_not_go_together_are_both_named(project: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        gathered(
            project,
            "[tool.mpkernel]\nmemory_hard_bytes = '1GiB'\n",
            flags={"memory_soft_bytes": "2GiB"},
        )
    assert f"flag --memory-soft-bytes, file {project / 'pyproject.toml'}" in str(refused.value)


def test_a_named_file_without_settings_is_refused(project: Path) -> None:
    other = project / "other.toml"
    other.write_text("standby = 1\n")
    with pytest.raises(SettingsError, match=r"begin its settings with \[tool.mpkernel\]"):
        gathered(project, file=str(other))


def test_settings_may_come_through_a_pipe() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"[tool.mpkernel]\nstandby = 7\n")
        os.close(writing)
        found = [gather(Sources(file=f"/dev/fd/{reading}")) for _ in range(2)]
    finally:
        os.close(reading)
    assert [one.settings.standby for one in found] == [7, 7]
