"""What was compiled for one environment serves another one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from sandboxes.makers import Maker, version_in
from sandboxes.wheels import write_app

from mpkernel.sandboxes import Environment
from mpkernel.sandboxes.compiled import link_compiled


def compiled_in(environment: Environment, module: str) -> list[Path]:
    return list(environment.folder.glob(f"lib/*/site-packages/__pycache__/{module}.*.pyc"))


@pytest.fixture(autouse=True)
def _python_writes_what_it_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)


def make(maker: Maker, tmp_path: Path, tiny: str, overlay: str) -> Environment:
    app = write_app(tmp_path / f"{tiny}.py", f'dependencies = ["tiny=={tiny}"]')
    return maker.make(app, [f"overlay=={overlay}"])


def test_what_was_compiled_for_one_environment_is_linked_into_the_next(
    maker: Maker, tmp_path: Path
) -> None:
    first = make(maker, tmp_path, "1.0", "1.0")
    assert compiled_in(first, "tiny") == []
    assert version_in(first) == "1.0"  # imports it, and so compiles it
    other = make(maker, tmp_path, "2.0", "1.0")
    assert compiled_in(other, "tiny") == []
    second = make(maker, tmp_path, "1.0", "2.0")
    (one,), (same,) = compiled_in(first, "tiny"), compiled_in(second, "tiny")
    assert one.samefile(same)
    assert version_in(second) == "1.0"
    assert one.samefile(same)  # it was good as it was


def test_where_files_are_copied_nothing_is_linked(maker: Maker, tmp_path: Path) -> None:
    maker.env["UV_LINK_MODE"] = "copy"
    assert version_in(make(maker, tmp_path, "1.0", "1.0")) == "1.0"
    second = make(maker, tmp_path, "1.0", "2.0")
    assert compiled_in(second, "tiny") == []
    assert version_in(second) == "1.0"


@pytest.fixture
def places(tmp_path: Path) -> list[Path]:
    """Two environments with a package, of which the first has compiled a module."""
    places = [tmp_path / name / "lib" / "python3.99" / "site-packages" for name in ("one", "two")]
    for place in places:
        (place / "package").mkdir(parents=True)
    for name in ("same.py", "other.py"):
        (places[0] / "package" / name).write_text("")
        os.link(places[0] / "package" / name, places[1] / "package" / name)
    caches = places[0] / "package" / "__pycache__"
    caches.mkdir()
    for name in ("same.cpython-399.pyc", "same.cpython-399.pyc.12345", "gone.cpython-399.pyc"):
        (caches / name).write_text(name)
    return places


def compiled(place: Path) -> list[str]:
    return [path.name for path in place.rglob("__pycache__/*")]


def test_nothing_is_linked_but_whole_files_of_sources_that_are_the_same(places: list[Path]) -> None:
    (places[0] / "package" / "__pycache__" / "other.cpython-399.pyc").touch()
    (places[1] / "package" / "other.py").unlink()
    (places[1] / "package" / "other.py").write_text("")
    link_compiled(places[1].parents[2], [places[0].parents[2]])
    assert compiled(places[1]) == ["same.cpython-399.pyc"]


def test_what_the_servers_own_python_has_compiled_is_linked(
    places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", ["", str(places[0])])
    link_compiled(places[1].parents[2], [])
    assert compiled(places[1]) == ["same.cpython-399.pyc"]


def test_nothing_is_linked_of_another_python(places: list[Path]) -> None:
    moved = places[0].parent.rename(places[0].parents[1] / "python3.98")
    link_compiled(places[1].parents[2], [moved.parents[1]])
    assert compiled(places[1]) == []


def test_an_environment_that_is_removed_meanwhile_is_left_alone(places: list[Path]) -> None:
    shutil.rmtree(places[0].parents[2])
    link_compiled(places[1].parents[2], [places[0].parents[2]])
    assert compiled(places[1]) == []
