"""mpkernel as marimo's backend: the only rooms that import marimo.

marimo's server                                    app host
───────────────                                    ────────
IsolationMiddleware ─ puts a PoolLease into ─▶ SessionManager
AppHostAdapter ─ pickled commands ─▶ (control Pipe) ─▶ CommandQueue ─▶ marimo's kernel
marimo's stream queue ◀─ (stream Pipe) ◀─ OutputQueue ◀───────────────────┘
RegisteredFiles ◀─ announcements, blocks of shared memory ─ SessionFiles

entrypoint  what marimo loads by itself, when mpkernel is installed
pool        the surface that marimo's session manager asks for
kernel      marimo's kernel on a thread of an app host
console     `sys.stdout` by session, in a form that marimo recognises
files       virtual files in both processes
seam        every name of marimo that is touched, and the versions it was read in
"""
