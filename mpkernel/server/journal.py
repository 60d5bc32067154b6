"""Where journals were before version 0.2, for programs that import them from here. New ones say
``from mpkernel import Journal, Rebuilt``."""

from mpkernel.server.sessions.journal import Journal, Rebuilt

__all__ = ["Journal", "Rebuilt"]
