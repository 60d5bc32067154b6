"""What the doctor concludes from facts: the line for each, and the remedy that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from mpkernel.confinement.confining import missing
from mpkernel.doctor.abilities import Abilities, Wanted, wanted_by
from mpkernel.doctor.cgroups import CgroupLimits, cgroup_limits
from mpkernel.doctor.checks import lines_of, trial_line
from mpkernel.doctor.facts import Facts, Limits, Place, Proc, Software
from mpkernel.doctor.gathering import gather, wanted_on_cluster
from mpkernel.doctor.lines import Line, fail, ok, warn, worst
from mpkernel.doctor.trial import Trial
from mpkernel.settings import Settings

MIB = 1024 * 1024
GIB = 1024 * MIB

HEALTHY = Facts(
    software=Software(
        python=(3, 12, 1),
        implementation="CPython",
        platform="linux",
        start_methods=["fork", "spawn"],
        versions={
            "mpkernel": "0.1.0",
            "msgspec": "0.20",
            "psutil": "7.0",
            "uvloop": "0.22",
            "marimo": "0.25.2",
            "pyzmq": None,
        },
        interpreter="/usr/bin/python3.12",
    ),
    shared_memory=Place(path="/dev/shm", size_bytes=8 * GIB, free_bytes=8 * GIB),
    temporary=Place(path="/tmp", size_bytes=99 * GIB, free_bytes=50 * GIB),
    limits=Limits(
        descriptors=65536,
        processes=4000,
        processes_now=200,
        address_space_bytes=None,
        file_bytes=None,
    ),
    proc=Proc(processes=300),
    cgroup=CgroupLimits(),
    abilities=Abilities(lacking=missing(0)),
    memory_available_bytes=16 * GIB,
    socket_bytes=256 * 1024,
    pipe_bytes=64 * 1024,
)


def line(name: str, **changes: Any) -> Line:
    """One line of a healthy host with these differences."""
    found = lines_of(msgspec.structs.replace(HEALTHY, **changes))
    (its_line,) = [line for line in found if line.name == name]
    return its_line


def software(**changes: Any) -> Software:
    return msgspec.structs.replace(HEALTHY.software, **changes)


@pytest.mark.parametrize(
    ("address", "level"),
    [
        ("tcp://scheduler:8786", "WARN"),
        ("tcp://10.0.0.7:8786", "WARN"),
        ("tcp://127.0.0.1:8786", "OK"),
        ("tcp://[::1]:8786", "OK"),
        ("tcp://localhost:8786", "OK"),
        ("tls://scheduler:8786", "OK"),
        ("local:4", "OK"),
    ],
)
def test_a_cluster_of_the_settings_that_is_not_encrypted_is_a_warning(
    address: str, level: str
) -> None:
    said = line("encryption", software=software(clusters=(address,)))
    assert said.level == level
    assert address in said.says


def limits(**changes: Any) -> Limits:
    return msgspec.structs.replace(HEALTHY.limits, **changes)


def test_all_is_well_on_a_healthy_host() -> None:
    lines = lines_of(HEALTHY)
    assert {line.level for line in lines} == {"OK"}
    assert not any(line.remedy for line in lines)
    assert len({line.name for line in lines}) == len(lines)


@pytest.mark.parametrize(
    ("landlock", "confine", "level"),
    [
        (0, "off", "OK"),
        (0, "files", "FAIL"),
        (3, "files", "WARN"),
        (3, "strict", "FAIL"),
        (6, "strict", "OK"),
    ],
)
def test_what_the_kernel_cannot_forbid_matters_to_who_wants_it(
    landlock: int, confine: Literal["off", "files", "strict"], level: str
) -> None:
    has = Abilities(landlock=landlock, lacking=missing(landlock))
    found = line("confinement", abilities=has, wanted=Wanted(confine=confine))
    assert found.level == level


@pytest.mark.parametrize(("own_memory", "says"), [(True, "have a /dev/shm"), (False, "have no /d")])
def test_it_is_said_whether_a_confined_app_has_shared_memory(own_memory: bool, says: str) -> None:
    has = Abilities(landlock=6, lacking=missing(6), own_memory=own_memory)
    assert says in line("confinement", abilities=has).says


def test_the_facts_of_this_host_make_the_same_lines() -> None:
    names = [line.name for line in lines_of(HEALTHY)]
    assert [line.name for line in lines_of(gather())] == names


FULL = Place(path="/dev/shm", size_bytes=8 * GIB, free_bytes=MIB)
NOWHERE = Place(path="/dev/shm", error="No such file or directory")
FULL_TMP = Place(path="/tmp", size_bytes=GIB, free_bytes=MIB)
NO_TMP = Place(path="/tmp", error="Read-only file system")
GROUP = CgroupLimits(memory_bytes=2 * GIB, memory_used_bytes=GIB)


@pytest.mark.parametrize(
    ("name", "changes", "level", "says"),
    [
        ("python", {"software": software(python=(3, 10, 0))}, "FAIL", "CPython 3.10.0"),
        ("python", {"software": software(python=(3, 16, 0))}, "WARN", "3.16.0"),
        ("python", {"software": software(python=(3, 15, 0))}, "OK", "CPython 3.15.0"),
        ("python", {"software": software(implementation="PyPy")}, "WARN", "PyPy"),
        (
            "python",
            {"software": software(implementation="free-threaded CPython")},
            "WARN",
            "free-threaded CPython",
        ),
        ("python", {"software": software(platform="darwin")}, "WARN", "darwin"),
        ("python", {"software": software(platform="win32")}, "FAIL", "win32"),
        ("start method", {"software": software(start_methods=["fork"])}, "FAIL", "only fork"),
        ("settings", {"software": software(settings_error="x is 0")}, "FAIL", "x is 0"),
        ("shared memory", {"shared_memory": NOWHERE}, "WARN", "No such file or directory"),
        ("shared memory", {"shared_memory": FULL}, "WARN", "of 8 GiB, 1 MiB of it free"),
        ("shared memory", {"memory_available_bytes": MIB}, "WARN", "1 MiB of it free (it shows 8"),
        ("shared memory", {"cgroup": GROUP}, "OK", "1 GiB of it free (it shows 8 GiB"),
        ("temporary files", {"temporary": NO_TMP}, "WARN", "Read-only file system"),
        (
            "temporary files",
            {"temporary": NO_TMP, "shared_memory": NOWHERE},
            "FAIL",
            "and shared memory is missing",
        ),
        ("temporary files", {"temporary": FULL_TMP}, "WARN", "1 MiB free"),
        ("descriptors", {"limits": limits(descriptors=None)}, "OK", "no limit"),
        ("descriptors", {"limits": limits(descriptors=256)}, "WARN", "about 32 apps"),
        ("descriptors", {"limits": limits(descriptors=30)}, "FAIL", "about 0 apps"),
        ("processes", {"limits": limits(processes=None)}, "OK", "no limit"),
        ("processes", {"limits": limits(processes=230)}, "WARN", "30 more"),
        ("processes", {"limits": limits(processes=100)}, "FAIL", "0 more"),
        (
            "processes",
            {"cgroup": CgroupLimits(processes=64, processes_now=60)},
            "WARN",
            "4 more processes and threads until the control group's limit",
        ),
        ("sizes", {"limits": limits(address_space_bytes=GIB)}, "WARN", "1 GiB of addresses"),
        ("sizes", {"limits": limits(address_space_bytes=64 * GIB)}, "OK", "no limit"),
        ("sizes", {"limits": limits(file_bytes=MIB)}, "WARN", "a file may have 1 MiB"),
        ("pidfd", {"pidfd_error": "Operation not permitted"}, "WARN", "Operation not permitted"),
        ("pipes", {"socket_bytes": 208 * 1024}, "WARN", "Pipes hold 208 KiB"),
        ("pipes", {"pipe_bytes": 4096}, "WARN", "pipes of consoles 4 KiB"),
        ("pipes", {"socket_bytes": None}, "FAIL", "none can be made"),
        ("/proc", {"proc": Proc(error="nothing is mounted there")}, "WARN", "not watched"),
        ("/proc", {"proc": Proc(hidepid="invisible", processes=3)}, "OK", "hidepid=invisible"),
        ("memory limit", {"cgroup": GROUP}, "OK", "2 GiB by the control group, 1 GiB left"),
        (
            "memory limit",
            {"cgroup": CgroupLimits(memory_bytes=GIB, memory_used_bytes=GIB - MIB)},
            "WARN",
            "1 MiB left",
        ),
        (
            "memory limit",
            {"cgroup": CgroupLimits(memory_bytes=GIB, memory_used_bytes=0, dies_whole=True)},
            "WARN",
            "the server too",
        ),
        ("uvloop", {"software": software(uvloop_error="No module")}, "OK", "which is fine"),
        ("marimo", {"software": software(marimo_error="0.22 is")}, "FAIL", "0.22 is"),
        ("state", {"state_error": "it is full"}, "WARN", "sessions end with their server"),
        ("leftovers", {"leftovers": ["mpk-1"], "leftover_bytes": MIB}, "WARN", "1 blocks"),
        ("leftovers", {"leftovers": ["mpk-1"], "are_swept": True}, "OK", "removed 1"),
    ],
)
def test_a_fact_makes_its_line(name: str, changes: dict[str, Any], level: str, says: str) -> None:
    found = line(name, **changes)
    assert found.level == level, found
    assert says in found.says
    assert bool(found.remedy) == (level != "OK")


def test_a_trial_that_failed_is_a_failure() -> None:
    assert trial_line(Trial(0.1, "uvloop")).says.endswith("after 100 ms (uvloop)")
    assert trial_line(Trial(0.1, error="no memory")).level == "FAIL"


def test_the_worst_line_is_the_verdict() -> None:
    fine, poor, bad = ok("a", ""), warn("b", "", ""), fail("c", "", "")
    assert worst([fine, fine]) == "OK"
    assert worst([fine, poor, fine]) == "WARN"
    assert worst([bad, poor]) == "FAIL"


def limits_of(root: Path, files: dict[str, str]) -> CgroupLimits:
    """The limits on a machine that has these files."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return cgroup_limits(str(root))


def test_of_control_groups_version_2_the_least_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    found = limits_of(
        tmp_path,
        {
            "proc/self/cgroup": "0::/system.slice/mpkernel.service\n",
            "proc/self/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n",
            "sys/fs/cgroup/system.slice/memory.max": "2147483648\n",
            "sys/fs/cgroup/system.slice/memory.current": "1073741824\n",
            "sys/fs/cgroup/system.slice/mpkernel.service/memory.max": "max\n",
            "sys/fs/cgroup/system.slice/mpkernel.service/memory.oom.group": "1\n",
            "sys/fs/cgroup/system.slice/mpkernel.service/pids.max": "512\n",
            "sys/fs/cgroup/system.slice/mpkernel.service/pids.current": "7\n",
        },
    )
    assert found == CgroupLimits(
        memory_bytes=2 * GIB,
        memory_used_bytes=GIB,
        processes=512,
        processes_now=7,
        dies_whole=True,
    )


def test_of_version_1_a_container_sees_its_own_group_at_the_root(tmp_path: Path) -> None:
    found = limits_of(
        tmp_path,
        {
            "proc/self/cgroup": "5:pids:/docker/1234\n4:memory:/docker/1234\n0::/\n",
            "proc/self/mounts": "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
            "cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n"
            "proc /proc proc rw 0 0\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1048576\n",
            "sys/fs/cgroup/pids/pids.max": "max\n",
        },
    )
    assert found == CgroupLimits(memory_bytes=512 * MIB, memory_used_bytes=MIB)


def test_the_largest_number_of_version_1_is_no_limit(tmp_path: Path) -> None:
    found = limits_of(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/\n",
            "proc/self/mounts": "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert found == CgroupLimits()


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert limits_of(tmp_path, {}) == CgroupLimits()


def test_without_a_python_to_launch_no_app_starts() -> None:
    assert line("interpreter") == ok("interpreter", "apps run with /usr/bin/python3.12")
    found = line("interpreter", software=software(interpreter_error="sys.executable was None"))
    assert (found.level, found.says) == ("FAIL", "sys.executable was None")


def test_uv_is_looked_for_where_environments_are_wanted() -> None:
    wanted, lacking = Wanted(sandbox=True), missing(0)
    found = Abilities(uv="/usr/bin/uv", uv_version="0.9.1", lacking=lacking)
    assert line("uv", abilities=found, wanted=wanted) == ok(
        "uv", "0.9.1 makes environments for --sandbox (/usr/bin/uv)"
    )
    assert line("uv").level == "OK"
    assert line("uv", wanted=wanted).level == "FAIL"
    assert line("uv", abilities=Abilities(uv="/usr/bin/uv", lacking=lacking)).level == "WARN"


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ([], Wanted()),
        ([Settings(), Settings(sandbox=True)], Wanted(sandbox=True)),
        ([Settings(confine="strict"), Settings(confine="files")], Wanted(confine="strict")),
        ([Settings(), Settings(confine="files")], Wanted(confine="files")),
    ],
)
def test_what_one_app_wants_is_wanted(settings: list[Settings], wanted: Wanted) -> None:
    assert wanted_by(settings) == wanted


OF_SETTINGS = """
[tool.mpkernel]
sandbox = true

[[tool.mpkernel.apps]]
path = "training/**"
cluster = "tls://scheduler:8786"
sandbox = false
confine = "files"

[[tool.mpkernel.apps]]
path = "public/**"
confine = "strict"
"""


def test_what_apps_want_on_a_cluster_is_not_wanted_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(OF_SETTINGS)
    monkeypatch.chdir(tmp_path)
    assert wanted_on_cluster("tls://scheduler:8786") == Wanted(confine="files")
    everywhere = Wanted(sandbox=True, confine="strict")
    assert wanted_on_cluster("tls://other:8786") == everywhere  # as with --cluster
    assert gather().wanted == everywhere
    monkeypatch.setenv("MPKERNEL_CLUSTER", "tls://other:8786")
    assert wanted_on_cluster("tls://scheduler:8786") == Wanted(confine="files")
    assert gather().wanted == Wanted()
