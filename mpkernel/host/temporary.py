"""The directory of `multiprocessing`'s temporary files, under a name that says which process uses
it.

It holds the sockets of managers and the memory of shared objects. `multiprocessing` makes it when
it is first needed, and removes it at the process's orderly end. When the process is killed, the
directory stays, and nobody can tell any more whose `pymp-…` it was. So a host's directory is named
like its virtual files: the server removes it when the process is gone.

Children that the host starts through `multiprocessing` use the same directory, as such children
always use that of their parent.
"""

from __future__ import annotations

import multiprocessing.process
import os
from typing import Any

__all__ = ["name_temporary_directory"]

_KEY = "tempdir"  # the key by which multiprocessing.util.get_temp_dir finds it


def name_temporary_directory() -> None:
    """Have this process's directory made under such a name. It must not exist yet."""
    current: Any = multiprocessing.process.current_process()
    current._config = _Configuration(current._config)


class _Configuration(dict[str, Any]):
    """What multiprocessing knows of a process. The directory is made when it is asked for: by the
    process itself, or by a copy for a child."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        super().__init__(configuration)
        self._pid = os.getpid()

    def get(self, key: str, default: Any = None) -> Any:
        if key == _KEY and super().get(key) is None:
            self[key] = self._make()
        return super().get(key, default)

    def copy(self) -> dict[str, Any]:
        self.get(_KEY)
        return dict(self)

    def _make(self) -> str:
        import shutil  # imported here: few hosts need such a directory
        import tempfile
        from multiprocessing import util

        from shm.names import tag_of

        # Named after the host also when a fork of it asks first: it is removed with the host.
        path = tempfile.mkdtemp(prefix=tag_of(self._pid).prefix)
        util.Finalize(None, shutil.rmtree, args=(path, True), exitpriority=-100)
        return path
