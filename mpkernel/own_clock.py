"""`monotonic` and `sleep` of `time`, as they are when Python starts, for our code beside an app's.

Code of an app may replace these functions for the whole process. `mock.patch("time.sleep")` does
so; freezegun also sets each variable of a module that holds the plain function. Where the clock
stands still, our waits would never end, and a `sleep` that raises would end our threads. So these
two are objects of their own, which nobody looks for.
"""

from __future__ import annotations

import functools
import time

__all__ = ["monotonic", "sleep"]

monotonic = functools.partial(time.monotonic)
"""Seconds, as `time.monotonic`."""

sleep = functools.partial(time.sleep)
"""Wait for so many seconds, as `time.sleep`."""
