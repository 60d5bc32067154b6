"""marimo's pattern for URLs is compiled when a text may be one, and says what it always says."""

from __future__ import annotations

import subprocess
import sys

from marimo._utils.url import is_url

TEXTS = (
    "",
    "plain text",
    "notebook.py",
    "/a/b.py",
    "mailto:ada@example.com",
    "localhost:2718",
    "//example.com",
    "https://marimo.io/p?a=1#b",
    "HTTP://EXAMPLE.COM",
    "ftp://10.0.0.1/file",
    "http://localhost:2718/",
    "https://",
    "file:///a/b.py",
    "text with http://example.com in it",
)


def said_by(program: str) -> str:
    before = "from mpkernel.marimo_backend.url_pattern import compile_url_pattern_late as late; "
    command = [sys.executable, "-c", f"import sys; {before}{program}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_it_is_compiled_once_a_text_may_be_a_url_and_says_what_marimo_says() -> None:
    program = (
        "late(); late(); import marimo; from marimo._utils.url import is_url;"
        "name = 'marimo._utils.url';"
        "print(is_url('notebook.py'), type(sys.modules[name]).__name__);"
        f"print(*map(is_url, {TEXTS!r}));"
        "import marimo._utils.url as url;"
        "print(type(sys.modules[name]).__name__, url.pattern is sys.modules[name].pattern)"
    )
    first, answers, last = said_by(program).splitlines()
    assert first == "False _Deputy"
    assert answers == " ".join(str(is_url(text)) for text in TEXTS)
    assert last == "module True"


def test_other_names_of_the_module_are_marimos() -> None:
    program = (
        "late(); from marimo._utils.url import pattern; print(bool(pattern.match('ftp://a.b')))"
    )
    assert said_by(program) == str(is_url("ftp://a.b"))


def test_where_marimo_is_imported_nothing_is_replaced() -> None:
    program = "import marimo; late(); print(type(sys.modules['marimo._utils.url']).__name__)"
    assert said_by(program) == "module"
