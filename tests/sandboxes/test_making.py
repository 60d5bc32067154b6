"""Environments that the real uv makes, and what becomes of those that it cannot make."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from faults.namespaces import with_small
from pythons import OTHERS
from sandboxes.makers import Maker, version_in
from sandboxes.programs import replaced_uv
from sandboxes.wheels import write_app, write_wheel

from mpkernel.errors import SandboxError


def test_two_apps_have_two_versions_of_a_package(maker: Maker, tmp_path: Path) -> None:
    one, other = (
        maker.make(write_app(tmp_path / f"{version}.py", f'dependencies = ["tiny=={version}"]'))
        for version in ("1.0", "2.0")
    )
    assert version_in(one) == "1.0"
    assert version_in(other) == "2.0"
    assert "+ tiny==2.0" in maker.said
    assert stat.S_IMODE(os.stat(maker.store.directory).st_mode) == 0o700


def test_the_second_time_nothing_is_made(maker: Maker, tmp_path: Path) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny"]')
    first = maker.make(app)
    maker.env["UV"] = "/nowhere/uv"
    maker.env["PATH"] = "/nowhere"
    again = maker.make(app)
    assert again.python == first.python
    assert maker.said == []
    found = maker.store.find(maker.recipe(app).key)
    assert found is not None
    assert found.python == first.python


def test_what_the_server_adds_is_chosen_together_with_what_the_header_names(
    maker: Maker, tmp_path: Path
) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny"]')
    environment = maker.make(app, ["overlay==1.0"])
    assert version_in(environment, "overlay") == "1.0"
    assert version_in(environment) == "2.0"  # and not 3.0, which `overlay` cannot use


def test_what_cannot_be_had_together_is_said_in_the_words_of_uv(
    maker: Maker, tmp_path: Path
) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny==3.0"]')
    with pytest.raises(SandboxError, match=r"overlay.* depends on tiny<3"):
        maker.make(app, ["overlay==1.0"])
    assert os.listdir(maker.store.directory) == []


def test_a_version_that_the_server_pins_holds_against_the_header(
    maker: Maker, tmp_path: Path
) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["overlay==2.0"]')
    assert version_in(maker.make(app, ["overlay==1.0"]), "overlay") == "1.0"


def test_a_package_that_is_left_out_is_not_installed_unless_the_header_names_it(
    maker: Maker, tmp_path: Path
) -> None:
    app = write_app(tmp_path / "app.py", "dependencies = []")
    maker.make(app, ["overlay==1.0"], ["tiny"])
    assert "+ overlay==1.0" in maker.said
    assert not any("tiny" in line for line in maker.said)
    other = write_app(tmp_path / "other.py", 'dependencies = ["tiny"]')
    assert version_in(maker.make(other, ["overlay==1.0"], ["tiny"])) == "2.0"


def test_a_notebook_in_markdown_has_the_environment_that_its_front_matter_names(
    maker: Maker, tmp_path: Path
) -> None:
    app = write_app(tmp_path / "apps" / "app.md", 'dependencies = ["tiny==1.0"]')
    os.chmod(tmp_path / "apps", 0o500)  # nothing is written there
    environment = maker.make(app)
    assert version_in(environment) == "1.0"
    assert list(environment.folder.glob("*.py")) == []
    same = write_app(tmp_path / "app.py", 'dependencies = ["tiny==1.0"]')
    assert maker.make(same).key == environment.key


@pytest.mark.parametrize("suffix", ["py", "md"])
def test_the_table_of_uv_holds_as_uv_has_it(maker: Maker, tmp_path: Path, suffix: str) -> None:
    write_wheel(tmp_path / "own", "tiny", "9.0")
    app = write_app(
        tmp_path / "apps" / f"app.{suffix}",
        'dependencies = ["tiny"]\n[tool.uv.sources]\n'
        'tiny = { path = "../own/tiny-9.0-py3-none-any.whl" }',
    )
    assert version_in(maker.make(app)) == "9.0"
    assert os.listdir(tmp_path / "apps") == [f"app.{suffix}"]


def test_a_lock_file_beside_the_app_holds(maker: Maker, tmp_path: Path) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny<3"]')
    Path(f"{app}.lock").write_text("version = 1\n")
    with pytest.raises(SandboxError, match=r"error: .*lock"):
        maker.make(app)
    assert Path(f"{app}.lock").read_text() == "version = 1\n"


def test_the_python_of_the_server_is_taken_if_it_fits(maker: Maker, tmp_path: Path) -> None:
    own = "{}.{}".format(*sys.version_info)
    app = write_app(tmp_path / "app.py", f'requires-python = "=={own}.*"\ndependencies = []')
    base = Path(os.path.realpath(maker.make(app).python))
    assert base == Path(os.path.realpath(sys.executable))


@pytest.mark.skipif(not OTHERS, reason="there is no other Python here")
def test_another_python_is_taken_where_the_header_asks_for_it(maker: Maker, tmp_path: Path) -> None:
    about = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = subprocess.check_output([OTHERS[0], "-c", about], text=True).strip()
    maker.env["PATH"] = os.pathsep.join((os.path.dirname(OTHERS[0]), maker.env["PATH"]))
    app = write_app(
        tmp_path / "app.py", f'requires-python = "=={version}.*"\ndependencies = ["tiny"]'
    )
    environment = maker.make(app)
    said = subprocess.check_output([environment.python, "-c", f"{about}; import tiny"], text=True)
    assert said.strip() == version
    (kept,) = maker.store.kept()
    assert kept.facts is not None
    assert kept.facts.python.startswith(f"{version}.")


def test_a_python_that_nobody_has_is_named(maker: Maker, tmp_path: Path) -> None:
    app = write_app(tmp_path / "app.py", 'requires-python = ">=3.99"\ndependencies = []')
    with pytest.raises(SandboxError, match=r"No interpreter found.*3\.99"):
        maker.make(app)


def test_a_package_that_nobody_has_is_named_and_the_next_try_is_a_new_one(
    maker: Maker, tmp_path: Path, wheels: Path
) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["late"]')
    with pytest.raises(SandboxError, match="late was not found"):
        maker.make(app)
    write_wheel(wheels, "late", "1.0")
    assert version_in(maker.make(app), "late") == "1.0"


@pytest.mark.parametrize(
    ("variable", "line"), [("UV_CONSTRAINT", "tiny<2"), ("UV_OVERRIDE", "tiny==1.0")]
)
def test_what_the_operator_demands_holds_also_for_what_the_header_names(
    maker: Maker, tmp_path: Path, variable: str, line: str
) -> None:
    (tmp_path / "demanded.txt").write_text(f"{line}\n")
    maker.env[variable] = str(tmp_path / "demanded.txt")
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny"]')
    assert version_in(maker.make(app, ["overlay==1.0"])) == "1.0"


def test_packages_come_from_the_index_that_uv_is_told_of_and_from_none_when_offline(
    maker: Maker, tmp_path: Path
) -> None:
    wheel = write_wheel(tmp_path / "private", "hidden", "1.0")
    page = f'<a href="/files/{wheel.name}">{wheel.name}</a>'.encode()
    asked: list[tuple[str, str | None]] = []

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            content = wheel.read_bytes() if self.path.endswith(".whl") else page
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if content is page else "application/zip")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    app = write_app(tmp_path / "app.py", 'dependencies = ["hidden"]')
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as index:
        threading.Thread(target=index.serve_forever, daemon=True).start()
        maker.env["UV_DEFAULT_INDEX"] = f"http://me:secret@127.0.0.1:{index.server_port}/simple"
        del maker.env["UV_NO_INDEX"]
        with pytest.raises(SandboxError, match="hidden"):
            maker.make(app)
        assert asked == []
        del maker.env["UV_OFFLINE"]
        assert version_in(maker.make(app), "hidden") == "1.0"
        index.shutdown()
    credentials = "Basic " + base64.b64encode(b"me:secret").decode()
    assert ("/simple/hidden/", credentials) in asked


def test_without_uv_the_error_says_how_to_get_it(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpkernel.sandboxes.uv.sysconfig.get_path", lambda _: "/nowhere")
    maker.env["PATH"] = "/nowhere"
    maker.env.pop("UV", None)
    app = write_app(tmp_path / "app.py", "dependencies = []")
    with pytest.raises(SandboxError, match=r"pip install 'mpkernel\[sandbox\]'"):
        maker.make(app)


def test_a_uv_that_is_killed_half_way_leaves_nothing(maker: Maker, tmp_path: Path) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny"]')
    maker.env["UV"] = replaced_uv(tmp_path, "kill -KILL $$")
    with pytest.raises(SandboxError, match="uv was ended by SIGKILL"):
        maker.make(app)
    assert os.listdir(maker.store.directory) == []
    del maker.env["UV"]
    assert version_in(maker.make(app)) == "3.0"


def test_a_maker_that_is_killed_while_its_uv_lives_on_keeps_others_waiting(
    maker: Maker, tmp_path: Path
) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny"]')
    os.mkfifo(tmp_path / "reached")
    os.mkfifo(tmp_path / "go on")
    uv = replaced_uv(tmp_path, f"echo > '{tmp_path}/reached'; cat '{tmp_path}/go on'")
    maker.env["UV"] = uv
    with maker.elsewhere(app) as first:
        (tmp_path / "reached").read_text()
        first.kill()
    del maker.env["UV"]
    with maker.elsewhere(app) as second:
        assert second.stdout is not None
        waits = second.stdout.readline()
        assert waits.startswith("another process makes the same environment")
        (tmp_path / "go on").write_text("")
        said = second.communicate(timeout=240)[0].splitlines()
    assert "+ tiny==3.0" in said  # it was made anew
    assert version_in(maker.make(app)) == "3.0"


def test_two_that_make_the_same_at_once_make_one(maker: Maker, tmp_path: Path) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny"]')
    makers = [maker.elsewhere(app) for _ in range(3)]
    said = [one.communicate(timeout=240)[0].splitlines() for one in makers]
    assert len({lines[-1] for lines in said}) == 1
    assert sum("+ tiny==3.0" in lines for lines in said) == 1


def test_a_full_disk_is_named_and_leaves_nothing(maker: Maker, tmp_path: Path) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny"]')
    maker.store.directory.mkdir(mode=0o700)
    before = with_small({maker.store.directory: "16k,mode=700"})
    with maker.elsewhere(app, before=before) as one:
        said = one.communicate(timeout=240)[0]
    assert "\nSandboxError: " in said
    assert "No space left on device" in said


def test_a_folder_that_is_open_to_others_is_not_used(maker: Maker, tmp_path: Path) -> None:
    maker.store.directory.mkdir(mode=0o777)
    os.chmod(maker.store.directory, 0o777)
    app = write_app(tmp_path / "app.py", "dependencies = []")
    with pytest.raises(SandboxError, match="open to others"):
        maker.make(app)


def test_a_header_that_changes_meanwhile_is_not_taken_for_the_old_one(
    maker: Maker, tmp_path: Path
) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny==1.0"]')
    key = maker.recipe(app).key
    maker.env["UV"] = replaced_uv(tmp_path, f'sed -i s/1.0/2.0/ \'{app}\'; exec "$uv" "$@"')
    with pytest.raises(SandboxError, match="was changed while its environment was made"):
        maker.make(app)
    assert maker.store.find(key) is None
