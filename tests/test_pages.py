"""What README and the pages of documentation say is checked, as far as a test can."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpkernel.cli.main import main

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "mpkernel" / "docs"
PAGES = sorted(FOLDER.glob("*.md"))
README = ROOT / "README.md"
README_BYTES = 8 * 1024

LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#]+)(?:#(?P<anchor>[^)]*))?\)")
HEAD = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"\bmpkernel ([a-z]+)")

OF_OTHERS = {
    "kernel not found",
    "An internal error occurred",
    "Could not set lock on file",
    "Too many open files",
    "can't start new thread",
    "MemoryError",
    'required field "lineno" missing from expr',
}
"""What marimo's page, DuckDB, the system and Python say."""

SERVICE = ROOT / "mpkernel" / "examples" / "service" / "snippets.py"
SALES = ROOT / "mpkernel" / "examples" / "sales"
ASK = "from starlette.testclient import TestClient\nclient = TestClient(app)\n"

EXAMPLE = "# %%\nn = 2\n# %%\nprint('n is', n)\n"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code_in(page: Path, language: str) -> list[str]:
    return [found["code"] for found in CODE.finditer(page.read_text()) if found[1] == language]


def test_every_example_passes_a_type_checker(tmp_path: Path) -> None:
    for page in (README, *PAGES):
        for number, code in enumerate(code_in(page, "python")):
            name = f"{page.stem.replace('-', '_')}_{number}.py"
            (tmp_path / name).write_text(code)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", tmp_path, SERVICE],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=240,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_readme_is_read_in_three_minutes() -> None:
    assert README.stat().st_size <= README_BYTES


@pytest.mark.parametrize("page", [README, *PAGES], ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.finditer(page.read_text()):
        target = page.parent / link["path"]
        assert target.is_file(), link[0]
        if link["anchor"]:
            heads = HEAD.findall(target.read_text())
            anchors = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
            assert link["anchor"] in anchors, link[0]


@pytest.mark.parametrize("page", [README, *PAGES], ids=name_of)
def test_what_users_import_is_public(page: Path) -> None:
    imported = "\n".join(code_in(page, "python"))
    assert re.findall(r"(?:from|import) mpkernel\.\S+", imported) == []


@pytest.mark.parametrize("page", [README, *PAGES], ids=name_of)
def test_every_command_that_is_shown_exists(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    known = set(re.findall(r"^  (\w+) ", capsys.readouterr().out, re.MULTILINE))
    for code in code_in(page, "sh"):
        for line in code.splitlines():
            assert set(COMMAND.findall(line.partition("#")[0])) <= known, line


def test_what_troubleshooting_looks_for_is_what_mpkernel_says() -> None:
    said = "\n".join(texts_of_the_source())
    page = (FOLDER / "troubleshooting.md").read_text()
    heads = re.findall(r"^### (`.*)$", page, re.MULTILINE)
    others = page.partition("\n### Other lines of the log\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*`) \|", others, re.MULTILINE)
    assert len(rows) > 10
    symptoms = [symptom for told in (*heads, *rows) for symptom in re.findall(r"`([^`]+)`", told)]
    assert set(symptoms) > OF_OTHERS
    for symptom in set(symptoms) - OF_OTHERS:
        for part in symptom.split("…"):
            assert part.strip() in said, symptom


def texts_of_the_source() -> Iterator[str]:
    for package in ("mpkernel", "shm"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


@pytest.mark.parametrize(
    ("page", "app", "prints"),
    [
        (FOLDER / "library.md", "counter.py", "b'20' b'42'\n"),
        (FOLDER / "virtual-files.md", "picture.py", "5000000 5000000\n"),
    ],
    ids=["library", "virtual-files"],
)
def test_an_example_of_an_app_and_its_server_works(
    tmp_path: Path, page: Path, app: str, prints: str
) -> None:
    app_code, server_code, *_ = code_in(page, "python")
    (tmp_path / app).write_text(app_code)
    assert output_of(server_code, tmp_path) == prints
    assert prints.strip() in server_code


@pytest.mark.parametrize(
    ("page", "prints"),
    [(README, "42\n"), (FOLDER / "embedded-kernel.md", "n is 2\nn is 3\n42\n")],
    ids=["README", "embedded-kernel"],
)
def test_an_example_of_the_embedded_kernel_works(tmp_path: Path, page: Path, prints: str) -> None:
    (tmp_path / "app.py").write_text(EXAMPLE)
    (code,) = (code for code in code_in(page, "python") if "PythonClient" in code)
    assert output_of(code, tmp_path) == prints


@pytest.mark.parametrize(
    ("page", "paths"),
    [(README, ["/sales/"]), (FOLDER / "asgi.md", ["/sales/", "/all/dashboard"])],
    ids=["README", "asgi"],
)
def test_an_example_of_an_asgi_application_serves(
    tmp_path: Path, page: Path, paths: list[str]
) -> None:
    shutil.copytree(SALES, tmp_path / "notebooks")
    shutil.copy(SALES / "dashboard.py", tmp_path / "sales.py")
    (code,) = (code for code in code_in(page, "python") if "FastAPI" in code)
    ask = f"{code}\n{ASK}print([client.get(path).status_code for path in {paths}])"
    assert output_of(ask, tmp_path) == f"{[200] * len(paths)}\n"


def test_the_example_of_kernels_in_an_application_works(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(EXAMPLE)
    (code,) = (code for code in code_in(FOLDER / "library.md", "python") if "WebSocket" in code)
    talk = (
        "with client, client.websocket_connect('/kernel') as page:\n"
        "    page.send_text('print(n + 40)')\n"
        "    shown = ''\n"
        "    while '42' not in shown:\n"
        "        shown += page.receive_text()\n"
        "print(shown, end='')"
    )
    assert output_of(f"{code}\n{ASK}{talk}", tmp_path) == "n is 2\n42\n"


def output_of(code: str, folder: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_example_of_shm_alone_works(tmp_path: Path) -> None:
    (code,) = (
        code for code in code_in(FOLDER / "virtual-files.md", "python") if "import shm" in code
    )
    assert output_of(f"{code}\nprint(file.read())", tmp_path) == "b'...'\n"
