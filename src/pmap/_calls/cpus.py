"""The number of CPUs that this process may use, by its affinity and the quota of its cgroup."""

import os
from collections.abc import Iterable, Iterator

# Linux lists the cgroups of this process in the file `MEMBERSHIP`, and has their limits in the
# folder `ROOT`.
MEMBERSHIP = "/proc/self/cgroup"
ROOT = "/sys/fs/cgroup"


def cpu_count() -> int:
    """Return how many CPUs this process may use: the lower of its affinity and its quota."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return at_most(count, _quotas(MEMBERSHIP, ROOT))


def group_quota() -> float | None:
    """Return how many CPUs the cgroups of this process allow; None if they set no limit."""
    return min(_quotas(MEMBERSHIP, ROOT), default=None)


def at_most(count: int, quotas: Iterable[float]) -> int:
    """Return the least of `count` and the quotas (in CPUs, each rounded up), but at least 1.

    >>> at_most(8, []), at_most(8, [2.5, 4.0]), at_most(8, [0.1])
    (8, 3, 1)
    """
    return max(1, min([count, *(-int(-quota // 1) for quota in quotas)]))


def parse_quota(quota: str, period: str) -> float | None:
    """Return how many CPUs a cgroup allows: its quota of processor time divided by the period.

    Both are in microseconds. Return None if the cgroup sets no limit.

    >>> parse_quota("150000", "100000"), parse_quota("max", "100000"), parse_quota("-1", "100000")
    (1.5, None, None)
    """
    try:
        microseconds, per = int(quota), int(period)
    except ValueError:  # "max" means that there is no limit
        return None
    return microseconds / per if microseconds > 0 and per > 0 else None


def parse_cgroups(text: str, controller: str = "cpu") -> list[tuple[str, str]]:
    r"""Return the hierarchy and path of each cgroup in `text` where `controller` may set limits.

    The hierarchy of a cgroup of version 2 is "".

    >>> parse_cgroups("4:memory:/a\n3:cpu,cpuacct:/b\n0::/c\n")
    [('cpu,cpuacct', '/b'), ('', '/c')]
    """
    groups: list[tuple[str, str]] = []
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if path.startswith("/") and (not controllers or controller in controllers.split(",")):
            groups.append((controllers, path))
    return groups


def group_folders(
    controller: str,
    membership: "os.PathLike[str] | str" = MEMBERSHIP,
    root: "os.PathLike[str] | str" = ROOT,
) -> Iterator[tuple[str, str]]:
    """Yield the hierarchy and the folder of each cgroup whose limits hold for this process.

    These are the cgroup of this process and all cgroups that contain it. Some of the folders may
    not exist.
    """
    for hierarchy, path in parse_cgroups(_read(membership), controller):
        top = os.path.join(root, hierarchy)
        # In a container the path may be a path of the host, which the container cannot see. So the
        # top folder is read, too.
        folders = {top}
        parts = [part for part in path.split("/") if part]
        if ".." not in parts:
            folders |= {os.path.join(top, *parts[:depth]) for depth in range(len(parts) + 1)}
        for folder in folders:
            yield hierarchy, folder


def _quotas(membership: "os.PathLike[str] | str", root: "os.PathLike[str] | str") -> list[float]:
    """Return the quotas, in CPUs, of the cgroups whose limits hold for this process."""
    quotas: list[float | None] = []
    for hierarchy, folder in group_folders("cpu", membership, root):
        if hierarchy:
            quota = _read(f"{folder}/cpu.cfs_quota_us")
            quotas.append(parse_quota(quota, _read(f"{folder}/cpu.cfs_period_us")))
        else:
            quotas.append(parse_quota(*(_read(f"{folder}/cpu.max").split() or ["", ""])[:2]))
    return [quota for quota in quotas if quota is not None]


def _read(path: "os.PathLike[str] | str") -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except (OSError, ValueError):
        # The system is not Linux, or it has not mounted the cgroups, or this process may not read
        # them.
        return ""
