"""The half of the backend that runs in an app's process. Imports nothing of the `server` half.

marimo_kernel   marimo's kernel on a thread of an app host
restoring       which element gets which value when a session is restored
embedded_apps   names their cells, the same in each process
console_proxy   one `sys.stdout` for all sessions, of a class that marimo recognises
descriptors     what cells write to descriptors 1 and 2, shown in the browser of their session
printing        what cells print, on its way to marimo's thread that sends it
entry_points    the entry points of installed packages, read once for marimo
caches          where marimo's caches lie, if the app is confined
file_storage    virtual files, each with its session as owner
interrupts      ending the code of cells when their session is closed
warm            imports, for a standby, what marimo's first kernel would import late
"""
