"""`key_of`: the name of a session in the store."""

from __future__ import annotations

import hashlib

__all__ = ["key_of"]


def key_of(place: str, session_id: str, authority: str = "") -> str:
    """The name of a session in the store. Whoever reads it learns none of these.

    Args:
        place: where no two sessions have the same name: the absolute path of the app's file, for
            example.
        session_id: the client's name for the session.
        authority: who may have it back. Default: whoever knows the other two.
    """
    digest = hashlib.sha256()
    for part in (place, session_id, authority):
        encoded = part.encode(errors="surrogateescape")
        digest.update(b"%d:" % len(encoded) + encoded)
    return digest.hexdigest()[:40]
