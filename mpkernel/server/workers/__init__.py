"""Several processes of one server on one port: each request is served by the process that has its
session. Knows nothing of marimo.

    request for session S ─▶ worker A ─ who has S? ─▶ claims/<digest of S> ─▶ "worker B"
                               │ it is A, or nobody           │
                               ▼                              ▼
                          A's application      <B>.sock: A proves that it knows <B>.key, then
                                               ASGI's messages go both ways ─▶ B's application

Where no supervisor has started the server's process, none of this exists: no file is made, and
nothing listens.

same_server   whether this process is one of several, and which others are of the same server
claims        the private directory in which workers find each other and each session
connection    one connection between two workers: proof of the key, and messages
serving       the socket of a worker: requests that come from the others
forwarding    the other end: hands a request over, and its answer back
worker        one worker: which requests are its own, and when a claim ends
"""
