"""Waiting for any of several processes, until something comes or another thread ends the wait."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

from .._transport.light_stdlib import socket, socketpair
from .boot import keep, mark_of, release

if TYPE_CHECKING:
    from typing import Final

Source = TypeVar("Source")
# What the kernel tells: descriptors and what is ready of each.
_Events: TypeAlias = list[tuple[int, int]]
# Calls its argument for as long as it sees fit; returns what that returned last, or None.
Spin: TypeAlias = Callable[[Callable[[], _Events]], "_Events | None"]

_READ: Final = 1  # as epoll has them
_WRITE: Final = 4
# What an event has of these, if there is something to read, or if more can be written. Where there
# is an error, it has both: to read or write tells which one.
READABLE: Final = ~_WRITE
WRITABLE: Final = ~_READ


class Watched(Generic[Source]):
    """A socket or descriptor that is watched, and whose it is."""

    __slots__ = ("end", "fd", "source")

    def __init__(self, end: socket | int, source: Source) -> None:
        self.end = end
        self.fd = end if isinstance(end, int) else end.fileno()
        self.source = source


class _Kernel(Protocol):
    """What the operating system has for this."""

    def register(self, fd: int, eventmask: int, /) -> object: ...
    def modify(self, fd: int, eventmask: int, /) -> object: ...
    def unregister(self, fd: int, /) -> object: ...
    def poll(self, timeout: float | None, maxevents: int, /) -> list[tuple[int, int]]: ...
    def close(self) -> None: ...


class Poller(Generic[Source]):
    """Waits for what is watched, from when it is made until it is closed."""

    def __init__(self) -> None:
        """Open it. Raises `OSError` where the system has no descriptors left."""
        self._watched: dict[int, Watched[Source | None]] = {}
        self._kernel = _kernel()
        try:
            self._wakers = socketpair()
            for end in self._wakers:
                end.setblocking(False)
            # These, each with what tells whether it has its descriptor still.
            self._marks = [(end, mark_of(end)) for end in self._wakers]
            self._watch(Watched(self._wakers[0], None))
        except BaseException:
            self._kernel.close()
            raise

    def watch(self, end: socket | int, source: Source) -> None:
        """Tell from now on when there is something to read from `end`, or it is at its end."""
        self._watch(Watched(end, source))

    def _watch(self, watched: Watched[Source | None]) -> None:
        self._kernel.register(watched.fd, _READ)
        self._watched[watched.fd] = watched

    def watch_writing(self, end: socket, wanted: bool) -> None:
        """Tell also, or tell no more, when more can be written to what is watched."""
        self._kernel.modify(end.fileno(), _READ | _WRITE if wanted else _READ)

    def unwatch(self, end: socket | int) -> None:
        """Tell nothing of it any more."""
        # What a signal's exception has interrupted may be half done; the end must come all the
        # same.
        fd = end if isinstance(end, int) else end.fileno()
        self._watched.pop(fd, None)
        with suppress(OSError, KeyError, ValueError):
            self._kernel.unregister(fd)

    def poll(
        self, timeout: float | None, spin: Spin | None = None
    ) -> list[tuple[Watched[Source | None], int]]:
        """Return what is ready within `timeout` seconds, with its event; None: when something is.

        If `wake` was called, it has something without a source.

        Args:
            timeout: in seconds.
            spin: is given what looks at once, and may call it again and again before the wait.
        """
        kernel, most = self._kernel.poll, len(self._watched)
        events = None if spin is None else spin(partial(kernel, 0.0, most))
        if not events:
            events = kernel(timeout, most)
        find = self._watched.get  # another thread may have ceased to watch it
        return [(found, event) for fd, event in events if (found := find(fd)) is not None]

    def wake(self) -> None:
        """End the wait of another thread, or the next one."""
        with suppress(OSError):  # full: a wake-up is already waiting; or closed: nobody waits
            self._wakers[1].send(b"\0")

    def quiet(self) -> None:
        """Note that the wait has ended: the next one lasts until the next `wake`."""
        with suppress(OSError):  # another one has done so
            self._wakers[0].recv(4096)

    def has_lost_descriptors(self) -> bool:
        """Return whether the program has closed its descriptors."""
        (one, first), (other, second) = self._marks
        return mark_of(one) != first or mark_of(other) != second

    def close(self) -> None:
        """Give back its descriptors, and what is watched."""
        self._watched.clear()  # what is watched may know this one: a circle, which would stay
        self._kernel.close()
        for end in self._wakers:
            end.close()

    def abandon(self) -> None:
        """Give it up where the program has closed its descriptors.

        What has a number of theirs by now is not ours to close.
        """
        self._watched.clear()
        keep(self._kernel)
        for end, mark in self._marks:
            release(end, mark)


def comes_within(timeout: float, end: socket | int) -> bool:
    """Return whether `end` has something to read, or is at its end, within so many seconds."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([end], [], [], timeout)[0])
    one = select.poll()
    one.register(end, select.POLLIN)
    return bool(one.poll(timeout * 1000))


def _kernel() -> _Kernel:
    # Without `selectors`, whose own steps take as long as the system call.
    return select.epoll() if sys.platform == "linux" else _Selected()


class _Selected:
    """What `selectors` finds best, on systems other than Linux."""

    def __init__(self) -> None:
        import selectors

        self._selector = selectors.DefaultSelector()

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


def _selectors_event(eventmask: int) -> int:
    # To read is 1 there as well, to write 2.
    return eventmask & _READ | eventmask >> 1 & 2
