"""Settings: which values each takes, how it is written, and that the page of settings says so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mpkernel import Settings
from mpkernel.configuration.apps import AppRule, settings_for
from mpkernel.configuration.values import as_text, from_text, from_toml, kind_of, size_of
from mpkernel.errors import SettingsError
from mpkernel.settings import POOL_WIDE

PAGE = Path(__file__).parents[1] / "mpkernel" / "docs" / "settings.md"

MIB = 1024 * 1024
GIB = 1024 * MIB


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", MIB),
        ("2GiB", 2 * GIB),
        ("500MB", 500_000_000),
        (" 1.5 gib ", 3 * GIB // 2),
        ("8k", None),
        ("64KiB", 65536),
        ("7B", 7),
        ("-1", None),
        ("2 GiBs", None),
        ("", None),
        ("1e6", None),
    ],
)
def test_sizes_have_units(text: str, size: int | None) -> None:
    if size is not None:
        assert size_of(text) == size
        return
    with pytest.raises(ValueError, match="is not a size"):
        size_of(text)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ping_timeout_s", "30", 30.0),
        ("idle_retire_s", "None", None),
        ("memory_hard_bytes", "2GiB", 2 * GIB),
        ("relay_console", "false", False),
        ("file_storage", "temp_file", "temp_file"),
        ("file_fallback", "none", None),
        ("standby", "3", 3),
        ("standby_imports", "numpy, pandas,", ("numpy", "pandas")),
        ("standby_imports", "", ()),
    ],
)
def test_text_stands_for_a_value(name: str, text: str, value: object) -> None:
    assert from_text(name, text) == value


@pytest.mark.parametrize(
    ("name", "value", "stands_for"),
    [
        ("ping_timeout_s", 30, 30.0),
        ("idle_retire_s", "none", None),
        ("memory_hard_bytes", "2GiB", 2 * GIB),
        ("memory_hard_bytes", 1024, 1024),
        ("relay_console", False, False),
        ("standby_imports", ["numpy"], ("numpy",)),
        ("standby_imports", "numpy, scipy", ("numpy", "scipy")),
    ],
)
def test_toml_stands_for_a_value(name: str, value: object, stands_for: object) -> None:
    assert from_toml(name, value) == stands_for


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ping_timeout_s", "30"),
        ("ping_timeout_s", True),
        ("standby", 1.5),
        ("standby", "none"),
        ("memory_hard_bytes", "much"),
        ("relay_console", "no"),
        ("file_storage", "floppy"),
        ("standby_imports", 1),
        ("standby_imports", [1]),
    ],
)
def test_toml_of_another_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError):
        from_toml(name, value)


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_what_is_shown_can_be_written(name: str) -> None:
    default = getattr(Settings(), name)
    assert from_text(name, as_text(name, default)) == default


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_numbers_that_no_timer_takes_are_refused(value: float) -> None:
    with pytest.raises(SettingsError, match="setting start_timeout_s"):
        Settings(start_timeout_s=value)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/srv/reports/*.py", "/srv/reports/sales.py", True),
        ("/srv/reports/*.py", "/srv/reports/old/sales.py", False),
        ("/srv/reports/**", "/srv/reports/old/sales.py", True),
        ("/srv/**/sales.py", "/srv/sales.py", True),
        ("/srv/**/sales.py", "/srv/a/b/sales.py", True),
        ("/srv/**/sales.py", "/srv/a/b/presales.py", False),
        ("/srv/[ab].py", "/srv/b.py", True),
        ("/srv/?.py", "/srv/bc.py", False),
        ("/srv/sales.py", "/srv/sales.py", True),
        ("/srv", "/srv/sales.py", False),
    ],
)
def test_a_glob_chooses_apps(pattern: str, path: str, matches: bool) -> None:
    assert AppRule(pattern, {}).matches(path) is matches


def test_a_link_to_an_app_is_chosen_by_either_name(tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "app.py").touch()
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "other.py").symlink_to(folder / "app.py")
    rule = AppRule(str(folder / "*.py"), {})
    assert rule.matches(str(tmp_path / "link" / "app.py"))
    assert rule.matches(str(tmp_path / "other.py"))
    assert AppRule(str(tmp_path / "link" / "*"), {}).matches(str(tmp_path / "link" / "app.py"))


def test_the_first_rule_that_matches_counts() -> None:
    rules = [AppRule("/a/special.py", {"max_threads": 1}), AppRule("/a/*", {"max_threads": 2})]
    found = [settings_for(f"/{path}.py", Settings(), rules) for path in ("a/special", "a/b", "c")]
    assert [settings.max_threads for settings in found] == [1, 2, None]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pace": 1}, "no setting pace"),
        ({"standby": 1}, "standby is a setting of the whole server"),
        ({"max_threads": 0}, "max_threads is 0; it must be over 0"),
        ({"max_threads": -1}, "max_threads is -1; it must not be negative"),
        ({"max_threads": "5"}, r"max_threads is '5'; it must be of the type int \| None"),
        ({"file_storage": "floppy"}, "file_storage is 'floppy'; it must be of the type Literal"),
        ({"env_deny": "AWS_*"}, r"env_deny is 'AWS_\*'; it must be of the type tuple"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        settings_for("/a.py", Settings(), [AppRule("/*", changes)])


def test_the_page_has_each_setting_with_what_it_takes_and_its_default() -> None:
    rows = re.findall(
        r"^\| `(\w+)`(\*?) \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", PAGE.read_text(), re.M
    )
    assert rows == [
        (
            field.name,
            "*" if field.name in POOL_WIDE else "",
            kind_of(field.name),
            as_text(field.name, field.default) or "none",
        )
        for field in msgspec.structs.fields(Settings)
    ]
