"""The embedded Python kernel: what a session runs without a notebook server.

    client ─ commands ─▶ PythonSession ─▶ runner ─▶ user code, on the session's thread
                             ▲   interrupts ──────────▶  ▲
    client ◀─ messages ──────┴── console · outputs · progress ◀┘ (and its threads)

For clients and servers:

messages    what crosses the Pipe
main        the entry, and what it replaces in its process
session     one session: its commands and where its messages go
transport   its messages to its client, and the commands that came
completer   answers requests for completions, while cells run
cell_run    one run of one cell, shared by all its threads
context     which session's code runs on this thread
script      an app as a program of its own, for `mpkernel exec`

For cells:

outputs     showing values
progress    progress bars and spinners
threads     threads that can ask whether they are still wanted
sysstreams  redirecting and capturing what one thread prints

Three folders are private to the kernel: `code` (running an app's code), `process` (what the kernel
replaces in its process), `shown` (turning what is printed and shown into messages). Stopping code
that runs is in `mpkernel.interrupts`.
"""
