"""marimo finds its plugins among the entry points of installed packages, which are read once."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from mpkernel.marimo_backend.host.entry_points import KeptEntryPoints

Described = set[tuple[str, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """At the beginning of the import path."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(folder: Path, package: str, value: str) -> Path:
    """Put a package there whose entry point is the plugin `ours` with this value."""
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[mpkernel.tests]\nours = {value}\n")
    return metadata


def described(found: Iterable[importlib.metadata.EntryPoint]) -> Described:
    return {(one.group, one.name, one.value) for one in found}


def agree(kept: KeptEntryPoints) -> bool:
    """Whether they are what `importlib.metadata` finds, in all its groups."""
    groups = {*importlib.metadata.entry_points().groups, "mpkernel.tests"}
    assert len(groups) > 5  # of pytest and others
    return all(
        described(kept.select(group=group))
        == described(importlib.metadata.entry_points(group=group))
        for group in groups
    )


def ours(kept: KeptEntryPoints) -> list[str]:
    return [one.value for one in kept.select(group="mpkernel.tests")]


def test_they_are_what_importlib_finds(folder: Path) -> None:
    install(folder, "plug", "one:run")
    kept = KeptEntryPoints()
    assert agree(kept)
    assert ours(kept) == ["one:run"]


def test_what_is_installed_or_removed_later_counts_at_once(folder: Path) -> None:
    kept = KeptEntryPoints()
    assert ours(kept) == []
    metadata = install(folder, "plug", "one:run")
    assert ours(kept) == ["one:run"]
    assert agree(kept)
    for file in metadata.iterdir():
        file.unlink()
    metadata.rmdir()
    assert ours(kept) == []


def test_a_folder_that_is_put_into_the_import_path_counts_and_hides_what_follows(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(folder, "plug", "one:run")
    kept = KeptEntryPoints()
    assert ours(kept) == ["one:run"]
    other = tmp_path_factory.mktemp("other")
    install(other, "Plug", "another:run")
    monkeypatch.setattr(sys, "path", [str(other), *sys.path])
    assert ours(kept) == ["another:run"]
    assert agree(kept)


def test_nothing_is_read_again_while_nothing_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptEntryPoints()
    ours(kept)
    folders: list[str] = []
    look = importlib.metadata.distributions

    def counted(path: list[str]) -> Iterable[importlib.metadata.Distribution]:
        folders.extend(path)
        return look(path=path)

    monkeypatch.setattr(importlib.metadata, "distributions", counted)
    assert ours(kept) == []
    assert folders == []
    install(folder, "plug", "one:run")
    assert ours(kept) == ["one:run"]
    assert folders == [str(folder)]


def test_a_folder_that_is_not_there_holds_nothing(folder: Path) -> None:
    sys.path.insert(0, str(folder / "missing"))
    try:
        assert agree(KeptEntryPoints())
    finally:
        sys.path.remove(str(folder / "missing"))
