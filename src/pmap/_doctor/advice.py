"""Makes advice from facts about a machine: what to change, and what is good to know.

This module only makes texts. It neither reads facts nor prints.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from .facts import Facts, Limit
from .units import cpus_text, size_text

# File descriptors that the caller needs for each worker. On Linux it needs five with the start
# methods "forkserver" and "spawn", as was counted there, and five more for large values that are
# being sent.
FILES_PER_WORKER: Final = 10
FILES: Final = 64  # how many file descriptors the program itself needs
# A call needs this many processes and threads besides its workers: other processes of the pool, and
# threads of the caller.
TASKS: Final = 8
# If /dev/shm has fewer bytes than this, the doctor says so. By default Docker gives a container 64
# MiB.
LITTLE_SHM: Final = 1 << 27
# Bytes of memory that a worker needs for its items, besides the memory of an idle worker.
WORKER_MEMORY: Final = 1 << 26
# The load is the number of processes that want to run, for each CPU. If it is at least this, other
# programs slow pmap down.
FULL: Final = 1.25


class Advice(NamedTuple):
    """One piece of advice."""

    change: bool  # whether the user should change something; otherwise it is mere information
    text: str


Rule: TypeAlias = Callable[[Facts], Iterator[Advice]]


def advise(facts: Facts) -> list[Advice]:
    """Return all advice for a machine; advice to change something comes first.

    >>> from pmap._doctor.facts import Facts, Room
    >>> facts = Facts(executable="python", cpus=4, shm=Room(), temp="/tmp", encoding="latin-1")
    >>> [advice.change for advice in advise(facts)]
    [True]
    """
    found = [advice for rule in RULES for advice in rule(facts)]
    return sorted(found, key=lambda advice: not advice.change)


def is_ill(facts: Facts) -> bool:
    """Return whether the trials show that a start method or a backend does not work."""
    return not all(trial.works for trial in (*facts.methods, *facts.backends))


def workers(facts: Facts) -> str:
    """Return in words how many workers a pool has here by default."""
    return f"{facts.cpus} worker{'s' * (facts.cpus > 1)}"


def _change(text: str) -> Advice:
    return Advice(True, text)


def _note(text: str) -> Advice:
    return Advice(False, text)


# --- advice about start methods and backends -----------------------------------------------------


def _start_methods(facts: Facts) -> Iterator[Advice]:
    working = [trial.name for trial in facts.methods if trial.works]
    for trial in facts.methods:
        name = f'start_method="{trial.name}"'
        if trial.name == facts.default_method:
            name += ", the default here,"
        if not trial.works:
            yield _change(f"{name} does not work: {trial.error}{_instead(working)}")
        for warning in trial.warnings:
            yield _note(f"{name} warns: {warning}")


def _instead(working: list[str]) -> str:
    if working:
        return f'. Give start_method="{working[0]}", which works'
    return '. No start method works: give backend="threads", or backend="serial"'


def _backends(facts: Facts) -> Iterator[Advice]:
    some_method_works = any(trial.works for trial in facts.methods)
    for trial in facts.backends:
        if trial.works:
            continue
        hint = ""
        if trial.name == "processes" and some_method_works:
            hint = f". With one worker it works: give fewer than processes={facts.cpus}"
        yield _change(f'backend="{trial.name}" does not work: {trial.error}{hint}')


# --- advice about CPUs and memory ----------------------------------------------------------------


def _cpus(facts: Facts) -> Iterator[Advice]:
    usable = facts.affinity or facts.cpus_of_machine
    if facts.quota is not None and usable is not None and facts.quota < usable:
        yield _note(
            f"A cgroup limits this process to {cpus_text(facts.quota)} of {usable} CPUs, so pmap "
            f"starts {workers(facts)}. To use more, raise the limit of "
            "the container (docker run --cpus, a CPU limit of Kubernetes)"
        )
    elif facts.affinity is not None and facts.affinity < (facts.cpus_of_machine or 0):
        yield _note(
            f"The CPU affinity allows {facts.affinity} of {facts.cpus_of_machine} CPUs, and pmap "
            "uses no others. taskset, a batch system or a container has set it"
        )
    if facts.cpus == 1:
        yield _note(
            "With one CPU no computation becomes faster, on any backend. What waits (network, "
            'files, other programs) does: give backend="threads", processes=16'
        )
    if facts.load is not None and facts.load > FULL * facts.cpus and facts.quota is None:
        yield _note(
            f"Other programs are busy: {facts.load:.1f} processes wanted to run in the last "
            f"minute, and there are CPUs for {facts.cpus}. Times that you measure now are too long"
        )


def _memory(facts: Facts) -> Iterator[Advice]:
    each = (facts.worker.memory if facts.worker else None) or 0
    if facts.room is not None and facts.room < facts.cpus * (each + WORKER_MEMORY):
        fitting = max(1, facts.room // (each + WORKER_MEMORY))
        yield _change(
            f"{size_text(facts.room)} of memory is free, for {workers(facts)}: the "
            "kernel kills processes when it is used up, which costs their items a WorkerLost. "
            f"Give processes={fitting}, or make room"
        )
    elif facts.group_memory.total is not None:
        yield _note(
            f"A cgroup limits memory to {size_text(facts.group_memory.total)}, for this program "
            "and all workers together. At the limit the kernel kills a worker, which costs its "
            "item a WorkerLost; max_memory_per_child replaces a worker before that"
        )
    if facts.address_space.soft is not None:
        yield _change(
            f"A process may have {size_text(facts.address_space.soft)} of addresses, which items "
            "and large values can use up: ulimit -v unlimited"
        )


def _shared_memory(facts: Facts) -> Iterator[Advice]:
    if not facts.is_linux:
        return
    if not facts.memfd:
        yield _change(
            "There is no memfd_create, so large values go through sockets, which is slower. The "
            "kernel, its sandbox, or the build of this Python does without: use another Python"
        )
    elif facts.file_size.soft is not None:
        yield _change(
            f"No file may be larger than {size_text(facts.file_size.soft)}, which holds for shared "
            "memory, too: larger values go through sockets, which is slower. ulimit -f unlimited"
        )
    if facts.shm is None:
        yield _note(
            "There is no /dev/shm that can be written. pmap does without; locks, queues and "
            "SharedMemory of multiprocessing do not: mount a tmpfs there"
        )
    elif facts.shm.total is not None and facts.shm.total < LITTLE_SHM:
        yield _note(
            f"There is {size_text(facts.shm.total)} of /dev/shm. pmap puts no values there; "
            "SharedMemory of multiprocessing, joblib and torch do, and crash when it is full: "
            "docker run --shm-size=1g, or --ipc=host"
        )


# --- advice about limits of the system -----------------------------------------------------------


def _open_files(facts: Facts) -> Iterator[Advice]:
    soft, needed = facts.open_files.soft, FILES + FILES_PER_WORKER * facts.cpus
    if soft is not None and soft - (facts.open_files.used or 0) < needed:
        yield _change(
            f"A process may have {soft} open files, and {workers(facts)} may take {needed}: "
            f"{_raise_files(facts.open_files, needed)}"
        )


def _raise_files(limit: Limit, needed: int) -> str:
    wanted = 1 << (needed + (limit.used or 0)).bit_length()
    if limit.hard is not None and limit.hard < wanted:
        return f"ulimit -n {limit.hard} is the most that you may set; root may raise that"
    return f"ulimit -n {wanted}"


def _processes(facts: Facts) -> Iterator[Advice]:
    needed = facts.cpus + TASKS
    for limit, how in (
        (facts.tasks, "ulimit -u"),
        (facts.group_tasks, "pids.max of the cgroup (docker run --pids-limit)"),
    ):
        if limit.soft is None or (limit is facts.tasks and facts.is_root):
            continue
        left = max(0, limit.soft - (limit.used or 0))
        if left < needed:
            yield _change(
                f"{left} more processes and threads may be started, and a pool with "
                f"{workers(facts)} may need {needed}. Raise {how}, end "
                f"some, or give processes={max(1, left - TASKS)}"
            )


# --- advice about the surroundings ---------------------------------------------------------------


def _installation(facts: Facts) -> Iterator[Advice]:
    if facts.namesake is not None:
        yield _change(
            f"Another distribution called pmap, {facts.namesake}, is installed, with files of the "
            "same names: pip uninstall pmap; pip install --force-reinstall typed-pmap"
        )
    if not facts.executable:
        yield _change(
            "sys.executable is empty, so no worker can be started: say with "
            "multiprocessing.set_executable(path) which Python to start"
        )
    if not facts.has_gil:
        yield _note(
            'This Python has no GIL: backend="threads" computes in parallel, and nothing is copied'
        )
    if not facts.is_linux:
        yield _note(f"pmap is tested on Linux; nobody has verified it on {facts.system} yet")


def _variables(facts: Facts) -> Iterator[Advice]:
    if facts.backend_variable:
        yield _note(
            f"PMAP_BACKEND={facts.backend_variable} is set: calls that set no backend themselves "
            "run there. Unset it for worker processes"
        )


def _surroundings(facts: Facts) -> Iterator[Advice]:
    if facts.is_linux and not facts.proc:
        yield _change(
            "/proc cannot be read: limits of memory (max_memory_per_child) and quotas of CPUs are "
            "not seen, and a busy worker may outlive its caller. mount -t proc proc /proc"
        )
    if facts.temp is None:
        yield _note(
            "No directory for temporary files can be written. pmap does without; managers and "
            "listeners of multiprocessing do not: set TMPDIR"
        )
    elif facts.temp_noexec:
        yield _note(
            f"No program may be run from {facts.temp} (noexec). pmap runs none there; frozen "
            "programs that unpack themselves, and compilers, do: set TMPDIR for them"
        )
    if facts.encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        yield _change(
            f"Text files are read as {facts.encoding} where no encoding is given, here and in "
            "workers: PYTHONUTF8=1, or a locale such as LANG=C.UTF-8"
        )
    if facts.closed:
        yield _note(
            f"This program was started without {' and '.join(facts.closed)}. What items print "
            "or read there is lost, or an error"
        )


def _threads(facts: Facts) -> Iterator[Advice]:
    for name, value in facts.thread_variables:
        first = value.split(",")[0].strip()
        number = int(first) if first.isdecimal() else 0
        if number > 1 and facts.cpus > 1:
            yield _change(
                f"{name}={value} is set, and holds in each of {workers(facts)}: "
                f"{number * facts.cpus} threads on {facts.cpus} CPUs. Unset it, and each worker "
                "gets its share of the CPUs; or give threads_per_worker=1"
            )


RULES: Final[tuple[Rule, ...]] = (
    _start_methods,
    _backends,
    _installation,
    _cpus,
    _memory,
    _open_files,
    _processes,
    _shared_memory,
    _threads,
    _variables,
    _surroundings,
)
