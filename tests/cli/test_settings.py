"""`mpkernel settings`: the settings that `mpkernel run` would use, and the source of each value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpkernel import Settings
from mpkernel.cli.flags import paths_in, take_settings
from mpkernel.cli.settings import run
from mpkernel.errors import MPKernelError, SettingsError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings and notebooks, which is the current one."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.mpkernel]\nmemory_hard_bytes = "2GiB"\n'
        '[[tool.mpkernel.apps]]\npath = "slow/*.py"\nping_timeout_s = 600\n'
    )
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "report.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, tuple[str, str]]:
    """The value and the source of each setting."""
    assert run(arguments) == 0
    out = capsys.readouterr().out.rpartition("→ ")[0]
    table = out.partition("\n\n")[0].splitlines()
    head = table[0]
    value, takes, place = (head.index(word) for word in ("VALUE", "TAKES", "FROM"))
    return {
        line[:value].strip(): (line[value:takes].strip(), line[place:].strip())
        for line in table[1:]
    }


def test_each_setting_is_shown_with_its_value_and_its_place(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPKERNEL_MAX_THREADS", "64")
    found = shown(capsys, "--journal-bytes=2MiB")
    assert list(found) == list(Settings.__struct_fields__)
    assert found["memory_hard_bytes"] == ("2GiB", f"file {project / 'pyproject.toml'}")
    assert found["max_threads"] == ("64", "environment MPKERNEL_MAX_THREADS")
    assert found["journal_bytes"] == ("2MiB", "flag --journal-bytes")
    assert found["ping_timeout_s"] == ("60", "default")
    assert found["standby"] == ("1", "default")  # of mpkernel run


def test_a_single_app_is_shown_with_its_own(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = shown(capsys, "slow/report.py")
    assert found["ping_timeout_s"][0] == "600"
    assert found["ping_timeout_s"][1].startswith(f"app {project / 'pyproject.toml'} (")
    assert shown(capsys, "slow")["ping_timeout_s"] == ("60", "default")


def test_another_file_can_be_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "other.toml").write_text("[tool.mpkernel]\nstandby = 7\n")
    found = shown(capsys, "--settings", "other.toml")
    assert found["standby"] == ("7", f"file {project / 'other.toml'}")
    assert found["memory_hard_bytes"] == ("none", "default")


def test_json_has_plain_values(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["file"] == str(project / "pyproject.toml")
    assert found["settings"]["memory_hard_bytes"] == {
        "value": 2 * 2**30,
        "from": "file",
        "place": str(project / "pyproject.toml"),
    }
    assert found["apps"] == [
        {"path": str(project / "slow" / "*.py"), "settings": {"ping_timeout_s": 600.0}}
    ]


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--ping-timeout", "3"]) == 2
    assert "there is no option --ping-timeout" in capsys.readouterr().err


def test_a_flag_without_its_value_is_refused() -> None:
    for option in ("--standby", "--settings"):
        with pytest.raises(SettingsError, match=f"{option} lacks its value"):
            take_settings(["notebook.py", option])


def test_flags_are_taken_from_among_marimos_options() -> None:
    taken = take_settings(
        ["--port", "80", "--standby=2", "a.py", "--max-threads", "9", "--settings", "f", "b"]
    )
    assert taken.others == ["--port", "80", "a.py", "b"]
    assert (taken.flags, taken.file) == ({"standby": "2", "max_threads": "9"}, "f")
    assert paths_in(taken.others, {"--port"}) == ["a.py", "b"]


def test_what_is_true_or_false_can_be_switched_off() -> None:
    taken = take_settings(["--no-control", "a.py", "--no-standby"])
    assert (taken.flags, taken.others) == ({"control": "false"}, ["a.py", "--no-standby"])


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (["--cluster-upload", "a.py"], "true"),
        (["--cluster-upload", "false", "a.py"], "false"),
        (["--cluster-upload=false", "a.py"], "false"),
        (["a.py", "--cluster-upload"], "true"),
    ],
)
def test_cluster_upload_needs_no_value(options: list[str], value: str) -> None:
    taken = take_settings(options)
    assert taken.flags == {"cluster_upload": value}
    assert taken.others == ["a.py"]


def test_the_search_begins_where_all_that_is_served_lies(project: Path) -> None:
    taken = take_settings([])
    assert taken.sources({}, ["slow/report.py"]).folder == str(project / "slow")
    assert taken.sources({}, ["slow/report.py", "."]).folder == str(project)
    assert taken.sources({}, []).folder == str(project)


def test_a_path_that_is_missing_is_named(project: Path) -> None:
    with pytest.raises(MPKernelError, match=r"there is nothing at nowhere\.py"):
        run(["nowhere.py"])
