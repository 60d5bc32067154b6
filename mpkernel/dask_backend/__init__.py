"""Apps on the workers of a Dask cluster. The only package that imports Dask.

    server                                          a worker's machine
    ──────                                          ──────────────────
    launcher ── a task ─▶ scheduler ─▶ · · · · · ─▶ lease
        └──── claim, on the worker's own address ─▶ lease ── starts ─▶ outpost ── starts ─▶ host
    far_process ════════════ connection ═════════════════════════════▶ outpost
    far_link ═════════════ control, stream ═══════════════════════════════════════════════▶ host

    launcher       asks for a worker for each process
    claiming       connects to the worker that was given
    pending_lease  what it knows of one of these
    clients        the client of Dask that it uses, given or made
    scheduling     what the scheduler is told of such tasks
    far_process    a process there, as the server's other parts use it
    far_link, far_console, far_files, far_python    its messages, its output, its virtual files,
                                                    its Python
    lease          what runs in the worker
    outpost        what runs beside the worker, and has the host
    host_launcher  launches that host
    file_answers   what it sends of the host's virtual files
    connection     moves bytes between server and outpost; parts, lanes, messages: what they are
    dialing        opens a connection to a worker, and unpickles nothing of what the worker says
    pumping        moves the bytes of an encrypted connection, which cannot be handed over
    uploads, packing                        the app's folder, as it is sent
    folder_copy, kept_archives, unpacking   the same, as it is kept and copied on a worker's machine
    trying         starts a process on each worker, for `mpkernel doctor`

`distributed` unpickles what it reads, even on a connection that was opened with
`deserialize=False`, and even while it opens one. So its `connect` and `Comm.read` are not used
here.
"""
