"""Reads the facts about this machine. A fact that cannot be read is unknown: this is no error."""

import locale
import os
import platform
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Final, TypeVar

from .. import __version__
from .._backends.boot import executable
from .._backends.start_method import default_start_method
from .._calls.cpus import MEMBERSHIP, ROOT, cpu_count, group_folders, group_quota
from .._calls.defaults import BACKEND_VARIABLE
from .._transport.environment import THREAD_VARIABLES
from .facts import Facts, Limit, Room

T = TypeVar("T")

PACKAGES: Final = (
    *("cloudpickle", "typing-extensions", "numpy", "scipy", "pandas", "torch"),
    *("joblib", "tqdm", "ipykernel", "threadpoolctl"),
)
# A limit of at least this many bytes counts as no limit: version 1 of cgroups gives a number near
# 2**63 if there is none.
NO_LIMIT: Final = 1 << 60


def examine() -> Facts:
    """Return the facts about this process and this machine, but not those that trials show."""
    temp = known(tempfile.gettempdir)
    return Facts(
        pmap=__version__,
        place=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        namesake=version_of("pmap"),
        python=sys.version.replace("\n", " "),
        executable=executable(),
        has_gil=known(has_gil) is not False,
        system=sys.platform,
        platform=known(platform.platform) or sys.platform,
        container=known(container),
        packages=tuple(
            (name, found) for name in PACKAGES if (found := version_of(name)) is not None
        ),
        cpus=known(cpu_count) or 1,
        cpus_of_machine=os.cpu_count(),
        affinity=known(affinity),
        quota=known(group_quota),
        load=known(lambda: os.getloadavg()[0]),
        memory=known(memory) or Room(),
        group_memory=known(group_memory) or Room(),
        shm=known(shared_memory),
        memfd=known(has_memfd) is True,
        open_files=limit("RLIMIT_NOFILE", lambda: len(os.listdir("/proc/self/fd"))),
        tasks=limit("RLIMIT_NPROC", tasks),
        is_root=known(lambda: os.getuid() == 0) is True,
        group_tasks=known(group_tasks) or Limit(),
        address_space=limit("RLIMIT_AS"),
        file_size=limit("RLIMIT_FSIZE"),
        proc=known(lambda: text("/proc/self/statm")) is not None,
        temp=temp,
        temp_noexec=known(lambda: bool(os.statvfs(temp or "").f_flag & os.ST_NOEXEC)) is True,
        encoding=known(lambda: locale.getpreferredencoding(do_setlocale=False)) or "unknown",
        closed=closed(),
        thread_variables=tuple(
            (name, os.environ[name]) for name in THREAD_VARIABLES if name in os.environ
        ),
        blas=known(blas),
        backend_variable=os.environ.get(BACKEND_VARIABLE),
        default_method=default_start_method(),
    )


def known(read: Callable[[], T]) -> T | None:
    """Return what `read()` returns; if it raises, return None, since the fact is unknown."""
    try:
        return read()
    except Exception:  # reading may fail in any way, for example in a sandbox
        return None


def text(path: str) -> str:
    """Return the text of a file that the kernel makes, such as those in /proc."""
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def version_of(distribution: str) -> str | None:
    """Return the installed version of a distribution; None if it is not installed."""
    return known(lambda: metadata.version(distribution))


def has_gil() -> bool:
    """Return whether this Python has a GIL, a lock that only one thread at a time can hold."""
    asked: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    return asked() if asked is not None else not sysconfig.get_config_var("Py_GIL_DISABLED")


def container() -> str | None:
    """Return the file or variable that shows that this is a container; None if there is none."""
    for path in ("/.dockerenv", "/run/.containerenv"):
        if os.path.exists(path):
            return path
    for name in ("KUBERNETES_SERVICE_HOST", "container"):
        if name in os.environ:
            return f"${name}"
    return None


def affinity() -> int | None:
    """Return how many CPUs the affinity of this process allows; None if that is unknown."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def memory() -> Room:
    """Return how much memory the machine has, and how much of it is free."""
    lines = (line.split() for line in text("/proc/meminfo").splitlines())
    sizes = {line[0]: int(line[1]) << 10 for line in lines if len(line) > 1}
    return Room(sizes.get("MemTotal:"), sizes.get("MemAvailable:"))


def group_memory(membership: str = MEMBERSHIP, root: str = ROOT) -> Room:
    """Return the lowest memory limit, and the least free memory, of the cgroups of this process."""
    totals: list[int] = []
    frees: list[int] = []
    for hierarchy, folder in group_folders("memory", membership, root):
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        most, used = _bounded(folder, *(names if hierarchy else ("memory.max", "memory.current")))
        if most is not None:
            totals.append(most)
            frees.append(max(0, most - (used or 0)))
    return Room(min(totals, default=None), min(frees, default=None))


def group_tasks(membership: str = MEMBERSHIP, root: str = ROOT) -> Limit:
    """Return limit and use of the cgroup that has room for the fewest processes and threads."""
    found = [
        _bounded(folder, "pids.max", "pids.current")
        for _, folder in group_folders("pids", membership, root)
    ]
    bounds = [(most, used or 0) for most, used in found if most is not None]
    if not bounds:
        return Limit()
    most, used = min(bounds, key=lambda bound: bound[0] - bound[1])
    return Limit(most, None, used)


def _bounded(folder: str, most: str, used: str) -> tuple[int | None, int | None]:
    # If there is no limit, the text of the file is "max", which is no number, and `bound` is None.
    bound = known(lambda: int(text(f"{folder}/{most}")))
    if bound is None or bound >= NO_LIMIT:
        return None, None
    return bound, known(lambda: int(text(f"{folder}/{used}")))


def shared_memory() -> Room:
    """Return the size and free space of /dev/shm.

    Raises:
        OSError: /dev/shm does not exist or cannot be written.
    """
    if not os.access("/dev/shm", os.W_OK | os.X_OK):  # noqa: S108 - nothing is written there
        raise OSError
    status = os.statvfs("/dev/shm")  # noqa: S108 - the same
    return Room(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)


def has_memfd() -> bool:
    """Return True if the system call memfd_create works; otherwise pass its exception on."""
    os.close(os.memfd_create("pmap", os.MFD_CLOEXEC))
    return True


def limit(name: str, used: Callable[[], int] | None = None) -> Limit:
    """Return the limit of this process with the name `name` in the module `resource`.

    If the system does not have this limit, all values of the result are None.
    """
    return known(lambda: _limit(name, used)) or Limit()


def _limit(name: str, used: Callable[[], int] | None) -> Limit:
    import resource  # Windows does not have the module `resource`

    number: int = getattr(resource, name)
    soft, hard = (
        None if bound == resource.RLIM_INFINITY else bound for bound in resource.getrlimit(number)
    )
    return Limit(soft, hard, None if used is None else known(used))


def tasks() -> int:
    """Return how many processes and threads this user is running."""
    return sum(_threads_of_own())


def _threads_of_own() -> Iterator[int]:
    user = os.getuid()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                if entry.stat().st_uid == user:
                    # The folder `task` has a folder for each thread, and so a link for each thread,
                    # besides two links of its own.
                    yield os.stat(f"{entry.path}/task").st_nlink - 2
            except OSError:
                pass  # the process has ended since the folder was listed


def closed() -> tuple[str, ...]:
    """Return the names of the standard streams that this program does not have."""
    return tuple(name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None)


def blas() -> str | None:
    """Return name and version of the library with which NumPy multiplies; None if unknown."""
    import numpy as np

    configuration: object = np.show_config(mode="dicts")
    match configuration:
        case {"Build Dependencies": {"blas": {"name": str(name), "version": str(version)}}}:
            return f"{name} {version}"
        case _:
            return None
