"""Which environments are listed and pruned."""

from __future__ import annotations

import os
from pathlib import Path

from sandboxes.makers import Maker
from sandboxes.wheels import write_app

from mpkernel.sandboxes import Environment


def test_environments_are_listed_with_what_is_known_of_them(maker: Maker, tmp_path: Path) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny==1.0"]')
    environment = maker.make(app)
    (kept,) = maker.store.kept()
    assert kept.key == environment.key
    assert kept.facts is not None
    assert kept.facts.app == app
    assert kept.facts.dependencies == ("tiny==1.0",)
    assert kept.size_bytes > 0
    assert kept.is_used
    environment.close()
    assert not maker.store.kept()[0].is_used


def test_only_what_was_not_used_for_long_and_is_not_used_now_is_pruned(
    maker: Maker, tmp_path: Path
) -> None:
    environments = {
        version: maker.make(
            write_app(tmp_path / f"{version}.py", f'dependencies = ["tiny=={version}"]')
        )
        for version in ("1.0", "2.0", "3.0")
    }
    for version in ("1.0", "2.0"):
        _age(environments[version])
    for version in ("1.0", "3.0"):
        environments[version].close()
    removed = maker.store.prune(older_than_s=60)
    assert [one.key for one in removed] == [environments["1.0"].key]
    assert {one.key for one in maker.store.kept()} == {
        environments[version].key for version in ("2.0", "3.0")
    }
    environments["2.0"].close()
    assert [one.key for one in maker.store.prune(older_than_s=60)] == [environments["2.0"].key]


def test_an_environment_is_in_use_as_long_as_a_process_has_its_lock(
    maker: Maker, tmp_path: Path
) -> None:
    environment = maker.make(write_app(tmp_path / "app.py", "dependencies = []"))
    handed_on = os.dup(environment.lock.fd)
    environment.close()
    assert maker.store.prune(older_than_s=0) == []
    os.close(handed_on)
    assert len(maker.store.prune(older_than_s=0)) == 1
    assert os.listdir(maker.store.directory) == []


def test_what_is_left_of_broken_environments_is_pruned_whatever_its_age(
    maker: Maker, tmp_path: Path
) -> None:
    maker.make(write_app(tmp_path / "app.py", "dependencies = []")).close()
    (maker.store.directory / "half").mkdir()
    (removed,) = maker.store.prune(older_than_s=3600)
    assert removed.key == "half"
    assert removed.facts is None


def test_what_is_no_folder_is_no_environment(maker: Maker, tmp_path: Path) -> None:
    maker.make(write_app(tmp_path / "app.py", "dependencies = []")).close()
    places = [maker.store.directory / name for name in ("fifo", "file", "link")]
    os.mkfifo(places[0])
    places[1].write_text("a file of somebody")
    places[2].symlink_to(tmp_path)
    assert len(maker.store.kept()) == 1
    assert len(maker.store.prune(older_than_s=0)) == 1
    assert sorted(maker.store.directory.iterdir()) == sorted(places)
    assert (tmp_path / "app.py").exists()


def test_a_removed_environment_is_made_anew(maker: Maker, tmp_path: Path) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny"]')
    maker.make(app).close()
    maker.store.prune(older_than_s=0)
    maker.make(app).close()
    assert "+ tiny==3.0" in maker.said


def test_an_environment_that_has_lost_its_python_is_made_anew(maker: Maker, tmp_path: Path) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny"]')
    environment = maker.make(app)
    environment.close()
    _replace_by_broken_link(Path(environment.python))
    assert maker.store.find(environment.key) is None
    again = maker.make(app)
    assert "+ tiny==3.0" in maker.said
    assert os.path.exists(again.python)


def _age(environment: Environment) -> None:
    os.utime(environment.folder / "mpkernel.json", (0, 0))


def _replace_by_broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/python")
