"""Which files a confined process may still reach.

It may read Python and the packages of its environment, the system's programs and libraries, what
these need of `/etc`, `/proc` and `/sys`, the folder of the app, and what `confine_read` names. It
may change its own temporary folders, and what `confine_write` names.
"""

from __future__ import annotations

import codecs
import os
import site
import sys
from collections.abc import Iterable, Iterator

from mpkernel.confinement.landlock import Access, Ruleset
from mpkernel.wire.confinement import Confinement

__all__ = ["allow_files", "linked_from"]

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/var/cache/fontconfig")
_OF_ETC = (
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "fonts",
    "gai.conf",
    "group",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "pki/ca-trust",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
)
_OF_PROC = (
    "cpuinfo",
    "diskstats",
    "filesystems",
    "loadavg",
    "meminfo",
    "self",
    "stat",
    "sys",
    "uptime",
    "version",
    "vmstat",
)
_OF_SYS = ("devices/system", "fs/cgroup")
_DEVICES = ("full", "null", "random", "urandom", "zero")
_NO_FOLDERS = (b"#", b"import ", b"import\t")
"""How those lines of a `.pth` file begin that name no folder."""

_WRITABLE = Access.READ_FILE | Access.WRITE_FILE | Access.TRUNCATE | Access.IOCTL_DEV


def allow_files(rules: Ruleset, confinement: Confinement) -> None:
    """Keep the rights to files that a confined process may read or change.

    Raises:
        OSError: the kernel refused.
    """
    for path in (*_SYSTEM, *_of_python(), *confinement.read):
        rules.allow_path(path, Access.READ)
    for path in _own_packages():
        rules.allow_path(path, Access.READ)
        rules.allow_path(os.path.dirname(path), Access.READ_DIR)  # to find the package
    for folder, names in (("/etc", _OF_ETC), ("/proc", _OF_PROC), ("/sys", _OF_SYS)):
        for name in names:
            rules.allow_path(f"{folder}/{name}", Access.READ_FILE | Access.READ_DIR)
    # Names alone: `subprocess` looks for the numbers of its own descriptors, and a child's own
    # folder there does not exist yet. Of other processes this shows that they exist, no more.
    rules.allow_path("/proc", Access.READ_DIR)
    for name in _DEVICES:
        rules.allow_path(f"/dev/{name}", _WRITABLE)
    for path in confinement.writable:
        rules.allow_path(path, Access.READ | Access.CHANGE)


def _of_python() -> Iterator[str]:
    """Where this Python and the packages of its environment lie. Other folders of the import path
    are left out: the first is often that of the server's program."""
    yield from dict.fromkeys((sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix))
    yield os.path.dirname(os.path.realpath(sys.executable))
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if _has_user_site() else [])]
    yield from folders
    yield from linked_from(folders)
    yield from filter(os.path.isabs, os.environ.get("PYTHONPATH", "").split(os.pathsep))


def _has_user_site() -> bool:
    return bool(site.ENABLE_USER_SITE)


def linked_from(folders: Iterable[str]) -> Iterator[str]:
    """The folders that `.pth` files add to the import path: packages that are being developed."""
    for folder in folders:
        try:
            names = [name for name in os.listdir(folder) if name.endswith(".pth")]
        except OSError:
            continue
        for name in names:
            try:
                with open(os.path.join(folder, name), "rb") as file:
                    lines = file.read().removeprefix(codecs.BOM_UTF8).splitlines()
            except OSError:  # a broken link, for example: Python passes over it, too
                continue
            for line in map(bytes.rstrip, lines):
                path = os.path.join(folder, os.fsdecode(line))
                if line and not line.startswith(_NO_FOLDERS) and os.path.exists(path):
                    yield os.path.normpath(path)


def _own_packages() -> list[str]:
    """The folders of mpkernel, shm and msgspec, wherever these were imported from."""
    found = (getattr(sys.modules.get(name), "__path__", ()) for name in ("mpkernel", "shm"))
    return [path for paths in found for path in paths]
