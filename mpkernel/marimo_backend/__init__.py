"""mpkernel as marimo's backend: the only package that imports marimo.

marimo's server                                    app host
───────────────                                    ────────
IsolationMiddleware ─ puts a PoolLease into ─▶ SessionManager
AppHostAdapter ─ pickled commands ─▶ (control Pipe) ─▶ CommandQueue ─▶ marimo's kernel
marimo's session ◀─ PageStream ◀─ (stream Pipe) ◀─ OutputQueue ◀──────────┘
RegisteredFiles ◀─ announcements, blocks of shared memory ─ SessionFiles

When the host dies, the session's journal makes the commands for the next one:
MarimoJournal ─ the instantiation, with wrapped values ─▶ restoring, where elements are made

entrypoint    the middleware that marimo loads by itself, when mpkernel is installed
asgi          `create_asgi_app`
server        the half that runs in marimo's server
host          the half that runs in an app's process
crossing      what these two halves send each other about elements and their values
carried       what an app has in place of objects of the server's program
spooled       long texts that the server keeps and a host reads
false_warning a warning of marimo's that is left out
defaults      the settings of pools for marimo where nothing else is set
seam          every name of marimo that is used
url_pattern   marimo's pattern for URLs, compiled when it is needed
versions      the versions of marimo for which these names were checked
disabling     whether the environment forbids all of this
command_line  marimo's command line, as far as `mpkernel run` uses it
run_options   those of its options that are known before it is imported
"""
