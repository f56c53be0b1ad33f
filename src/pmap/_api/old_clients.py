"""Private attributes of ``multiprocessing.pool.Pool``, for existing programs that read them.

They are only for programs written for `multiprocessing`. Each value is computed when a program
reads it. New programs have better ways: `AsyncResult.done`, `WorkerLost`, `buffersize`.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, overload

if TYPE_CHECKING:
    from .._engine.driver import Driver

T = TypeVar("T")

# The states of a pool, with the names that they have in `multiprocessing.pool`.
RUN, CLOSE, TERMINATE = "RUN", "CLOSE", "TERMINATE"
# The interval, in seconds, at which `join` checks whether a worker has ended.
_MOMENT = 0.005
_UNKNOWN = 255  # the exit code of a worker process whose own exit code nobody could read


class Computed(Generic[T]):
    """A descriptor that computes the value of an attribute each time it is read.

    It is not a property: an instance may have an attribute of the same name, and Python then
    returns that one.
    """

    def __init__(self, compute: Callable[..., T]) -> None:
        self._compute = compute

    @overload
    def __get__(self, instance: None, owner: type) -> "Computed[T]": ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object, owner: type) -> "T | Computed[T]":
        return self if instance is None else self._compute(instance)


class OldWorker:
    """A worker with the attributes of ``multiprocessing.Process`` that programs read."""

    daemon = True

    def __init__(self, driver: "Driver", number: int, pid: int | None) -> None:
        self._driver = driver
        self._number = number
        # The process id is None for a thread, and for a worker that has not started.
        self.pid = self.ident = pid
        self._identity, self.name = driver.backend.identity(number)
        self._end = driver.worker_list.end_of(number)
        self._sentinel: int | None = None

    def is_alive(self) -> bool:
        """Return whether the worker is still running."""
        return self._number in self._driver.worker_list.pids()

    @property
    def exitcode(self) -> int | None:
        """The exit code of the worker; None while it lives; -N if signal N has ended it.

        It is 0 for a thread, and 255 if nobody could read the exit code, as with the fork server of
        multiprocessing.
        """
        if self.is_alive():
            return None
        code = self._end.exitcode
        unknown = 0 if self.pid is None else _UNKNOWN
        return unknown if code is None else code

    @property
    def sentinel(self) -> int:
        """A descriptor for ``multiprocessing.connection.wait``; it is ready at the end.

        Raises:
            ValueError: the worker is no process, or has ended; or the system has no pidfd_open.
        """
        if self._sentinel is None:
            if self.pid is None or not hasattr(os, "pidfd_open") or not self.is_alive():
                raise ValueError("there is no such process, or this system has no such descriptor")
            self._sentinel = os.pidfd_open(self.pid)
        return self._sentinel

    @property
    def _popen(self) -> "OldWorker | None":
        """Stands for `multiprocessing.Process._popen`, whose attribute `pid` programs read."""
        return None if self.pid is None else self

    def terminate(self) -> None:
        """Send SIGTERM to the worker process; a thread ends after its present item instead."""
        self._driver.worker_list.end(self._number, softly=True)

    def kill(self) -> None:
        """Kill the worker process; a worker thread ends after its present item instead."""
        self._driver.worker_list.end(self._number, softly=False)

    def __del__(self) -> None:
        if self._sentinel is not None:
            os.close(self._sentinel)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the worker has ended, or for `timeout` seconds; None: without limit."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.is_alive() and (until is None or time.monotonic() < until):
            time.sleep(_MOMENT)

    def __repr__(self) -> str:
        return f"<{self.name} pid={self.pid}>"


class OldWorkers(Sequence[OldWorker]):
    """The workers of a pool, as many as the pool may have; some may not have started."""

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
    """Stands for the queue of waiting calls. Programs only ask for its length."""

    def __init__(self, driver: "Driver") -> None:
        self._driver = driver

    def qsize(self) -> int:
        """Return how many more calls are in progress than the pool may have workers."""
        return max(0, len(self._driver.calls()) - self._driver.limit)

    def empty(self) -> bool:
        """Return whether no call waits for a worker."""
        return not self.qsize()
