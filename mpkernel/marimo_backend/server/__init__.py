"""The half of the backend that runs in marimo's server. Imports nothing of the `host` half.

shared_pool       leases on one pool, which marimo's session managers ask for app hosts
app_host          the app host that marimo's sessions ask for kernels
marimo_session    a session whose client is a page
notices           the messages to the page: banners and alerts
page_stream       hands these messages to marimo
outflow           counts how many of them the page has not taken
carrying          prepares what middleware put into a request for another process
marimo_journal    what is needed to restore a session
journal_entries   what the journal makes of each command
kept_journal      the journal as bytes, for another server
pending_commands  the commands that the kernel has not done yet, as the journal keeps them
elements          the values that a page's elements were set to
known_cells       which cells a notebook has, without parsing it again
arrivals          pages that connect with a session that the server does not have
among_workers     has requests served by the server process that has their session
handed_scope      a request as bytes, for another server process
authority         who may have a session back
browsers          the cookie by which browsers are told apart
same_cells        which cells of a notebook are the same after it was edited
uploads           takes uploaded files out of what a page sends, while it arrives
upload_progress   tells the page how much of them has come
reconnecting      tells when a page has connected again
events            pages that are connected by server-sent events
banner            the script with which marimo's page shows banners
registered_files  virtual files: reading them from the pool's registry
file_answers      answers requests for virtual files
conditions        which part of a file a request wants, and under which conditions
overlay           the packages that marimo's kernels need in an environment of an app
leaving           how a pool ends with its server
loggers           the format in which the loggers of marimo's server write
"""
