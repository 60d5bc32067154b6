"""`PendingCommands`: what a marimo session's journal keeps of the commands that the kernel has not
done yet, in the order in which they were sent; and how many bytes that may take.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from mpkernel.errors import ProtocolError
from mpkernel.marimo_backend.server.journal_entries import (
    Entry,
    Instantiation,
    Unkept,
    bytes_of,
    size_of_entry,
    texts_in,
)

__all__ = ["PendingCommands"]


class PendingCommands:
    """The commands that the kernel has not done.

    Args:
        max_bytes: how much is kept of them, without their long texts.
        max_files_bytes: how many bytes of long texts they may have together.

    Attributes:
        untaken_text_bytes: how many bytes of long texts the kernel has not taken yet.
    """

    def __init__(self, max_bytes: int, max_files_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._max_files_bytes = max_files_bytes
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self.untaken_text_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def first(self) -> Entry | None:
        """The command that runs now, or is next; None when there is none."""
        return self._entries[0] if self._entries else None

    def can_keep(self, entry: Entry) -> bool:
        """Whether there is room for an entry, without its long texts."""
        is_first = isinstance(entry, Instantiation)  # there is only one, and it is always needed
        return is_first or self._bytes + size_of_entry(entry) <= self._max_bytes

    def has_room_for_texts(self, entry: Entry) -> bool:
        """Whether its long texts can be kept, besides those of all pending commands."""
        texts = texts_in(entry)
        if any(text.is_lost for text in texts):
            return False
        return not texts or self.untaken_text_bytes + bytes_of(texts) <= self._max_files_bytes

    def append(self, entry: Entry) -> bool:
        """A command was sent. Returns whether it is kept; one that is not is counted only."""
        texts = texts_in(entry)
        self.untaken_text_bytes += bytes_of(texts)
        if self.can_keep(entry):
            self._entries.append(entry)
            self._bytes += size_of_entry(entry)
            return True
        last = self._entries[-1] if self._entries else None
        if isinstance(last, Unkept):
            self._entries[-1] = Unkept(last.commands + 1, last.texts + texts)
        else:
            self._entries.append(Unkept(1, texts))
        return False

    def take(self) -> Entry:
        """The next command that the kernel has done.

        Raises:
            ProtocolError: no command was pending.
        """
        if not self._entries:
            raise ProtocolError("a kernel says it has done more commands than were sent to it")
        entry = self._entries.popleft()
        if isinstance(entry, Unkept) and entry.commands > 1:
            self._entries.appendleft(Unkept(entry.commands - 1, entry.texts))
        else:
            self._bytes -= size_of_entry(entry)
            self.untaken_text_bytes -= bytes_of(texts_in(entry))
        return entry

    def replace(self, entries: Iterable[Entry]) -> None:
        """Let these commands be pending, and no others. Their long texts count as taken."""
        self._entries = deque(entries)
        self._bytes = sum(map(size_of_entry, self._entries))
        self.untaken_text_bytes = 0
