"""The embedded Python kernel: what a session runs when no notebook server is there.

    client ─ commands ─▶ PythonSession ─▶ runner ─▶ user code, on the session's thread
                             ▲   interrupts ──────────▶  ▲
    client ◀─ messages ──────┴── console · outputs · progress ◀┘ (and its threads)

messages   what crosses the Pipe
main       the entry, and what it changes in its process, once
session    one session: its commands and where its messages go
cell_run   one run of one cell, which its threads share
cells, names          an app's file as cells, and which names each reads and defines
runner, namespace     running code, in a `__main__` of the session's own
interrupts, waits     stopping it
landing, half_done    at which moment that does no harm
builtins_like         functions in the place of built-in ones
console, flusher      what it prints, and what is written to descriptors 1 and 2
session_streams, printing  `sys.stdout = …` by session, and a `print` whose lines are not torn
proxies, asking       whose text a thread prints, and `input`
sysstreams            redirections and captures by thread, for user code
debugger, forks       `pdb` in a cell, and children that a cell forks
spawning, lenient_main  children that a cell spawns
outputs, output_list, display, threads, progress, terminal   what it shows
context    whose code runs on this thread
"""
