"""The errors of the command line, as a user sees them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from waiting import PATIENCE_S, until

from benchmarks.marimo_server.process import free_port

EXAMPLE = Path(__file__).parents[2] / "mpkernel" / "examples" / "sales" / "dashboard.py"


def mpkernel(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mpkernel", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **env},
    )


@pytest.mark.any_marimo
def test_the_version_is_told() -> None:
    assert mpkernel("--version").stdout.startswith("mpkernel 0.")


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_shows_our_options_and_all_of_marimos(option: str) -> None:
    shown = mpkernel("run", option)
    assert shown.returncode == 0
    for option in (
        "--examples",
        "--standby",
        "--port",
        "--session-ttl",
        "--redirect-console-to-browser",
    ):
        assert option in shown.stdout


@pytest.mark.any_marimo
def test_an_unknown_command_is_a_usage_error() -> None:
    refused = mpkernel("walk")
    assert refused.returncode == 2
    assert "walk" in refused.stderr


@pytest.mark.any_marimo
@pytest.mark.parametrize("options", [[], ["--headless", "--port", "0"]])
def test_a_run_of_nothing_is_a_usage_error(options: list[str]) -> None:
    refused = mpkernel("run", *options)
    assert refused.returncode == 2
    assert "no notebook and no folder is named" in refused.stderr.splitlines()[-1]


@pytest.mark.any_marimo
def test_a_wrapper_that_is_not_there_is_refused_at_once() -> None:
    refused = mpkernel("run", EXAMPLE, "--headless", "--launch-wrapper", "nicee -n 10")
    assert refused.returncode == 1
    assert "launch_wrapper is nicee -n 10, and nicee cannot be executed" in refused.stderr


@pytest.mark.any_marimo
def test_a_cluster_is_refused_at_once_where_dask_is_not_installed() -> None:
    code = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: name != "distributed" and found(name, *rest) or None
from mpkernel.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
    refused = subprocess.run(
        [sys.executable, "-c", code, "run", EXAMPLE, "--headless", "--cluster", "local:2"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    said = (
        "the setting cluster is local:2, and Dask is not installed (pip install 'mpkernel[dask]')"
    )
    assert (refused.returncode, refused.stderr) == (1, f"mpkernel: {said}\n")


@pytest.mark.any_marimo
@pytest.mark.parametrize("name", ["nowhere.py", "nowhere"])
def test_a_path_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    refused = mpkernel("run", EXAMPLE.parent, tmp_path / name, "--headless")
    assert refused.returncode == 1
    assert f"there is nothing at {tmp_path / name} (check the path)" in refused.stderr


def test_a_url_that_cannot_be_fetched_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}/sales.py"
    refused = mpkernel("run", url, "--headless")
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert f"the notebook at {url} cannot be fetched: [Errno 111] Connection" in refused.stderr


def test_a_path_that_is_no_notebook_is_named(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("print('no notebook')\n")
    refused = mpkernel("run", script, "--headless")
    assert refused.returncode != 0
    assert "not recognized as a marimo notebook" in refused.stderr


def test_a_notebook_with_a_syntax_error_is_shown_where(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(EXAMPLE.read_text().replace("import marimo as mo", "import marimo as as mo"))
    refused = mpkernel("run", broken, "--headless")
    assert refused.returncode != 0
    assert "broken.py:" in refused.stderr


@pytest.mark.any_marimo
@pytest.mark.parametrize("option", [["--sandbox", "pixi"], ["--sandbox=pixi"]])
def test_a_sandbox_that_uv_does_not_make_is_refused(option: list[str]) -> None:
    refused = mpkernel("run", EXAMPLE, *option)
    assert refused.returncode == 1
    assert "--sandbox is 'pixi': environments of apps are made by uv" in refused.stderr


@pytest.mark.any_marimo
@pytest.mark.parametrize("option", [["--sandbox", "uv"], ["--sandbox=uv"], ["--sandbox"]])
def test_without_uv_a_sandbox_is_refused_at_the_start(tmp_path: Path, option: list[str]) -> None:
    """`find_uv` is replaced, since there is a uv beside this Python: it finds none."""
    program = (
        "import sys; import mpkernel.sandboxes.uv as uv; uv.find_uv = lambda *_: None;"
        " from mpkernel.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    refused = subprocess.run(
        [sys.executable, "-c", program, "run", str(EXAMPLE), *option],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert refused.returncode == 1
    assert "pip install 'mpkernel[sandbox]'" in refused.stderr


@pytest.mark.any_marimo
@pytest.mark.parametrize("form", [["--standby=-1"], ["--standby", "many"], ["--standby"]])
def test_a_standby_that_is_no_number_is_refused(form: list[str]) -> None:
    refused = mpkernel("run", EXAMPLE, *form)
    assert refused.returncode == 1
    assert "--standby" in refused.stderr


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.mark.parametrize("form", ["--port {}", "--port={}", "-p {}"])
def test_a_port_in_use_is_said_to_be_so(taken_port: int, form: str) -> None:
    refused = mpkernel("run", EXAMPLE, "--headless", *form.format(taken_port).split())
    assert refused.returncode == 1
    assert f"port {taken_port} on 127.0.0.1 is in use" in refused.stderr
    assert "--port" in refused.stderr


@pytest.mark.any_marimo
@pytest.mark.parametrize("port", ["99999", "-1"])
def test_a_port_that_there_is_not_is_refused_by_name(port: str) -> None:
    refused = mpkernel("run", EXAMPLE, "--headless", f"--port={port}")
    assert refused.returncode == 1
    assert f"{port} is not a port (choose one from 1 to 65535" in refused.stderr


@pytest.mark.any_marimo
def test_a_flag_that_looks_like_a_setting_gets_a_suggestion() -> None:
    refused = mpkernel("run", EXAMPLE, "--headless", "--memory-hard-byte", "2GiB")
    assert refused.returncode == 1
    assert "there is no option --memory-hard-byte: did you mean --memory-hard-bytes?" in (
        refused.stderr
    )


def test_a_flag_that_looks_like_one_of_marimos_gets_a_suggestion() -> None:
    refused = mpkernel("run", EXAMPLE, "--headless", "--prot", "3000")
    assert refused.returncode == 1
    assert "there is no option --prot: did you mean --port?" in refused.stderr


@pytest.mark.any_marimo
@pytest.mark.parametrize("port", [[], ["--port", "3000"]], ids=["any port", "a port"])
@pytest.mark.parametrize("host", ["203.0.113.7", "there-is-no-such-host.invalid"])
def test_an_address_that_this_machine_does_not_have_is_refused(host: str, port: list[str]) -> None:
    refused = mpkernel("run", EXAMPLE, "--headless", "--host", host, *port)
    assert refused.returncode == 1
    assert f"{host} is not an address of this machine" in refused.stderr
    assert "--host" in refused.stderr


@pytest.mark.parametrize(
    ("host", "said"), [("", "--host is empty"), (64 * "a", "is not an address")]
)
@pytest.mark.parametrize("command", [["run", EXAMPLE], ["dashboard"]], ids=["run", "dashboard"])
def test_an_address_that_cannot_be_is_refused(
    command: Sequence[str | Path], host: str, said: str
) -> None:
    refused = mpkernel(*command, "--headless", "--host", host)
    assert refused.returncode == 1
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.any_marimo
def test_a_python_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    refused = mpkernel("run", EXAMPLE, "--headless", "--python", tmp_path / "python")
    assert refused.returncode == 1
    assert f"there is no Python {tmp_path / 'python'} (name a Python's program" in refused.stderr


def test_a_folder_without_a_notebook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("print('no notebook')\n")
    refused = mpkernel("run", tmp_path, "--headless")
    assert refused.returncode == 1
    assert f"there is no marimo notebook in {tmp_path} (name the folder" in refused.stderr


@pytest.mark.parametrize(
    ("paths", "served"),
    [
        ([EXAMPLE], "dashboard.py"),
        ([EXAMPLE.parent, EXAMPLE.parents[1] / "weather"], "2 notebooks"),
    ],
    ids=["file", "folders"],
)
def test_the_greeting_says_what_is_served_and_where(paths: list[Path], served: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = [sys.executable, "-m", "mpkernel", "run", "--headless", "--no-token", "--port"]
    with subprocess.Popen(
        [*program, str(port), *map(str, paths)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline().strip() for _ in range(4)]
        server.terminate()
        rest = server.stdout.read()
    assert lines[1].startswith(f"mpkernel serves {served}, each app in a process")
    assert lines[2] == f"http://localhost:{port}"
    assert lines[3].startswith("Ctrl-C ends it; mpkernel status")
    assert "marimo" not in rest


@pytest.mark.any_marimo
def test_what_can_be_refused_without_marimo_is_refused_before_it_is_imported() -> None:
    program = """
import sys
from mpkernel.cli.main import main
example = sys.argv[1]
for refused in (
    [],
    [example + "/nowhere"],
    ["--headless", example, "--port", "2718", "--launch-wrapper", "nicee -n 10"],
    [example, "--python", example + "/python"],
):
    assert main(["run", *refused]) != 0
print("marimo" in sys.modules)
"""
    said = subprocess.run(
        [sys.executable, "-c", program, EXAMPLE], capture_output=True, text=True, timeout=240
    )
    assert said.stdout == "False\n"


@pytest.mark.parametrize(
    "arguments", [["run", "x.py"], ["run", EXAMPLE, "--headless"], ["settings"]]
)
def test_a_current_folder_that_was_removed_is_said_to_be(
    tmp_path: Path, arguments: Sequence[str | Path]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd {gone} && rmdir {gone} && exec "$@"'
    ended = subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-m", "mpkernel", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 1
    assert ended.stderr == "mpkernel: the current folder was removed (change to another)\n"


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10):
            return True
    except OSError:
        return False


def test_it_serves_where_its_output_has_no_room() -> None:
    port = free_port()
    with open("/dev/full", "w") as full:
        server = subprocess.Popen(
            [sys.executable, "-m", "mpkernel", "run", EXAMPLE, "--headless", "--port", str(port)],
            stdout=full,
            stderr=full,
        )
    try:
        until(lambda: answers(port) or server.poll() is not None, patience_s=60)
        assert server.poll() is None
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


@pytest.mark.any_marimo
def test_a_disabled_mpkernel_does_not_serve() -> None:
    refused = mpkernel("run", EXAMPLE, MPKERNEL_DISABLE="1")
    assert refused.returncode == 1
    assert "MPKERNEL_DISABLE" in refused.stderr


@pytest.mark.parametrize("module", ["mpkernel.cli.run", "marimo._cli.cli"])
def test_ctrl_c_during_the_start_shows_no_traceback(tmp_path: Path, module: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
    )
    ended = mpkernel("run", EXAMPLE, "--headless", PYTHONPATH=str(tmp_path))
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def without_marimo(directory: Path, version: str | None) -> dict[str, str]:
    """An environment in which marimo seems to be missing, or of another version."""
    hook = directory / "sitecustomize.py"
    hook.write_text(
        "import importlib.metadata as m\n"
        "real = m.version\n"
        "def version(name):\n"
        "    if name != 'marimo':\n"
        "        return real(name)\n"
        f"    answer = {version!r}\n"
        "    if answer is None:\n"
        "        raise m.PackageNotFoundError(name)\n"
        "    return answer\n"
        "m.version = version\n"
    )
    return {"PYTHONPATH": str(directory)}


@pytest.mark.any_marimo
def test_help_is_shown_without_marimo_too(tmp_path: Path) -> None:
    shown = mpkernel("run", "--help", **without_marimo(tmp_path, None))
    assert "--memory-hard-bytes" in shown.stdout
    assert "pip install 'mpkernel[marimo]'" in shown.stderr


@pytest.mark.any_marimo
@pytest.mark.parametrize(
    ("command", "extra"), [(["run", EXAMPLE], "marimo"), (["dashboard"], "dashboard")]
)
def test_a_missing_marimo_is_said_with_the_command_that_installs_it(
    command: list[str], extra: str, tmp_path: Path
) -> None:
    refused = mpkernel(*command, **without_marimo(tmp_path, None))
    assert refused.returncode == 1
    assert f"pip install 'mpkernel[{extra}]'" in refused.stderr


@pytest.mark.any_marimo
def test_a_marimo_outside_the_range_is_said_with_the_range(tmp_path: Path) -> None:
    refused = mpkernel("run", EXAMPLE, **without_marimo(tmp_path, "0.22.0"))
    assert refused.returncode == 1
    assert "0.23.8 up to, but not including, 0.26.0" in refused.stderr


@pytest.mark.any_marimo
def test_a_setting_that_is_none_is_named_with_its_place() -> None:
    refused = mpkernel("run", EXAMPLE, "--headless", MPKERNEL_PING_TIMEOUT="3")
    assert refused.returncode == 1
    assert "MPKERNEL_PING_TIMEOUT in the environment names no setting" in refused.stderr
