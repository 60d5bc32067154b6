"""Banners on the page of an app.

marimo's page of a running notebook receives banners but does not show them (its editor does), and
its alerts disappear after five seconds. So a script is put into the page's head: it reads the
messages of the page's WebSocket, or its server-sent events, and shows the last banner at the top
until it is dismissed. When the page is told to reload, the script has it say then
which session it had; when a reader wants to start afresh, it reloads the page, and has it say that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mpkernel.marimo_backend.server.arrivals import LAST_VISIT

__all__ = ["showing_banners"]

Send = Callable[[Any], Awaitable[None]]

_HEAD_END = b"</head>"

_SCRIPT = b"""<script data-mpkernel="banner">
(() => {
  const plain = (html) =>
    new DOMParser().parseFromString(html, "text/html").body.textContent;
  const show = ({ title, description, variant }) => {
    if (title === "Kernel stopped") return; // marimo's, after ours, which says why
    document.getElementById("mpkernel-banner")?.remove();
    if (title === "") return; // what the last one said is over
    const banner = document.createElement("div");
    banner.id = "mpkernel-banner";
    banner.setAttribute("role", variant === "danger" ? "alert" : "status");
    banner.style.cssText =
      "position:fixed;top:0;left:0;right:0;z-index:10000;display:flex;gap:1rem;" +
      "padding:.6rem 1rem;font:14px/1.4 sans-serif;color:#111;border-bottom:1px solid;" +
      (variant === "danger"
        ? "background:#fdecea;border-color:#d9534f"
        : "background:#e8f1fb;border-color:#7aa7d9");
    const text = document.createElement("div");
    text.style.flex = "1";
    const strong = document.createElement("strong");
    strong.textContent = title;
    text.append(strong, " ", plain(description));
    const button = document.createElement("button");
    button.setAttribute("aria-label", "Dismiss");
    button.textContent = "\\u00d7";
    button.style.cssText = "font-size:20px;line-height:1;cursor:pointer;padding:0 .4rem";
    button.onclick = () => banner.remove();
    banner.append(text);
    if (title === "LAST VISIT") {
      const afresh = document.createElement("button");
      afresh.textContent = "Start afresh";
      afresh.style.cssText = "cursor:pointer;text-decoration:underline";
      afresh.onclick = () => {
        sessionStorage.setItem("mpkernel-afresh", "1");
        location.reload();
      };
      banner.append(afresh);
    }
    banner.append(button);
    document.body.append(banner);
  };
  const heard = (message) => {
    if (typeof message === "string" && /^\\{"op": ?"banner"/.test(message)) {
      show(JSON.parse(message).data);
    }
    if (typeof message === "string" && /^\\{"op": ?"reload"/.test(message)) {
      const former = JSON.parse(message).data.session_id;
      if (former) sessionStorage.setItem("mpkernel-former", former); // marimo's page reloads now
    }
  };
  // A page that has reloaded says why when it connects: marimo gives it another session.
  const reasons = ["former", "afresh"];
  const saidReasons = () =>
    reasons.forEach((reason) => sessionStorage.removeItem(`mpkernel-${reason}`));
  const withReason = (address) => {
    const url = new URL(address, location.href);
    const given = reasons.filter((reason) => sessionStorage.getItem(`mpkernel-${reason}`));
    const isOurs = url.host === location.host && /\\/(ws|sse)$/.test(url.pathname);
    if (given.length === 0 || !isOurs) return address;
    given.forEach((reason) =>
      url.searchParams.set(`mpkernel_${reason}`, sessionStorage.getItem(`mpkernel-${reason}`)),
    );
    return url.href;
  };
  const Native = window.WebSocket;
  window.WebSocket = class WebSocket extends Native {
    constructor(address, ...args) {
      const given = withReason(address);
      super(given, ...args);
      if (given !== address) this.addEventListener("open", saidReasons);
      this.addEventListener("message", ({ data }) => heard(data));
    }
  };
  const listen = async (events) => {
    const reader = events.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let read; !(read = await reader.read()).done; ) {
      const lines = (rest + read.value).split(/\\r?\\n/);
      rest = lines.pop();
      lines
        .filter((line) => line.startsWith("data:"))
        .forEach((line) => heard(line.slice(5).trimStart()));
    }
  };
  const fetched = window.fetch;
  window.fetch = async (resource, ...args) => {
    const isRequest = resource instanceof Request;
    const address = isRequest ? resource.url : resource;
    const given = withReason(address);
    if (given !== address) resource = isRequest ? new Request(given, resource) : given;
    const response = await fetched(resource, ...args);
    const kind = response.headers.get("content-type") ?? "";
    if (response.body && kind.startsWith("text/event-stream")) {
      if (given !== address) saidReasons();
      listen(response.clone().body).catch(() => {}); // the page's own copy says what broke off
    }
    return response;
  };
})();
</script>
""".replace(b"LAST VISIT", LAST_VISIT.encode())


def showing_banners(send: Send) -> Send:
    """An ASGI `send` that puts the script into a page if the page is sent as one message."""
    start: dict[str, Any] | None = None

    async def send_page(message: Any) -> None:
        nonlocal start
        if message["type"] == "http.response.start" and _is_page(message):
            start = message  # not sent yet: its length is about to change
            return
        if start is not None:
            held, start = start, None
            body = message.get("body", b"")
            if _HEAD_END in body and not message.get("more_body"):
                body = body.replace(_HEAD_END, _SCRIPT + _HEAD_END, 1)
                message = {**message, "body": body}
                held = {**held, "headers": _with_length(held["headers"], len(body))}
            await send(held)
        await send(message)

    return send_page


def _is_page(start: Any) -> bool:
    headers = dict(start.get("headers", ()))
    is_html = headers.get(b"content-type", b"").startswith(b"text/html")
    return is_html and b"content-encoding" not in headers


def _with_length(headers: Any, length: int) -> list[tuple[bytes, bytes]]:
    others = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*others, (b"content-length", b"%d" % length)]
