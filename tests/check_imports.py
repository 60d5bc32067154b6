"""The rules between the packages, read from the source: who may import whom, and no circles.

Imports that are for types alone, or made in a function, count as well. Run as a program it prints
each breach and fails; `test_import_rules.py` runs it as a test.
"""

from __future__ import annotations

import ast
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("mpkernel", "shm")
_NOTEBOOKS = ("examples", "dashboard/notebook")
SERVER_ROOMS = {
    "pool": 0,
    "journal": 0,  # the name that version 0.1 had for sessions.journal
    "operations": 1,
    "apps": 2,
    "hosts": 3,
    "launching": 4,
    "sessions": 4,
    "supervision": 5,
    "store": 5,
    "workers": 5,
    "links": 6,
}
"""How far down each room of the server stands: it uses only those below it."""


def breaches(root: Path = ROOT) -> list[str]:
    """Every import that breaks a rule, as "file:line importer imports imported: rule"; and every
    circle, by its shortest way."""
    found = []
    modules = dict(_modules(root))
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for importer, path in modules.items():
        for line, imported in _imports(path, importer):
            rule = _broken_rule(importer, imported)
            if rule:
                place = f"{path.relative_to(root)}:{line}"
                found.append(f"{place} {importer} imports {imported}: {rule}")
            module = imported if imported in modules else imported.rpartition(".")[0]
            if module in modules and module != importer:
                graph[importer].add(module)
    return found + [f"{' imports '.join(circle)}: no circles" for circle in circles(graph)]


def circles(graph: Mapping[str, Set[str]]) -> list[list[str]]:
    """The shortest way from each module back to itself, each circle once."""
    found = {}
    for start in sorted(graph):
        ways = deque([[start]])
        seen = set()
        while ways:
            way = ways.popleft()
            if start in graph[way[-1]]:
                found.setdefault(frozenset(way), [*way, start])
                break
            for following in sorted(graph[way[-1]] - seen):
                seen.add(following)
                ways.append([*way, following])
    return list(found.values())


def _modules(root: Path) -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            if not any(path.is_relative_to(root / "mpkernel" / one) for one in _NOTEBOOKS):
                name = ".".join(path.relative_to(root).with_suffix("").parts)
                yield name.removesuffix(".__init__"), path


def _imports(path: Path, importer: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            assert node.module is not None
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _broken_rule(importer: str, imported: str) -> str | None:
    def is_in(name: str, *packages: str) -> bool:
        return any(name == package or name.startswith(f"{package}.") for package in packages)

    ours = is_in(imported, *PACKAGES)
    if is_in(importer, "shm") and is_in(imported, "mpkernel"):
        return "shm imports nothing of mpkernel"
    for_wire = is_in(imported, "mpkernel.wire", "mpkernel.errors", "mpkernel.plain_text")
    if is_in(importer, "mpkernel.wire") and ours and not for_wire:
        return "wire imports only itself, errors and plain_text"
    if is_in(importer, "mpkernel.server") and is_in(imported, "mpkernel.host"):
        return "server and host never import each other"
    if is_in(importer, "mpkernel.host") and is_in(imported, "mpkernel.server"):
        return "server and host never import each other"
    if is_in(importer, "mpkernel.server") and is_in(imported, "mpkernel.server"):
        rule = _broken_rule_of_server(importer, imported)
        if rule:
            return rule
    marimos = ("mpkernel.marimo_backend.server", "mpkernel.marimo_backend.host")
    for half, other in (marimos, marimos[::-1]):
        if is_in(importer, half) and is_in(imported, other):
            return "the two halves of marimo_backend never import each other"
    if is_in(importer, marimos[0]) and is_in(imported, "mpkernel.host"):
        return "marimo_backend.server never imports host"
    users = ("mpkernel.kernel", "mpkernel.marimo_backend", "mpkernel.server", "mpkernel.host")
    if is_in(importer, "mpkernel.interrupts") and is_in(imported, *users):
        return "interrupts knows nobody who uses it"
    private = tuple(f"mpkernel.kernel.{room}" for room in ("code", "process", "shown"))
    if is_in(imported, *private) and not is_in(importer, "mpkernel.kernel"):
        return "code, process and shown are the kernel's own"
    for_sandboxes = is_in(
        imported, "mpkernel.sandboxes", "mpkernel.errors", "mpkernel.private_files"
    )
    if is_in(importer, "mpkernel.sandboxes") and ours and not for_sandboxes:
        return "sandboxes imports only itself, errors and private_files"
    if is_in(importer, "mpkernel.sandboxes") and is_in(imported, "asyncio"):
        return "sandboxes blocks, and needs no event loop"
    if is_in(importer, "mpkernel.host") and is_in(imported, "asyncio", "psutil", "uvloop"):
        return "a host pays for neither asyncio, psutil nor uvloop"
    backend = is_in(importer, "mpkernel.marimo_backend")
    if is_in(imported, "marimo") and not backend:
        return "only marimo_backend imports marimo"
    if is_in(imported, "dask", "distributed") and not is_in(importer, "mpkernel.dask_backend"):
        return "only dask_backend imports dask"
    if is_in(imported, "starlette", "uvicorn") and not backend:
        return "only marimo_backend imports what comes with marimo"
    if is_in(imported, "mpkernel.cli") and not is_in(importer, "mpkernel.cli", "mpkernel.__main__"):
        return "nothing imports cli"
    if is_in(imported, "zmq"):
        return "nothing imports zmq"
    return None


def _broken_rule_of_server(importer: str, imported: str) -> str | None:
    rooms = [name.split(".")[2] for name in (importer, imported) if name.count(".") >= 2]
    if len(rooms) < 2 or rooms[0] == rooms[1]:
        return None
    unknown = [room for room in rooms if room not in SERVER_ROOMS]
    if unknown:
        return f"server.{unknown[0]} has no place in SERVER_ROOMS"
    if SERVER_ROOMS[rooms[0]] >= SERVER_ROOMS[rooms[1]]:
        return "a room of the server uses only those below it"
    return None


if __name__ == "__main__":
    broken = breaches()
    print("\n".join(broken) or "import rules hold")
    sys.exit(bool(broken))
