"""Wheels that tests make: packages of one module, in any version."""

from __future__ import annotations

import importlib.metadata
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["write_app", "write_installed", "write_wheel"]


def write_wheel(folder: Path, name: str, version: str, *, needs: Sequence[str] = ()) -> Path:
    """A wheel of a package with one module, whose `VERSION` is the wheel's."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    required = "".join(f"Requires-Dist: {one}\n" for one in needs)
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        wheel.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}",
        )
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        names = (f"{name}.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD")
        wheel.writestr(f"{info}/RECORD", "".join(f"{one},,\n" for one in names))
    return path


def write_installed(folder: Path, name: str) -> None:
    """A wheel of a package as it is installed here: tests need no index to get it."""
    found = importlib.metadata.distribution(name)
    tag = re.search(r"^Tag: (\S+)$", found.read_text("WHEEL") or "", re.MULTILINE)
    assert tag is not None
    with zipfile.ZipFile(folder / f"{name}-{found.version}-{tag[1]}.whl", "w") as wheel:
        for file in found.files or ():
            if not file.as_posix().startswith("..") and file.suffix != ".pyc":
                wheel.write(file.locate(), file.as_posix())


def write_app(path: Path, header: str, code: str = "") -> str:
    """An app with this header; its path."""
    path.parent.mkdir(exist_ok=True)
    block = "".join(f"# {line}\n" if line else "#\n" for line in header.splitlines())
    path.write_text(f"# /// script\n{block}# ///\n{code}")
    return str(path)
