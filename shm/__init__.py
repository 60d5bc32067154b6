"""Blocks of shared memory that can be read without becoming anybody's to clean up.

A package of its own: it imports nothing of mpkernel. For now it holds the reading side alone.
"""

from shm.blocks import BlockNotFound, read_chunks

__all__ = ["BlockNotFound", "read_chunks"]
