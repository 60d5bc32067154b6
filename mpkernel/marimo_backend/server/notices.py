"""Messages to the page of a session: banners, which stay, and alerts, which stay for some
seconds.

marimo drops what is sent to a page that is not connected, or not completely. So a banner that says
what the session waits for, or why it does not run, is sent once more to a page that has connected.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterable
from typing import Any

from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.server.page_stream import PageStream

__all__ = ["Notices", "described"]


_UPLOADING = "This tab uploads:"
_ALERT_S = 5.0
"""For how long marimo's page shows an alert."""


class Notices:
    """Puts marimo's notifications onto the stream of a session.

    Args:
        stream: leads to marimo's session; None when there is none. Then nothing is said.
        now: the clock, in seconds.

    Attributes:
        stream: as given. To be set to None when marimo's session is gone.
    """

    def __init__(
        self, stream: PageStream | None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.stream = stream
        self._now = now
        self._file_refused_at = float("-inf")
        self._latest = ""  # the title of the latest banner
        self._standing: dict[str, Any] | None = None  # the latest banner, if it is sent once more

    def banner(self, title: str, description: str, variant: str | None) -> None:
        """Show a banner until the user dismisses it.

        Args:
            title: its heading, as text.
            description: HTML, as `described` gives it.
            variant: "danger" for one that is conspicuous.
        """
        self._standing = None
        self._latest = title
        self._notify("BannerNotification", title=title, description=description, variant=variant)

    def again(self) -> None:
        """A page has connected. If the latest banner says what the session waits for, or why it
        does not run, show it there, too."""
        if self._standing is not None:
            self._notify("BannerNotification", **self._standing)

    def failure(self, title: str, description: str) -> None:
        """Say in a banner that the app does not run, with a button that reloads the page.

        Args:
            title, description: text.
        """
        self._stand(title, html.escape(description), variant="danger", action="restart")

    def refusal(self, title: str, description: str) -> None:
        """Say in an alert that one thing was not done.

        Args:
            title, description: text.
        """
        self._notify(
            "AlertNotification",
            title=title,
            description=html.escape(description),
            variant="danger",
        )

    def file_refused(self, why: str) -> None:
        """Say in an alert that a file cannot be shown. While the page shows such an alert, this
        does nothing: one cell may make thousands of files.

        Args:
            why: text.
        """
        now = self._now()
        if now - self._file_refused_at >= _ALERT_S:
            self._file_refused_at = now
            self.refusal("A file of this app cannot be shown", why)

    def preparing(self, text: str, *, is_placed: bool) -> None:
        """Say in a banner how far the installation of the app's packages is; or, on a cluster, that
        the app waits for a machine; see `SessionEvents.on_preparing`."""
        title = "The packages of this app are being installed:"
        if not is_placed:
            title = "This app runs on another machine:"
        self._stand(title, html.escape(text), variant=None)

    def prepared(self) -> None:
        """Take away the banner of `preparing`."""
        self.banner("", "", None)  # this makes the page remove the last banner

    def waiting(self, back: int, all_of_them: int) -> None:
        """Say in a banner that the session waits for a process; see `SessionEvents.on_waiting`."""
        description = "another process is started soon."
        if all_of_them > 1:
            description = f"{back} of {all_of_them} tabs are back, this one waits for its turn."
        self._stand("This app is being restarted:", description, variant=None)

    def unanswered(self, calls: Iterable[str]) -> None:
        """Answer these calls of functions, whose process ended: the page waits for answers."""
        status = seam.server("HumanReadableStatus")(
            code="error", title="This app was restarted", message="Please try again."
        )
        notification = seam.server("FunctionCallResultNotification")
        # Since marimo 0.24 the page itself offers to call the function again.
        found = {"found": True} if "found" in notification.__struct_fields__ else {}
        for call in calls:
            self._notify(
                "FunctionCallResultNotification",
                function_call_id=call,
                return_value=None,
                status=status,
                **found,
            )

    def uploading(self, text: str) -> None:
        """Say in a banner how far an upload is; "": it is over, and that banner is taken away."""
        if text:
            self.banner(_UPLOADING, text, None)
        elif self._latest == _UPLOADING:
            self.banner("", "", None)

    def _stand(self, title: str, description: str, **more: Any) -> None:
        self._latest = title
        self._standing = {"title": title, "description": description, **more}
        self.again()

    def _notify(self, notification: str, **fields: Any) -> None:
        stream = self.stream
        if stream is not None:
            message = seam.server(notification)(**fields)
            stream.put(seam.server("serialize_kernel_message")(message))


def described(why: str, lost: tuple[str, ...]) -> str:
    """What the banner says of a session that was restored, as HTML.

    Args:
        why: what is said first; may be empty.
        lost: what did not come back.
    """
    said = [
        why,
        "Inputs are as they were; what cells changed since then (mo.state, variables) starts anew.",
        f"Lost: {'; '.join(lost)}." if lost else "",
    ]
    return html.escape(" ".join(filter(None, said)))
