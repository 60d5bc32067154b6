"""The code that runs inside an app host: one process with many kernels. These modules import
nothing of `server`. They also do not import asyncio, psutil or uvloop: each import makes the start
of every host slower.

    control Pipe ══▶ Dispatcher (main thread) ──▶ a session's queues ──▶ kernel thread
                                                                              │
    stream Pipe ◀══ StreamWriter ◀── created · output · files · exited ◀──────┘

    start         loads what a host needs, and calls `main`
    preparing     before that, in some processes: makes the environment of the app
    entering      the first function in a process with another Python, or behind a wrapper
    main          the main thread, which reads what the server sends
    control_pipe  reads what the server sends, on the main thread or on a kernel's own
    unyielding    reads and writes a socket without giving up the interpreter's lock
    setup_here    what the server says of the app, with the paths of this machine
    ending        how the process ends: in order, as Python does, or at once
    warming       what a standby imports before it is known which app it is for
    kernels       the table of the host's kernels
    kernel        what a session's entry function is given
    hosted_kernel one session: its queue and its thread
    stopping      interrupts kernels that do not end when asked, and in the end gives them up
    import_path   puts the app's folder first in the import path
    streams       writes whole frames to the stream Pipe, from any thread
    windows       how much each session may have sent that its client has not taken
    console       `sys.stdout` and `sys.stderr`, which write to the calling thread's own stream
    descriptors   gives what is written to descriptors 1 and 2 to the session whose code ran
    session_files the virtual files of a session, and those of all sessions
    storage       keeps virtual files; it is loaded with the first of them
    temporary     the directory of multiprocessing's temporary files, removed with the host
    tracker       multiprocessing's resource tracker, which outlives a kill of the host's group

The main thread never runs user code and never waits for a kernel. So the host answers, and can be
ended, whatever its kernels do, unless one of them holds the GIL.
"""
