"""The half of the backend that runs in an app's process. Imports nothing of the `server` half.

marimo_kernel   marimo's kernel on a thread of an app host
restoring       which element takes what of a session that comes back
console_proxy   `sys.stdout` by session, in a form that marimo recognises
descriptors     what cells write past it, in the browser of their session
file_storage    virtual files, each with its session as owner
interrupts      ending what cells do when their session is closed
warm            what marimo's first kernel imports late: a standby imports it
"""
