"""Waits for several sockets and descriptors at once; another thread can end the wait."""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

from .._transport.light_stdlib import socket, socketpair
from .boot import keep, mark_of, release

if TYPE_CHECKING:
    from typing import Final

Source = TypeVar("Source")
# What one poll of the kernel returns: a list of pairs, each a ready descriptor and a bit mask of
# its events.
_Events: TypeAlias = list[tuple[int, int]]
# A function that polls the kernel again and again for a short time, instead of waiting. Its
# argument is the function that makes one poll. It returns the last result of a poll, or None.
Spin: TypeAlias = Callable[[Callable[[], _Events]], "_Events | None"]

# The values of EPOLLIN and EPOLLOUT; `select` has these names on Linux only.
_READ: Final = 1
_WRITE: Final = 4
# Masks of events share a bit with `READABLE` if there is something to read, and with `WRITABLE` if
# more can be written. For an error they share bits with both, and the next read or write raises the
# error.
READABLE: Final = ~_WRITE
WRITABLE: Final = ~_READ


class Watched(Generic[Source]):
    """A socket or descriptor `end` that is watched; `source` is the object to which it belongs."""

    __slots__ = ("end", "fd", "source")

    def __init__(self, end: socket | int, source: Source) -> None:
        self.end = end
        self.fd = end if isinstance(end, int) else end.fileno()
        self.source = source


class _Kernel(Protocol):
    """The methods of `select.epoll` that a poller uses; without epoll, `_Selected` has them."""

    def register(self, fd: int, eventmask: int, /) -> object: ...
    def modify(self, fd: int, eventmask: int, /) -> object: ...
    def unregister(self, fd: int, /) -> object: ...
    def poll(self, timeout: float | None, maxevents: int, /) -> list[tuple[int, int]]: ...
    def close(self) -> None: ...


class Poller(Generic[Source]):
    """Waits until something can be read from at least one of several sockets and descriptors."""

    def __init__(self) -> None:
        """Open the poller; if the system has no descriptors left, raise `OSError`."""
        self._watched: dict[int, Watched[Source | None]] = {}
        self._kernel = _kernel()
        # Whether a thread that is in `poll` would not see what another thread starts to watch.
        self._misses_changes = isinstance(self._kernel, _Selected) and self._kernel.misses_changes
        try:
            self._wakers = socketpair()
            for end in self._wakers:
                end.setblocking(False)
            # The two sockets by which `wake` ends a wait, each with what `mark_of` has returned for
            # it. By these the poller finds out whether the program has closed a descriptor of
            # theirs.
            self._marks = [(end, mark_of(end)) for end in self._wakers]
            self._watch(Watched(self._wakers[0], None))
            self.quiet()  # empties the socket pair: the first `poll` has to wait
        except BaseException:
            self._kernel.close()
            raise

    def watch(self, end: socket | int, source: Source) -> None:
        """Watch `end`: from now on `poll` returns it when it has data to read, or is at its end."""
        self._watch(Watched(end, source))

    def _watch(self, watched: Watched[Source | None]) -> None:
        self._kernel.register(watched.fd, _READ)
        self._watched[watched.fd] = watched
        if self._misses_changes:
            self.wake()

    def watch_writing(self, end: socket, wanted: bool) -> None:
        """Choose whether `poll` also returns the socket `end` when it takes more bytes."""
        self._kernel.modify(end.fileno(), _READ | _WRITE if wanted else _READ)
        if self._misses_changes and wanted:
            self.wake()

    def unwatch(self, end: socket | int) -> None:
        """Stop watching `end`; if it is not watched, do nothing."""
        # A signal's exception may have interrupted an earlier call between its two steps. So each
        # step may have been done already.
        fd = end if isinstance(end, int) else end.fileno()
        self._watched.pop(fd, None)
        with suppress(OSError, KeyError, ValueError):
            self._kernel.unregister(fd)

    def poll(
        self, timeout: float | None, spin: Spin | None = None
    ) -> list[tuple[Watched[Source | None], int]]:
        """Wait until a watched end is ready; return all ready ends, with the masks of their events.

        If `wake` was called, the list also has a socket of the poller itself, whose source is None.

        Args:
            timeout: seconds after which the wait ends; None: no limit.
            spin: a function that polls again and again for a short time, before the wait begins;
                None: wait at once.
        """
        kernel, most = self._kernel.poll, len(self._watched)
        events = None if spin is None else spin(partial(kernel, 0.0, most))
        if not events:
            events = kernel(timeout, most)
        # Another thread may have stopped watching a descriptor since the poll; then its event is
        # dropped.
        find = self._watched.get
        return [(found, event) for fd, event in events if (found := find(fd)) is not None]

    def wake(self) -> None:
        """End the wait of the thread that is in `poll`.

        If no thread is in `poll`, the next `poll` ends at once.
        """
        # OSError means that the socket is full of unread wake-ups, or that it is closed and no
        # thread waits.
        with suppress(OSError):
            self._wakers[1].send(b"\0")

    def quiet(self) -> None:
        """Use up all calls of `wake` so far: the next `poll` waits again."""
        with suppress(OSError):  # another thread has read what `wake` wrote
            self._wakers[0].recv(4096)

    def has_lost_descriptors(self) -> bool:
        """Return whether the program has closed a descriptor of this poller."""
        (reader, mark), (writer, other_mark) = self._marks
        return mark_of(reader) != mark or mark_of(writer) != other_mark

    def close(self) -> None:
        """Close the poller's descriptors, and forget what it watches."""
        # A watched object may refer to this poller. If this poller kept the object, both would form
        # a reference cycle, and live until a garbage collection.
        self._watched.clear()
        self._kernel.close()
        for end in self._wakers:
            end.close()

    def after_fork_in_child(self) -> None:
        """Close the copies of the poller's descriptors that this process, a fork, has."""
        self._watched.clear()
        if isinstance(self._kernel, _Selected):
            self._kernel.after_fork_in_child()
        else:
            self._kernel.close()
        for end in self._wakers:
            end.close()

    def abandon(self) -> None:
        """Stop using the poller, because the program has closed some of its descriptors.

        The other descriptors are closed. A number that belongs to another open file by now is not
        closed.
        """
        self._watched.clear()
        keep(self._kernel)
        for end, mark in self._marks:
            release(end, mark)


def comes_within(timeout: float, end: socket | int) -> bool:
    """Return whether `end` has data to read or is at its end, now or within `timeout` seconds."""
    if not hasattr(select, "poll"):  # Windows has no `select.poll`
        return bool(select.select([end], [], [], timeout)[0])
    one = select.poll()
    one.register(end, select.POLLIN)
    return bool(one.poll(timeout * 1000))


def _kernel() -> _Kernel:
    # epoll is used without the module `selectors`, whose own code takes as long as the system call.
    return select.epoll() if hasattr(select, "epoll") else _Selected()


class _Selected:
    """The best selector that `selectors` finds, with the methods of `select.epoll`.

    Attributes:
        misses_changes: whether a wait goes on with what was registered when it began. That is so
            with `select.select`, which is all that Windows has.
    """

    def __init__(self) -> None:
        import selectors

        self._selector = selectors.DefaultSelector()
        self.misses_changes = isinstance(self._selector, selectors.SelectSelector)

    def register(self, fd: int, eventmask: int, /) -> None:
        self._selector.register(fd, _selectors_event(eventmask))

    def modify(self, fd: int, eventmask: int, /) -> None:
        self._selector.modify(fd, _selectors_event(eventmask))

    def unregister(self, fd: int, /) -> None:
        self._selector.unregister(fd)

    def poll(self, timeout: float | None, maxevents: int, /) -> list[tuple[int, int]]:
        found = self._selector.select(timeout)
        return [(key.fd, event & _READ | event << 1 & _WRITE) for key, event in found]

    def close(self) -> None:
        self._selector.close()

    def after_fork_in_child(self) -> None:
        # A fork has no copy of a kqueue. Before Python 3.11.7 and 3.12.1 the object of the kqueue
        # does not know that: when it is closed or deleted in the fork, it closes whatever file has
        # its number there.
        if hasattr(select, "kqueue"):
            keep(self._selector)
        else:
            self.close()


def _selectors_event(eventmask: int) -> int:
    # The bit for reading is 1 in `selectors` and here. The bit for writing is 2 in `selectors` and
    # 4 here.
    return eventmask & _READ | eventmask >> 1 & 2
