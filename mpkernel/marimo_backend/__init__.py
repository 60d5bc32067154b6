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
session     a session whose client is a page: its messages, its banners
streams     these messages, to marimo; outflow: how much of them its page has not taken
carrying    what middleware put into a request, made ready; carried: what stands for it there
uploads     long texts, taken out of what a page sends as it arrives; spooled: where they are kept
journal     what brings a session back; elements: what was set on its page
events      pages on server-sent events, and how long one may take none
reconnecting  when a page has connected again
banner      the script that has marimo's page show banners
kernel      marimo's kernel on a thread of an app host
restoring   which element takes what of a session that comes back
console     `sys.stdout` by session, in a form that marimo recognises
descriptors what cells write past it, in the browser of their session
files       virtual files in a host; registered_files: the same in the server
crossing    what the journal and an app's process say to each other of elements
seam        every name of marimo that is touched, and the versions it was read in
"""
