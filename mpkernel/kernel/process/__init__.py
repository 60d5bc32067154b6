"""Private to the kernel: what it replaces in its process, once, so that sessions are told apart.

proxies          `sys.stdout` and `sys.stderr`: whose code runs on a thread
session_streams  `sys.stdout = …` by session
printing         a `print` whose lines are not torn
asking           `input` and `getpass` ask the session's client
debugger         `pdb` sees the user's code alone
spawning         processes that a session spawns; lenient_main runs in them
"""
