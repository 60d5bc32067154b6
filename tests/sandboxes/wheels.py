"""Wheels that tests make: packages of one module, in any version."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["write_app", "write_c_wheel", "write_installed", "write_wheel"]


_C_MODULE = """
#include <Python.h>
static struct PyModuleDef module = {{PyModuleDef_HEAD_INIT, "{name}", NULL, -1, NULL}};
PyMODINIT_FUNC PyInit_{name}(void) {{
    PyObject *made = PyModule_Create(&module);
    if (made != NULL) PyModule_AddStringConstant(made, "VERSION", "{version}");
    return made;
}}
"""


def write_wheel(folder: Path, name: str, version: str, *, needs: Sequence[str] = ()) -> Path:
    """A wheel of a package with one module, whose `VERSION` is the wheel's."""
    code = f"VERSION = {version!r}\n".encode()
    return _write(folder, name, version, {f"{name}.py": code}, "py3-none-any", needs)


def write_c_wheel(folder: Path, name: str, version: str) -> Path:
    """The same; the module is written in C, for the Python that runs this. A C compiler and this
    Python's headers are needed."""
    file = f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    with tempfile.TemporaryDirectory() as scratch:
        source, built = Path(scratch, f"{name}.c"), Path(scratch, file)
        source.write_text(_C_MODULE.format(name=name, version=version))
        include = sysconfig.get_path("include")
        command = ["cc", "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(built)]
        subprocess.run(command, check=True)
        code = built.read_bytes()
    python = "cp{}{}".format(*sys.version_info)
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    return _write(folder, name, version, {file: code}, f"{python}-{python}-{platform}", ())


def _write(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes],
    tag: str,
    needs: Sequence[str],
) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    required = "".join(f"Requires-Dist: {one}\n" for one in needs)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}"
    is_pure = str(tag.endswith("none-any")).lower()
    about = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {is_pure}\nTag: {tag}\n"
    written = {
        **files,
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": about.encode(),
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for file, content in written.items():
            wheel.writestr(file, content)
        record = "".join(f"{file},,\n" for file in (*written, f"{info}/RECORD"))
        wheel.writestr(f"{info}/RECORD", record)
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
    """An app with this header; its path. What ends in ".md" is a notebook in Markdown."""
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".md":
        indented = "".join(f"  {line}\n" for line in header.splitlines())
        path.write_text(f"---\ntitle: An app\npyproject: |\n{indented}---\n\n{code}")
        return str(path)
    block = "".join(f"# {line}\n" if line else "#\n" for line in header.splitlines())
    path.write_text(f"# /// script\n{block}# ///\n{code}")
    return str(path)
