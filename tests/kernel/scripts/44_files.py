"""Temporary files and folders, archives, compression, paths."""

import gzip
import io
import os
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

with tempfile.TemporaryDirectory(prefix="script-") as folder:
    root = Path(folder)
    (root / "deep" / "er").mkdir(parents=True)
    for number, name in enumerate(["one.txt", "deep/two.txt", "deep/er/three.bin"]):
        (root / name).write_bytes(bytes([65 + number]) * 1000)
    print(sorted(path.relative_to(root).as_posix() for path in root.rglob("*")))
    with zipfile.ZipFile(root / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*.txt")):
            archive.write(path, path.relative_to(root))
        archive.writestr("note.md", "# note")
    with zipfile.ZipFile(root / "all.zip") as archive:
        print(archive.namelist(), archive.read("deep/two.txt")[:3], archive.testzip())
        print(archive.getinfo("one.txt").compress_size < 100)
    with tarfile.open(root / "all.tgz", "w:gz") as tar:
        tar.add(root / "deep", "deep")
    with tarfile.open(root / "all.tgz") as tar:
        print(sorted(tar.getnames()), tar.extractfile("deep/two.txt").read(2))
    print(gzip.decompress(gzip.compress(b"again")), shutil.copy(root / "one.txt", root / "x").name)
    os.replace(root / "x", root / "y")
    print((root / "y").stat().st_size, (root / "x").exists(), os.access(root / "y", os.W_OK))
    with open(root / "y", "r+", encoding="utf-8", newline="") as file:
        print(file.seek(0, io.SEEK_END), file.write("end\r\n"), file.tell())
print(root.exists())
with tempfile.SpooledTemporaryFile(mode="w+") as file:
    file.write("spooled")
    file.seek(2)
    print(file.read(), Path("a/../b.tar.gz").suffixes)
