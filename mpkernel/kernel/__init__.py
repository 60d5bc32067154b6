"""The embedded Python kernel: what a session runs when no notebook server is there.

    client ─ commands ─▶ PythonSession ─▶ runner ─▶ user code, on the session's thread
                             ▲   interrupts ──────────▶  ▲
    client ◀─ messages ──────┴── console · outputs · progress ◀┘ (and its threads)

For clients and servers:

messages    what crosses the Pipe
main        the entry, and what it changes in its process, once
session     one session: its commands and where its messages go
cell_run    one run of one cell, which its threads share
context     whose code runs on this thread
script      an app as a program of its own, for `mpkernel exec`

For cells:

outputs     showing values
progress    progress bars and spinners
threads     threads that know when their cell wants no more of them
sysstreams  redirections and captures by thread

The kernel's own, private: `code` (running an app's code), `process` (what is replaced in the
process), `shown` (how what is printed and shown becomes messages). Stopping what runs is
`mpkernel.interrupts`.
"""
