"""What the doctor says of machines that are made up."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import pytest

from pmap._doctor.advice import advise, is_ill
from pmap._doctor.facts import Facts, Limit, Room, Trial, Worker
from pmap._doctor.report import report

GIB: Final = 1 << 30
MIB: Final = 1 << 20
WORKING: Final = tuple(Trial(name, "", 0.05, 0.001) for name in ("forkserver", "spawn", "fork"))
BACKENDS: Final = tuple(Trial(name, "", 0.05, 0.001) for name in ("processes", "threads", "serial"))
# A machine on which there is nothing to say.
GOOD: Final = Facts(
    pmap="0.1.0",
    executable="/usr/bin/python3",
    cpus=8,
    cpus_of_machine=8,
    affinity=8,
    load=1.0,
    memory=Room(16 * GIB, 12 * GIB),
    shm=Room(8 * GIB, 8 * GIB),
    open_files=Limit(1024, 4096, 10),
    tasks=Limit(10_000, 10_000, 300),
    temp="/tmp",
    methods=WORKING,
    backends=BACKENDS,
    worker=Worker(4711, 10 * MIB, "1"),
)
BROKEN: Final = Trial("forkserver", "WorkerStartError: no")

# By name: what is made up, whether it is to be changed, and words of what is said, in their order.
CASES: Final[Mapping[str, tuple[Facts, bool, tuple[str, ...]]]] = {
    "the default start method fails": (
        replace(GOOD, methods=(BROKEN, *WORKING[1:])),
        True,
        ("forkserver", "default", "does not work: WorkerStartError: no", 'start_method="spawn"'),
    ),
    "no start method works": (
        replace(GOOD, methods=(BROKEN,)),
        True,
        ("No start method works", 'backend="threads"', 'backend="serial"'),
    ),
    "a start method warns": (
        replace(GOOD, methods=(*WORKING[:2], Trial("fork", "", 1, 1, ("mind the threads",)))),
        False,
        ('start_method="fork" warns: mind the threads',),
    ),
    "all workers at once are too many": (
        replace(GOOD, backends=(Trial("processes", "OSError: EAGAIN"), *BACKENDS[1:])),
        True,
        ('backend="processes" does not work: OSError: EAGAIN', "fewer than processes=8"),
    ),
    "threads do not work": (
        replace(GOOD, backends=(BACKENDS[0], Trial("threads", "RuntimeError: no"), BACKENDS[2])),
        True,
        ('backend="threads" does not work: RuntimeError: no',),
    ),
    "one CPU by its cgroup": (
        replace(GOOD, cpus=1, quota=1.0),
        False,
        ("cgroup", "1 of 8 CPUs", "1 worker.", "--cpus"),
    ),
    "a part of a CPU": (replace(GOOD, cpus=1, quota=0.25), False, ("0.25 of 8 CPUs",)),
    "one CPU": (
        replace(GOOD, cpus=1, affinity=1, cpus_of_machine=1),
        False,
        ("no computation becomes faster", 'backend="threads", processes=16'),
    ),
    "affinity": (replace(GOOD, cpus=2, affinity=2), False, ("affinity", "2 of 8", "taskset")),
    "a busy machine": (replace(GOOD, load=20.0), False, ("20.0 processes", "too long")),
    "little memory": (
        replace(GOOD, memory=Room(GIB, 200 * MIB)),
        True,
        ("200 MiB of memory is free, for 8 workers", "processes=2"),
    ),
    "hardly any memory": (replace(GOOD, memory=Room(GIB, MIB)), True, ("processes=1",)),
    "little memory of the cgroup": (
        replace(GOOD, group_memory=Room(256 * MIB, 200 * MIB)),
        True,
        ("200 MiB of memory is free", "WorkerLost"),
    ),
    "a limit of memory": (
        replace(GOOD, group_memory=Room(4 * GIB, 3 * GIB)),
        False,
        ("limits memory to 4 GiB", "WorkerLost", "max_memory_per_child"),
    ),
    "few addresses": (
        replace(GOOD, address_space=Limit(2 * GIB, None)),
        True,
        ("2 GiB of addresses", "ulimit -v"),
    ),
    "64 MB of shared memory": (
        replace(GOOD, shm=Room(64 * MIB, 64 * MIB)),
        False,
        ("64 MiB of /dev/shm", "pmap puts no values there", "--shm-size"),
    ),
    "no /dev/shm": (replace(GOOD, shm=None), False, ("no /dev/shm", "mount a tmpfs")),
    "no memfd": (replace(GOOD, memfd=False), True, ("memfd_create", "sockets")),
    "small files": (
        replace(GOOD, file_size=Limit(MIB, MIB)),
        True,
        ("larger than 1 MiB", "ulimit -f"),
    ),
    "few open files": (
        replace(GOOD, open_files=Limit(128, 4096, 10)),
        True,
        ("128 open files", "8 workers", "ulimit -n 256"),
    ),
    "few open files, and no more to be had": (
        replace(GOOD, open_files=Limit(64, 64, 10)),
        True,
        ("64 open files", "ulimit -n 64 is the most", "root"),
    ),
    "few processes": (
        replace(GOOD, tasks=Limit(310, 310, 300)),
        True,
        ("10 more processes", "may need 16", "ulimit -u", "processes=2"),
    ),
    "few processes in the cgroup": (
        replace(GOOD, is_root=True, group_tasks=Limit(100, None, 99)),
        True,
        ("1 more processes", "--pids-limit", "processes=1"),
    ),
    "another pmap": (
        replace(GOOD, namesake="1.3.2"),
        True,
        ("1.3.2", "pip uninstall pmap", "--force-reinstall typed-pmap"),
    ),
    "an embedded interpreter": (
        replace(GOOD, executable=""),
        True,
        ("sys.executable is empty", "set_executable"),
    ),
    "no GIL": (replace(GOOD, has_gil=False), False, ("no GIL", 'backend="threads"')),
    "another system": (replace(GOOD, system="darwin", memfd=False), False, ("Linux", "darwin")),
    "no /proc": (replace(GOOD, proc=False), True, ("/proc cannot be read", "mount -t proc")),
    "nowhere for temporary files": (replace(GOOD, temp=None), False, ("TMPDIR",)),
    "temporary files that may not be run": (
        replace(GOOD, temp_noexec=True),
        False,
        ("/tmp (noexec)", "TMPDIR"),
    ),
    "another encoding": (
        replace(GOOD, encoding="ANSI_X3.4-1968"),
        True,
        ("ANSI_X3.4-1968", "PYTHONUTF8=1", "C.UTF-8"),
    ),
    "a backend of the environment": (
        replace(GOOD, backend_variable="serial"),
        False,
        ("PMAP_BACKEND=serial", "Unset it"),
    ),
    "closed streams": (
        replace(GOOD, closed=("stdin", "stderr")),
        False,
        ("started without stdin and stderr",),
    ),
    "threads of libraries": (
        replace(GOOD, thread_variables=(("OMP_NUM_THREADS", "8"), ("MKL_NUM_THREADS", "1"))),
        True,
        ("OMP_NUM_THREADS=8", "64 threads on 8 CPUs", "threads_per_worker=1"),
    ),
}


def in_order(words: tuple[str, ...], text: str) -> bool:
    at = 0
    for word in words:
        at = text.find(word, at)
        if at < 0:
            return False
        at += len(word)
    return True


@pytest.mark.parametrize("case", CASES)
def test_advice(case: str) -> None:
    facts, change, words = CASES[case]
    told = advise(facts)
    assert [one.change for one in told if in_order(words, one.text)] == [change], told


@pytest.mark.parametrize("case", CASES)
def test_advice_is_about_what_is_made_up_and_nothing_else(case: str) -> None:
    facts, _, _ = CASES[case]
    # A CPU is few for two reasons, and no start method is bad for more than one.
    assert len(advise(facts)) <= 2


def test_of_a_good_machine_there_is_nothing_to_say() -> None:
    assert advise(GOOD) == []
    assert list(report(GOOD, []))[-2:] == ["What to change", "  nothing"]
    assert not is_ill(GOOD)


def test_root_is_not_bound_by_the_limit_of_processes() -> None:
    assert advise(replace(GOOD, tasks=Limit(10, 10, 300), is_root=True)) == []


def test_nothing_is_said_of_what_is_unknown() -> None:
    unknown = Facts(executable="python", cpus=4, shm=Room(), temp="/tmp")
    assert advise(unknown) == []
    assert "unknown" in "\n".join(report(unknown, []))


@pytest.mark.parametrize("value", ["1", "", "many", "1,8", "-2"])
def test_a_thread_variable_that_asks_for_no_more_than_one_is_fine(value: str) -> None:
    assert advise(replace(GOOD, thread_variables=(("OMP_NUM_THREADS", value),))) == []


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "utf8", "utf_8"])
def test_utf_8_has_several_names(encoding: str) -> None:
    assert advise(replace(GOOD, encoding=encoding)) == []


def test_what_does_not_work_is_an_illness() -> None:
    assert is_ill(replace(GOOD, methods=(BROKEN, *WORKING[1:])))
    assert is_ill(replace(GOOD, backends=(*BACKENDS[:2], Trial("serial", "no"))))
    assert not is_ill(replace(GOOD, encoding="ascii"))


def test_what_to_change_comes_first() -> None:
    told = advise(replace(GOOD, load=20.0, encoding="ascii", shm=None, memfd=False))
    assert [one.change for one in told] == [True, True, False, False]
