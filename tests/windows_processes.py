"""The processes of this run on Windows: all that is in the job object of the process that runs it.

A process that is started below this one is in its job, whoever its parent is by now, unless it
leaves the job, which this one does not allow. So this is what the mark in the environment is where
there is a /proc.
"""

import os
from contextlib import suppress
from typing import Any

_BASIC_PROCESS_ID_LIST = 3  # JobObjectBasicProcessIdList
_MOST = 4096
_FEW = 400  # processes that there may be at a time, in case a program starts some without end
_EXTENDED_LIMIT_INFORMATION = 9  # JobObjectExtendedLimitInformation
_LIMIT_ACTIVE_PROCESS = 8
_jobs: list[int] = []


def _kernel() -> Any:
    import ctypes

    handle = ctypes.c_void_p
    kernel: Any = getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009  # only Windows has it
    kernel.CreateJobObjectW.restype = handle
    kernel.GetCurrentProcess.restype = handle
    kernel.AssignProcessToJobObject.argtypes = [handle, handle]
    kernel.SetInformationJobObject.argtypes = [handle, ctypes.c_int, handle, ctypes.c_uint32]
    kernel.QueryInformationJobObject.argtypes = [
        *(handle, ctypes.c_int, handle, ctypes.c_uint32, handle)
    ]
    return kernel


def enter_job() -> None:
    """Put this process, and all that it will start, into a job of its own, with few processes."""
    import ctypes

    class Limits(ctypes.Structure):
        """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

        _fields_ = (
            ("times", ctypes.c_int64 * 2),
            ("flags", ctypes.c_uint32),
            ("working_set", ctypes.c_size_t * 2),
            ("processes", ctypes.c_uint32),
            ("others", ctypes.c_size_t * 12),
        )
        flags: int
        processes: int

    kernel = _kernel()
    job = kernel.CreateJobObjectW(None, None)
    limits = Limits()
    limits.flags, limits.processes = _LIMIT_ACTIVE_PROCESS, _FEW
    kernel.SetInformationJobObject(
        job, _EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), ctypes.sizeof(limits)
    )
    assert kernel.AssignProcessToJobObject(job, kernel.GetCurrentProcess())
    _jobs.append(job)


def below() -> dict[int, int]:
    """Return the processes that this one has started, directly or not, with when they began."""
    import ctypes

    import psutil

    class Ids(ctypes.Structure):
        """JOBOBJECT_BASIC_PROCESS_ID_LIST."""

        _fields_ = (
            ("assigned", ctypes.c_uint32),
            ("listed", ctypes.c_uint32),
            ("ids", ctypes.c_size_t * _MOST),
        )
        listed: int
        ids: "ctypes.Array[ctypes.c_size_t]"

    if not _jobs:  # a worker
        return {}
    ids = Ids()
    size = ctypes.sizeof(ids)
    assert _kernel().QueryInformationJobObject(
        _jobs[0], _BASIC_PROCESS_ID_LIST, ctypes.byref(ids), size, None
    )
    found: dict[int, int] = {}
    for pid in ids.ids[: ids.listed]:
        if pid != os.getpid():
            with suppress(psutil.Error):  # it ended meanwhile
                found[int(pid)] = int(psutil.Process(int(pid)).create_time() * 1000)
    return found


def children(pid: int) -> set[int]:
    """Return the ids of all processes below `pid`."""
    import psutil

    try:
        return {one.pid for one in psutil.Process(pid).children(recursive=True)}
    except psutil.Error:
        return set()


def lives(pid: int) -> bool:
    """Return whether a process has not ended."""
    import psutil

    return psutil.pid_exists(pid)


def described(pid: int) -> str:
    """Return what there is to say of a process in one line."""
    import psutil

    try:
        return f"{pid}: {' '.join(psutil.Process(pid).cmdline())[-100:]}"
    except psutil.Error:
        return f"{pid} (gone)"


def end(pid: int) -> None:
    """End a process."""
    import psutil

    with suppress(psutil.Error):
        psutil.Process(pid).kill()
