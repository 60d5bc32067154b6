"""`mpkernel run PATH… [marimo's options]`: marimo's own server with mpkernel as its backend.

The command line is marimo's: only `--examples` and what sets a setting are ours, `--sandbox` among
them.
"""

from __future__ import annotations

import errno
import gc
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mpkernel.cli.flags import Taken, no_such_option, paths_in, take_settings, unknown_options
from mpkernel.cli.greeting import greet
from mpkernel.cli.listening import check_listening
from mpkernel.cli.log_format import log_as_json, log_from
from mpkernel.cli.paths import check_paths, check_readable
from mpkernel.configuration.sources import Sources, check_given, gather
from mpkernel.errors import ClusterError, MPKernelError
from mpkernel.json_lines import JsonFormatter
from mpkernel.marimo_backend.defaults import DEFAULTS
from mpkernel.marimo_backend.disabling import check_enabled
from mpkernel.marimo_backend.run_options import paths_if_known
from mpkernel.orphans import reap_orphans_if_first
from mpkernel.server.links.server_output import output_of, write_without_waiting
from mpkernel.settings import Settings

__all__ = ["USAGE", "run"]

USAGE = """\
Usage: mpkernel run PATH... [OPTIONS] [-- ARGS...]
       mpkernel run --examples [OPTIONS]

  Serve marimo notebooks (files, folders, or both), each in a process of its own.

  --examples       serve the notebooks that ship with mpkernel
  --standby N      keep N processes warm for the next notebook that starts (default 1; 0: none)
  --sandbox        run each notebook whose header names its packages (PEP 723) in an environment of
                   its own, which uv makes (mpkernel docs sandboxes)
  --cluster-upload send the folders of notebooks to the workers of --cluster, if they do not have
                   them (mpkernel docs cluster)
  --no-control     take no orders from mpkernel restart, drain and stop
  --NAME VALUE     any other setting, as in --memory-hard-bytes 2GiB; `mpkernel settings` shows all
  --settings FILE  read settings from [tool.mpkernel] of this file (default: the pyproject.toml that
                   has one and is nearest, from the folder of the notebooks upward)

examples:
  mpkernel run sales.py                      one notebook
  mpkernel run notebooks --port 2718         a folder, as a gallery
  mpkernel run notebooks --host 0.0.0.0 --headless --token-password-file FILE
                                             for others, with a password
  mpkernel run --examples                    what it can do
"""

_HELP = frozenset({"-h", "--help"})
_EXAMPLES = Path(__file__).parent.parent / "examples"

_MARIMOS_DESCRIPTORS = 4096
"""marimo's own server raises its soft limit on descriptors to this; its notebooks inherit it."""


_LAST_LINES_S = 0.5
"""How long the end of the server waits until its last lines are read."""


def run(arguments: Sequence[str], greeting: Callable[[str, bool], None] | None = None) -> int:
    """Serve until interrupted; give the exit code.

    Args:
        arguments: what follows `mpkernel run`.
        greeting: `greeting(url, is_on_all_addresses)` says where it is served. Default: `greet`
            does.

    Raises:
        UnsupportedMarimo: marimo is missing, or not one that mpkernel supports.
        MPKernelError: the command line asks for something that is not available.
        SettingsError: some setting is unknown or impossible.
        UnfitPython: the setting `python` names nothing that could be executed.
        ClusterError: the setting `cluster` is set, and Dask is not installed.
        HostStartError: the setting `launch_wrapper` names a program that is not there.
    """
    from mpkernel.marimo_backend.versions import check_marimo

    ours, notebook_arguments = _split(list(arguments))
    if not _HELP.isdisjoint(ours):
        print(USAGE, flush=True)
        check_marimo()
        print("All options of `marimo run`:\n")
        return _marimo(["run", "--help"])
    check_marimo()
    # The imports make many objects that stay. A search for garbage among them takes a fifth of the
    # time of the start, and later stops the server for a moment now and then.
    gc.disable()
    try:
        options = _prepared(ours, greeting)
        gc.freeze()
    finally:
        gc.enable()
    if options is None:
        print(f"{USAGE}\nmpkernel: no notebook and no folder is named", file=sys.stderr)
        return 2
    return _marimo(["run", *options, *notebook_arguments])


def _prepared(ours: list[str], greeting: Callable[[str, bool], None] | None) -> list[str] | None:
    """Prepare marimo's server. Returns its options and paths; None if no path is named."""
    if "--examples" in ours:
        ours = [option for option in ours if option != "--examples"] + [str(_EXAMPLES)]
    taken = take_settings(ours)
    ours = taken.others
    # What can be refused without marimo is refused before it is imported, which takes a second.
    check_given(Sources(os.environ, flags=taken.flags))
    check_listening(ours)
    check_enabled(instead="marimo run")
    paths = paths_if_known(ours)
    if paths is not None:
        if not paths:
            return None
        _check_available(taken, paths)
    write_without_waiting()

    from mpkernel.marimo_backend.command_line import greet_with, options_with_value
    from mpkernel.marimo_backend.seam import pass_zmq_checks
    from mpkernel.marimo_backend.url_pattern import compile_url_pattern_late

    compile_url_pattern_late()
    for name, meant in unknown_options(ours):
        if meant:  # marimo itself refuses the others
            raise no_such_option(name, meant)

    from mpkernel.marimo_backend import entrypoint
    from mpkernel.marimo_backend.server.shared_pool import use_sources
    from mpkernel.server.launching.descriptor_limit import raise_limit

    entrypoint.install(instead="marimo run")
    entrypoint.isolate_single_notebooks()
    paths = paths_in(ours, options_with_value())
    if not paths:
        return None
    use_sources(taken.sources(os.environ, paths))
    settings = _check_available(taken, paths)
    if settings.log_format == "json":
        log_as_json()
    if settings.log_level != "warning":
        log_from(settings.log_level, JsonFormatter() if settings.log_format == "json" else None)
    notebooks = _notebooks_in(paths, may_come="--watch" in ours)
    what = f"{_served(paths, notebooks)}, each app in a process of its own"
    greet_with(greeting or (lambda url, network: greet(what, url, network=network)))
    pass_zmq_checks()
    raise_limit(of_apps=_MARIMOS_DESCRIPTORS)
    reap_orphans_if_first()
    return ["--no-sandbox", *ours]


def _check_available(taken: Taken, paths: Sequence[str]) -> Settings:
    """Refuse paths that are missing, and settings that ask for what this machine does not have.
    Returns the settings.

    Raises:
        MPKernelError: a path is missing, or this user cannot reach it.
        SettingsError, SandboxError, ClusterError, UnfitPython, HostStartError: see `run`.
    """
    from mpkernel.sandboxes.uv import find_uv, no_uv
    from mpkernel.server.launching.given_python import given_python
    from mpkernel.server.launching.wrapping import wrapper_of

    settings = gather(taken.sources(os.environ, paths), DEFAULTS).settings
    if settings.sandbox and settings.cluster is None and find_uv() is None:
        raise no_uv("--sandbox is set")
    if settings.cluster is not None and importlib.util.find_spec("distributed") is None:
        raise ClusterError(
            f"the setting cluster is {settings.cluster}, and Dask is not installed",
            remedy="pip install 'mpkernel[dask]'",
        )
    if settings.python is not None and settings.cluster is None:
        given_python(settings.python)
    wrapper = wrapper_of(settings)
    if wrapper and settings.cluster is None and shutil.which(wrapper.command[0]) is None:
        raise wrapper.error("any app", FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
    check_paths(path for path in paths if "://" not in path)
    return settings


def _notebooks_in(paths: Sequence[str], *, may_come: bool) -> int:
    """How many notebooks are served. marimo itself reports errors in the content of a single file.

    Raises:
        MPKernelError: this user cannot read a folder; or there is no notebook, and `may_come` does
            not say that one may come.
    """
    from mpkernel.marimo_backend.command_line import notebooks_in

    if not paths or not all(os.path.isdir(path) for path in paths):
        return len(paths)
    check_readable(paths)
    count = notebooks_in(paths)
    if not count and not may_come:
        raise MPKernelError(
            f"there is no marimo notebook in {', '.join(paths)}",
            remedy="name the folder of your notebooks; `marimo edit NAME.py` writes one, and"
            " `mpkernel run --examples` serves those of mpkernel",
        )
    return count


def _served(paths: Sequence[str], notebooks: int) -> str:
    if len(paths) == 1 and not os.path.isdir(paths[0]):
        return os.path.basename(paths[0])
    return f"{notebooks} notebook{'' if notebooks == 1 else 's'}"


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The options before `--`, and the arguments for the notebooks: `--` and all that follows."""
    if "--" not in arguments:
        return arguments, []
    position = arguments.index("--")
    return arguments[:position], arguments[position:]


def _marimo(arguments: list[str]) -> int:
    from mpkernel.marimo_backend.command_line import command_line, failure_of_url

    try:
        command_line()(arguments, prog_name="mpkernel")
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or os.EX_OK
        raise
    except failure_of_url() as error:
        urls = ", ".join(word for word in arguments if "://" in word)
        why = getattr(error.__cause__, "reason", error)
        raise MPKernelError(
            f"the notebook at {urls} cannot be fetched: {why}",
            remedy="check the address and the network, or download the file and name it",
        ) from error
    finally:
        # Otherwise the interpreter examines all live objects again at its end: that takes a
        # quarter of a second of the ten that `docker stop` waits, and seconds on a busy machine.
        gc.collect()
        gc.freeze()
        _end_output()
    return os.EX_OK


def _end_output() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        output = output_of(stream) if stream is not None else None
        if output is not None:
            output.give_up(_LAST_LINES_S)
