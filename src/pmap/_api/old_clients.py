"""What programs read of a ``multiprocessing.pool.Pool`` although it is private there.

For old clients only: nothing of it is needed to use pmap, and all of it is looked up when it is
asked for. A new program has better ways: `AsyncResult.done`, `WorkerLost`, `buffersize`.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, overload

if TYPE_CHECKING:
    from .._engine.driver import Driver

T = TypeVar("T")

# The states of a pool, as `multiprocessing.pool` has them.
RUN, CLOSE, TERMINATE = "RUN", "CLOSE", "TERMINATE"
# Seconds between two looks at a worker whose end is waited for.
_MOMENT = 0.005
_UNKNOWN = 255


class Computed(Generic[T]):
    """An attribute that is computed when it is read; an instance may have its own instead."""

    def __init__(self, compute: Callable[..., T]) -> None:
        self._compute = compute

    @overload
    def __get__(self, instance: None, owner: type) -> "Computed[T]": ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object, owner: type) -> "T | Computed[T]":
        return self if instance is None else self._compute(instance)


class OldWorker:
    """A worker, with what programs ask a ``multiprocessing.Process`` in a pool."""

    daemon = True

    def __init__(self, driver: "Driver", number: int, pid: int | None) -> None:
        self._driver = driver
        self._number = number
        self.pid = self.ident = pid  # None: a thread, or none that is there
        self._identity, self.name = driver.backend.identity(number)
        self._end = driver.worker_list.end_of(number)
        self._sentinel: int | None = None

    def is_alive(self) -> bool:
        """Return whether it is there."""
        return self._number in self._driver.worker_list.pids()

    @property
    def exitcode(self) -> int | None:
        """None while it is there, else its exit code; -N: it was ended by signal N.

        0 for a thread. 255 where nobody could tell, as with the fork server of multiprocessing.
        """
        if self.is_alive():
            return None
        code = self._end.exitcode
        unknown = 0 if self.pid is None else _UNKNOWN
        return unknown if code is None else code

    @property
    def sentinel(self) -> int:
        """A descriptor that is ready when it has ended, for ``multiprocessing.connection.wait``."""
        if self._sentinel is None:
            if self.pid is None or not hasattr(os, "pidfd_open") or not self.is_alive():
                raise ValueError("there is no such process, or this system has no such descriptor")
            self._sentinel = os.pidfd_open(self.pid)
        return self._sentinel

    @property
    def _popen(self) -> "OldWorker | None":
        """What has the process id; None: a thread."""
        return None if self.pid is None else self

    def terminate(self) -> None:
        """Send it SIGTERM, which ends it unless it handles that; a thread after its item."""
        self._driver.worker_list.end(self._number, softly=True)

    def kill(self) -> None:
        """End it, whatever it does; a thread after its present item."""
        self._driver.worker_list.end(self._number, softly=False)

    def __del__(self) -> None:
        if self._sentinel is not None:
            os.close(self._sentinel)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it is gone, at most `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.is_alive() and (until is None or time.monotonic() < until):
            time.sleep(_MOMENT)

    def __repr__(self) -> str:
        return f"<{self.name} pid={self.pid}>"


class OldWorkers(Sequence[OldWorker]):
    """The workers of a pool; as many as there may be, whether they are there or not."""

    def __init__(self, driver: "Driver") -> None:
        self._driver = driver

    def __len__(self) -> int:
        return self._driver.limit

    def _all(self) -> list[OldWorker]:
        driver = self._driver
        found = [
            OldWorker(driver, number, pid)
            for number, pid in driver.worker_list.known_pids().items()
        ]
        return (found + [OldWorker(driver, -1, None)] * (len(self) - len(found)))[: len(self)]

    def __iter__(self) -> Iterator[OldWorker]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> OldWorker: ...
    @overload
    def __getitem__(self, index: slice) -> list[OldWorker]: ...
    def __getitem__(self, index: int | slice) -> "OldWorker | list[OldWorker]":
        return self._all()[index]

    def __repr__(self) -> str:
        return repr(self._all())


class OldQueue:
    """The calls that no worker has begun."""

    def __init__(self, driver: "Driver") -> None:
        self._driver = driver

    def qsize(self) -> int:
        """Return how many calls there are for which no worker is left."""
        return max(0, len(self._driver.calls()) - self._driver.limit)

    def empty(self) -> bool:
        """Return whether there are none."""
        return not self.qsize()
