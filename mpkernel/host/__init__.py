"""The app host's half: one process, many kernels. Imports nothing of `server`, and neither asyncio,
psutil nor uvloop: every host pays for what stands here.

    control Pipe ══▶ Dispatcher (main thread) ──▶ a session's queues ──▶ kernel thread
                                                                              │
    stream Pipe ◀══ StreamWriter ◀── created · output · files · exited ◀──────┘

    main        the process's own life: what it is for, whom it must not outlive
    ending      how it ends: in order, as Python does, or at once
    orphans     what user code started and whose parent has ended: kept, and reaped
    warming     what a standby imports, before it is known what the process is for
    kernel      one session: its queue, its thread
    kernels     the table of them
    import_path where imports look first
    stopping    kernels that do not end: interrupted, judged, given up
    streams     whole frames onto the stream Pipe from any thread
    windows     how much each session may have sent that its client has not taken
    console     `sys.stdout` and `sys.stderr`, by thread
    descriptors what is written to descriptors 1 and 2, back to the session that ran
    temporary   the directory of multiprocessing's temporary files, which goes with the host
    tracker     multiprocessing's resource tracker, out of reach of the host's own end

The main thread never runs user code and never waits for a kernel, so the host answers and can be
ended whatever its kernels do, short of holding the GIL.
"""
