"""nginx before the server, with the lines that the page on operating gives."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from dask_backend.certificates import certified
from e2e.harness import NOTEBOOKS, Server, free_port
from e2e.profiles import profile
from playwright.async_api import Browser, BrowserContext, WebSocket, expect
from waiting import PATIENCE_S, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = Path(__file__).parents[2] / "mpkernel" / "docs" / "operating.md"
USER, PASSWORD = "ada", "lovelace"
SILENCE_S = 10
"""After so long in which the server sends nothing, nginx ends a connection: 60 s by default."""

# One process, which writes into its own folder, and runs as whoever runs the tests.
CONFIGURATION = """
daemon off;
master_process off;
pid pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    RECIPE
}
"""


@contextmanager
def nginx(folder: Path, server: Server, base_url: str) -> Iterator[str]:
    """nginx with the page's lines before this server, while the block runs: its URL."""
    port = free_port()
    certificates = certified(folder)
    (folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    changes = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;"
        f" ssl_certificate {certificates['ca-file']};"
        f" ssl_certificate_key {certificates['client.key']};",
        "/etc/nginx/notebooks.users": str(folder / "users"),
        "http://127.0.0.1:2718;": f"{server.url}; proxy_read_timeout {SILENCE_S}s;",
        "location / {": f"location {base_url}/ {{",
    }
    (recipe,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for written, here in changes.items():
        assert recipe.count(written) == 1
        recipe = recipe.replace(written, here)
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.replace("RECIPE", recipe))
    log_path = folder / "log"
    with log_path.open("wb") as log:
        command = [program(), "-p", str(folder), "-c", str(configuration)]
        process = subprocess.Popen(command, stderr=log)
    try:
        until(lambda: (folder / "pid").exists() or process.poll() is not None)
        assert process.poll() is None, log_path.read_text()
        yield f"https://127.0.0.1:{port}{base_url}"
        assert "[error]" not in log_path.read_text()
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def program() -> str:
    folders = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("nginx", path=folders)
    if found is None:
        pytest.fail("the tests of the lines for nginx need nginx: apt-get install nginx")
    return found


@pytest.fixture(scope="module", params=["", "/notebooks"], ids=["root", "base-url"])
def proxied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    base_url = request.param
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "served").mkdir()
    shutil.copy(NOTEBOOKS / "proxied.py", folder / "served")
    options = ["--base-url", base_url] if base_url else []
    with (
        Server(folder / "served", options=options, health=f"{base_url}/health") as server,
        nginx(folder, server, base_url) as url,
    ):
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def known(browser: Browser) -> AsyncIterator[BrowserContext]:
    credentials = {"username": USER, "password": PASSWORD}
    context = await profile(browser, http_credentials=credentials, ignore_https_errors=True)
    yield context
    await context.close()


async def test_a_page_works_through_it_and_its_connection_outlives_silence(
    proxied: str, known: BrowserContext
) -> None:
    page = await known.new_page()
    await page.goto(f"{proxied}/", wait_until="commit")
    await expect(page.get_by_text("proxied").first).to_be_visible()
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    await page.goto(f"{proxied}/?file=proxied.py", wait_until="commit")
    shown = page.get_by_text("number 0 uploaded [] end")
    await expect(shown).to_be_visible()
    file = {"name": "file", "mimeType": "text/plain", "buffer": bytes(3_000_000)}
    await page.locator("input[type=file]").set_input_files(file)
    await expect(page.get_by_text("number 0 uploaded [3000000] end")).to_be_visible()
    async with page.expect_download() as downloading:
        await page.get_by_text("Large", exact=True).click()
    assert Path(await (await downloading.value).path()).read_bytes() == b"large" * 1_000_000
    await page.wait_for_timeout(1000 * 1.5 * SILENCE_S)
    await page.get_by_role("slider").press("ArrowRight")
    await expect(page.get_by_text("number 1 uploaded [3000000] end")).to_be_visible()
    assert len(sockets) == 1
    await page.close()


async def test_who_does_not_know_the_password_sees_nothing(proxied: str) -> None:
    async with httpx.AsyncClient(verify=False) as client:
        for path in ("/", "/?file=proxied.py", "/health"):
            assert (await client.get(proxied + path)).status_code == 401
        answer = await client.get(f"{proxied}/health", auth=(USER, PASSWORD))
        assert answer.status_code == 200
