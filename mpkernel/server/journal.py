"""The module of journals before version 0.2. It stays for programs that still import them from
here. New programs write ``from mpkernel import Journal, Rebuilt``."""

from mpkernel.server.sessions.journal import Journal, Rebuilt

__all__ = ["Journal", "Rebuilt"]
