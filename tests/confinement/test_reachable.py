"""Which folders outside of its environment a confined process may read."""

from __future__ import annotations

from pathlib import Path

from mpkernel.confinement.reachable import linked_from


def test_the_folders_that_pth_files_name_are_found_as_python_finds_them(tmp_path: Path) -> None:
    packages, developed, beside = (tmp_path / name for name in ("packages", "developed", "beside"))
    for folder in (packages, developed, beside):
        folder.mkdir()
    (packages / "lines.pth").write_text(
        f"\ufeff{developed}  \r\n# a comment\nimport sys\n\n../beside\n/nowhere\n",
        encoding="utf-8",
    )
    (packages / "no_text.pth").write_bytes(b"\0\xff\n" + b"x" * 5000)
    (packages / "broken.pth").symlink_to(tmp_path / "gone")
    (packages / "folder.pth").mkdir()
    found = linked_from([str(packages), str(tmp_path / "missing")])
    assert sorted(found) == [str(beside), str(developed)]
