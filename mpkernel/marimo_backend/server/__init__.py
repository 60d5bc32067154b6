"""The half of the backend that runs in marimo's server. Imports nothing of the `host` half.

shared_pool       leases on one pool, which marimo's session managers ask for app hosts
app_host          the app host that marimo's sessions ask for kernels
marimo_session    a session whose client is a page: its messages, its banners
page_stream       these messages, to marimo
outflow           how much of them its page has not taken
carrying          what middleware put into a request, made ready for another process
marimo_journal    what brings a session back
elements          what the elements of a page were set to
uploads           uploaded files, taken out of what a page sends as it arrives
reconnecting      when a page has connected again
events            pages that are connected by server-sent events
banner            the script that has marimo's page show banners
registered_files  virtual files: the pool's registry, to read only
leaving           how a pool leaves with its server
loggers           how the loggers of marimo's server write their lines
"""
