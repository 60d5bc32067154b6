"""Private to the kernel: what it replaces in its process, once, so that each session has its own.

proxies          `sys.stdout` and `sys.stderr` for all sessions; which cell a thread belongs to
session_streams  what a session sets `sys.stdout` and `sys.stderr` to
printing         `print`, whose lines stay whole
asking           `input` and `getpass`, which ask the session's client
debugger         `pdb`, which sees the user's code alone
spawning         processes that a session spawns
lenient_main     what runs in these processes first
"""
