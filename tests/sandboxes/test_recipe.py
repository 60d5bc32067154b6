"""What makes two environments one, and what makes them two."""

from __future__ import annotations

from pathlib import Path

import pytest
from sandboxes.makers import Maker
from sandboxes.wheels import write_app

HEADER = 'dependencies = ["tiny==1.0"]'


def test_equal_headers_share_an_environment_wherever_their_apps_are(
    maker: Maker, tmp_path: Path
) -> None:
    one = write_app(tmp_path / "a" / "one.py", HEADER)
    other = write_app(tmp_path / "b" / "other.py", f"# a comment\n{HEADER}", "import tiny\n")
    assert maker.recipe(one).key == maker.recipe(other).key


@pytest.mark.parametrize(
    "header",
    [
        'dependencies = ["tiny==2.0"]',
        f'{HEADER}\nrequires-python = ">=3.11"',
        f"{HEADER}\n[tool.uv]\nno-binary = true",
    ],
)
def test_another_header_is_another_environment(maker: Maker, tmp_path: Path, header: str) -> None:
    one = write_app(tmp_path / "one.py", HEADER)
    other = write_app(tmp_path / "other.py", header)
    assert maker.recipe(one).key != maker.recipe(other).key


def test_what_the_server_adds_and_leaves_out_counts(maker: Maker, tmp_path: Path) -> None:
    app = write_app(tmp_path / "app.py", HEADER)
    keys = {
        maker.recipe(app).key,
        maker.recipe(app, ["overlay==1.0"]).key,
        maker.recipe(app, ["overlay==2.0"]).key,
        maker.recipe(app, ["overlay==2.0"], ["other"]).key,
    }
    assert len(keys) == 4


def test_a_header_that_may_name_paths_counts_with_its_folder(maker: Maker, tmp_path: Path) -> None:
    header = f'{HEADER}\n[tool.uv.sources]\ntiny = {{ path = "../tiny" }}'
    apps = [write_app(tmp_path / name / "app.py", header) for name in ("a", "b")]
    one, other = map(maker.recipe, apps)
    assert one.key != other.key


@pytest.mark.parametrize(
    ("name", "value", "counts"),
    [
        ("UV_DEFAULT_INDEX", "https://packages.example/simple", True),
        ("UV_RESOLUTION", "lowest", True),
        ("UV_OFFLINE", "", False),
        ("UV_CACHE_DIR", "/elsewhere", False),
        ("SOMETHING", "else", False),
    ],
)
def test_what_uv_is_told_counts_if_it_decides_what_is_chosen(
    maker: Maker, tmp_path: Path, name: str, value: str, counts: bool
) -> None:
    app = write_app(tmp_path / "app.py", HEADER)
    before = maker.recipe(app).key
    maker.env[name] = value
    assert (maker.recipe(app).key != before) is counts


def test_credentials_in_an_address_may_change(maker: Maker, tmp_path: Path) -> None:
    app = write_app(tmp_path / "app.py", HEADER)
    keys = set()
    for credentials in ("", "me:secret@", "me:other@"):
        maker.env["UV_DEFAULT_INDEX"] = f"https://{credentials}packages.example/simple"
        keys.add(maker.recipe(app).key)
    assert len(keys) == 1


@pytest.mark.parametrize("name", ["uv.toml", "pyproject.toml", "constraints.txt", "app.py.lock"])
def test_the_content_of_files_that_uv_reads_counts(maker: Maker, tmp_path: Path, name: str) -> None:
    app = write_app(tmp_path / "app.py", HEADER)
    maker.env["UV_CONSTRAINT"] = str(tmp_path / "constraints.txt")
    before = maker.recipe(app).key
    (tmp_path / name).write_text("[tool.uv]\nno-index = true\n")
    assert maker.recipe(app).key != before
    after = maker.recipe(app).key
    (tmp_path / name).write_text("[tool.uv]\nno-index = false\n")
    assert maker.recipe(app).key not in (before, after)


@pytest.mark.parametrize("content", ["tool = 5\n", f"n = {'9' * 5000}\n", f"n = {'[' * 5000}\n"])
def test_an_odd_file_of_a_project_beside_the_app_is_left_to_uv(
    maker: Maker, tmp_path: Path, content: str
) -> None:
    app = write_app(tmp_path / "app.py", HEADER)
    (tmp_path / "pyproject.toml").write_text(content)
    assert maker.recipe(app).header.dependencies == ("tiny==1.0",)
