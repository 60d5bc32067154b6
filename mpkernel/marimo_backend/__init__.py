"""mpkernel as marimo's backend: the only rooms that import marimo.

marimo's server                                    app host
───────────────                                    ────────
IsolationMiddleware ─ puts a PoolLease into ─▶ SessionManager
AppHostAdapter ─ pickled commands ─▶ (control Pipe) ─▶ CommandQueue ─▶ marimo's kernel
marimo's stream queue ◀─ (stream Pipe) ◀─ OutputQueue ◀───────────────────┘
RegisteredFiles ◀─ announcements, blocks of shared memory ─ SessionFiles

When the host dies, the session's journal makes the next one's commands:
MarimoJournal ─ the instantiation, with wrapped values ─▶ restoring, where elements are made

entrypoint  what marimo loads by itself, when mpkernel is installed
pool        the surface that marimo's session manager asks for
session     a session whose client is a page: its messages, its banners
journal     what brings a session back; elements: what was set on its page
banner      the script that has marimo's page show banners
kernel      marimo's kernel on a thread of an app host
restoring   which element takes what of a session that comes back
console     `sys.stdout` by session, in a form that marimo recognises
files       virtual files in both processes
seam        every name of marimo that is touched, and the versions it was read in
"""
