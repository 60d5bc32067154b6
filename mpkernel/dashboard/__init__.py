"""`mpkernel dashboard`: a page in the browser on which operators see all servers of this user.

    servers' snapshots, histories, reports of deaths ─▶ looking ─▶ pages ─▶ notebook ─▶ browser
    servers' control sockets ◀──────────────────────── ordering ◀─────────── buttons

The notebook is an app like any other, so that it runs in a process of its own. All of its modules
run there, but `serving`.

serving         an ASGI application of the dashboard
looking         reads what the servers keep, once a second for all pages
known_history   the history of a server, put together from its parts
views           which servers or which app a page shows, by its URL
charts          curves as SVG
html            the pages' tables and facts
pages           the pages
app_page        the page of an app
deaths          the part of a page that tells of deaths
ordering        orders: what is asked before one is given, and who gives it
notebook/       the notebook and its style sheet
"""
