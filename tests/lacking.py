"""Systems that lack what Linux has, made of this one: what they lack is taken away.

`lacking` makes a folder with a ``sitecustomize``. Python imports it before all else, in the program
that a test runs and in each interpreter that this program starts. So a caller and its workers lack
the same. This module imports no pmap, and little else: each of these interpreters imports it.

The kernel is still that of Linux: docs/platforms.md says what only a real Mac can show.
"""

import errno
import os
import select
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

# What macOS lacks of what pmap asks for, and how it differs.
MACOS: Final = (
    "zombies",  # before "proc": it looks there
    *("memfd", "pidfd", "epoll", "waitid", "F_SETSIG", "prlimit", "affinity", "getresuid", "proc"),
    *("cloexec", "sockets", "kqueue", "inodes", "darwin"),
)
# A system on which nothing is left that could be done without.
BARE: Final = (
    *("memfd", "pidfd", "epoll", "poll", "waitid", "F_SETSIG", "prlimit", "affinity"),
    *("getresuid", "proc", "cloexec", "sockets", "temporary"),
)


def lacking(folder: Path, features: Iterable[str]) -> str:
    """Make a folder that takes features away; return a PYTHONPATH that begins with it."""
    where = folder / "lacking"
    where.mkdir()
    text = f"from tests.lacking import take_away\ntake_away({tuple(features)!r})\n"
    (where / "sitecustomize.py").write_text(text, encoding="utf-8")
    return os.pathsep.join([str(where), *dict.fromkeys(path for path in sys.path if path)])


def take_away(features: Iterable[str]) -> None:
    """Take features away from this process."""
    for feature in features:
        _WAYS[feature]()


def _without(module: str, *names: str) -> None:
    for name in names:
        if hasattr(sys.modules.get(module) or __import__(module), name):
            delattr(sys.modules[module], name)


def _no_proc() -> None:
    """Let nothing be at /proc, and nothing in /dev/shm."""
    import builtins
    import io

    def blind(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(path: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(path, str) and path.startswith(("/proc", "/dev/shm")):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            return call(path, *args, **kwargs)

        return called

    for name in ("open", "stat", "listdir", "readlink", "scandir", "statvfs", "access"):
        setattr(os, name, blind(getattr(os, name)))
    builtins.open = io.open = blind(open)


def _no_temporary() -> None:
    import tempfile

    tempfile.tempdir = "/nowhere/at/all"


def _poor_sockets() -> None:
    """Let a socket hold the 8 KiB that one of macOS holds, and have no cookie."""
    import _socket

    pair = _socket.socketpair

    class Socket(_socket.socket):
        def getsockopt(self, level: int, option: int, *size: int) -> Any:
            if option == 57:
                raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
            if size:
                return super().getsockopt(level, option, size[0])
            return super().getsockopt(level, option)

    def socketpair(*kinds: int) -> tuple[_socket.socket, _socket.socket]:
        one, other = pair(*kinds)
        for end in (one, other):
            # Linux doubles it, and counts what it notes of each message in it.
            end.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, 4096)
            end.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, 4096)
        return Socket(fileno=one.detach()), Socket(fileno=other.detach())

    _socket.socketpair = socketpair


def _inodes_of_their_own() -> None:
    """Let the two ends of a pipe have inodes of their own."""
    fstat = os.fstat

    class Status:
        def __init__(self, status: os.stat_result, inode: int) -> None:
            self._status, self.st_ino = status, inode

        def __getattr__(self, name: str) -> object:
            return getattr(self._status, name)

    def told(fd: int) -> Any:
        import fcntl
        import stat

        status = fstat(fd)
        if not stat.S_ISFIFO(status.st_mode):
            return status
        is_writing = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
        return Status(status, 2 * status.st_ino + is_writing)

    os.fstat = told


def _strict_groups() -> None:
    """Let nobody send a signal to a process group of which only zombies are left."""
    killpg, open_, listdir = os.killpg, open, os.listdir

    def states(group: int) -> Iterable[str]:
        for name in filter(str.isdigit, listdir("/proc")):
            try:
                with open_(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
                    state, _, its = stat.read().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(its) == group:
                yield state

    def strict(group: int, number: int) -> None:
        found = [*states(group)]
        if found and all(state in "ZX" for state in found):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        killpg(group, number)

    os.killpg = strict


def _darwin() -> None:
    """Call the system darwin, and count the memory of a process in bytes."""
    import resource

    getrusage = resource.getrusage

    class Usage:
        def __init__(self, usage: resource.struct_rusage) -> None:
            self._usage, self.ru_maxrss = usage, usage.ru_maxrss * 1024

        def __getattr__(self, name: str) -> object:
            return getattr(self._usage, name)

    resource.getrusage = lambda who: Usage(getrusage(who))  # type: ignore[assignment, return-value]  # quacks like one
    sys.platform = "darwin"


# --- a kqueue ------------------------------------------------------------------------------------

_READ, _WRITE, _PROC = -1, -2, -5
_ADD, _DELETE, _EXIT = 1, 2, 0x80000000


class kevent:  # noqa: N801 - the name that `select` has for it
    """An event of a kqueue, or a change to one."""

    def __init__(self, ident: int, filter: int = _READ, flags: int = _ADD, fflags: int = 0) -> None:
        self.ident, self.filter, self.flags, self.fflags = ident, filter, flags, fflags


class kqueue:  # noqa: N801 - the name that `select` has for it
    """A kqueue made of an epoll, whose descriptor can be watched as that of a kqueue can.

    It tells of reading and of writing in an event each. A fork has no copy of it. As before Python
    3.11.7, it does not know that; whoever closes or deletes it in a fork is told on stderr.
    """

    closed = False

    def __init__(self) -> None:
        self._made_by = os.getpid()
        self._epoll = _Epoll()
        self._filters: dict[int, set[int]] = {}
        self._processes: dict[int, int] = {}
        os.register_at_fork(after_in_child=self._vanish)

    def _vanish(self) -> None:
        self._epoll.close()
        for fd in self._processes.values():
            os.close(fd)
        self._processes.clear()

    def fileno(self) -> int:
        return int(self._epoll.fileno())

    def close(self) -> None:
        if self._made_by != os.getpid():
            os.write(2, b"a kqueue of the parent was closed in a fork\n")
        if not self.closed:
            self.closed = True
            self._vanish()

    def control(
        self, changes: Iterable[kevent] | None, most: int, timeout: float | None = None
    ) -> list[kevent]:
        for change in changes or ():
            self._change(change)
        if not most:
            return []
        found: list[kevent] = []
        for fd, mask in self._epoll.poll(timeout, most):
            for kind, bits in ((_READ, ~select.EPOLLOUT), (_WRITE, ~select.EPOLLIN)):
                if mask & bits and kind in self._filters.get(fd, ()):
                    found.append(kevent(fd, kind))
        return found

    def _change(self, change: kevent) -> None:
        fd = change.ident
        if change.filter == _PROC:
            self._watch_process(fd)
            return
        filters = self._filters.get(fd, set())
        if change.flags & _DELETE and change.filter not in filters:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        new = filters - {change.filter} if change.flags & _DELETE else filters | {change.filter}
        mask = (_READ in new) * select.EPOLLIN | (_WRITE in new) * select.EPOLLOUT
        if not filters:
            self._epoll.register(fd, mask)
        elif new:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.unregister(fd)
        self._filters[fd] = new

    def _watch_process(self, pid: int) -> None:
        fd = _pidfd_open(pid)
        if select_now([fd]):  # it has ended: macOS does not find a process that is a zombie
            os.close(fd)
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        self._processes[pid] = fd
        self._epoll.register(fd, select.EPOLLIN)


def select_now(fds: list[int]) -> list[int]:
    """Return which of the descriptors can be read now."""
    return select.select(fds, [], [], 0)[0]


def _kqueue() -> None:
    """Give `select` what it has on macOS; before the module `selectors` is imported."""
    assert "selectors" not in sys.modules
    for name, value in {
        "kqueue": kqueue,
        "kevent": kevent,
        "KQ_FILTER_READ": _READ,
        "KQ_FILTER_WRITE": _WRITE,
        "KQ_FILTER_PROC": _PROC,
        "KQ_EV_ADD": _ADD,
        "KQ_EV_DELETE": _DELETE,
        "KQ_NOTE_EXIT": _EXIT,
    }.items():
        setattr(select, name, value)


# Kept from before they are taken away. None: this system lacks them itself.
_Epoll: Final[Any] = vars(select).get("epoll")
_pidfd_open: Final[Any] = vars(os).get("pidfd_open")

_WAYS: Final[dict[str, Callable[[], None]]] = {
    "memfd": partial(_without, "os", "memfd_create"),
    "pidfd": partial(_without, "os", "pidfd_open"),
    "epoll": partial(_without, "select", "epoll", "POLLRDHUP"),
    "poll": partial(_without, "select", "poll"),
    "waitid": partial(_without, "os", "waitid"),
    "F_SETSIG": partial(_without, "fcntl", "F_SETSIG"),
    "prlimit": partial(_without, "resource", "prlimit"),
    "affinity": partial(_without, "os", "sched_getaffinity", "sched_setaffinity"),
    "getresuid": partial(_without, "os", "getresuid", "getresgid"),
    "proc": _no_proc,
    "cloexec": partial(_without, "_socket", "MSG_CMSG_CLOEXEC"),
    "sockets": _poor_sockets,
    "kqueue": _kqueue,
    "zombies": _strict_groups,
    "inodes": _inodes_of_their_own,
    "temporary": _no_temporary,
    "darwin": _darwin,
}
