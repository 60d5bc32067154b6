"""Sessions on the disk: what they need to come back after the end of their server.

    session ─ changed ─▶ StoredSession ─▶ the store's thread ─ at most 0.1 s later ─▶ its file
    page that connects again, next server ─ take ─▶ SessionStore ◀─ content ───────────┘

session_store    SessionStore: keeps the copies of sessions, and finds those that dead servers left
stored_session   StoredSession: one of these copies, as the session itself sees it
shared_copies    SharedCopies: copies that several sessions share, of the one that changed last
keys             the names of sessions there
unwritten        the sessions that could not be written, and are written later
failing          whether the disk fails, and when it is tried again
owners           the directory: a folder for each server, with a lock that says whether it lives
session_file     the file of one session: appends to it, and writes it anew when it grows
listing          what is stored, for its operator
records          the format of such a file, without any input and output
"""
