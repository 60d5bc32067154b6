"""mpkernel as marimo's backend: the only rooms that import marimo.

marimo's server                                    app host
───────────────                                    ────────
IsolationMiddleware ─ puts a PoolLease into ─▶ SessionManager
AppHostAdapter ─ pickled commands ─▶ (control Pipe) ─▶ CommandQueue ─▶ marimo's kernel
marimo's session ◀─ PageStream ◀─ (stream Pipe) ◀─ OutputQueue ◀──────────┘
RegisteredFiles ◀─ announcements, blocks of shared memory ─ SessionFiles

When the host dies, the session's journal makes the next one's commands:
MarimoJournal ─ the instantiation, with wrapped values ─▶ restoring, where elements are made

entrypoint  what marimo loads by itself, when mpkernel is installed
asgi        `create_asgi_app`
leaving     how a pool leaves with its server
pool        leases on one pool, which marimo's session managers ask for app hosts
app_host    the app host that marimo's sessions ask for kernels
entrypoint  what marimo loads by itself, when mpkernel is installed
asgi        `create_asgi_app`
server      the half that runs in marimo's server
host        the half that runs in an app's process
crossing    what these two say to each other of elements and their values
carried     what stands in an app for objects of the server's program
spooled     long texts that the server keeps and a host reads
defaults    what pools for marimo have where nothing else is set
seam        every name of marimo that is touched, and the versions it was read in
"""
