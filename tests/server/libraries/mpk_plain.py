"""A library as most are: it needs another one, and is warmed by a standby."""

import os
import threading

import mpk_needed

PRIORITY = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
NEEDED = mpk_needed.__name__
