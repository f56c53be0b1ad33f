"""What `explain` sends to workers in place of the function; it runs items and measures them.

Workers import this module.
"""

from __future__ import annotations

import os
from _thread import allocate_lock, start_new_thread
from time import perf_counter, process_time, sleep, thread_time

from .._transport.descriptors import without_descriptors
from .._transport.exceptions import describe
from .._transport.values import loads, split

TYPE_CHECKING = False  # `typing` is not imported, because workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._transport.by_value.role import Role

_PAUSE = 0.001  # seconds between two tests of whether the interpreter's lock is free
# When a thread wakes up after a sleep, it needs the interpreter's lock. If Python code holds the
# lock, the thread gets it after 5 ms. If the lock is free, the thread is late by at most this many
# seconds.
_LATE = 0.0005
_TIMES = 5  # how often the clocks are read to find out how long reading them takes


# The numbers of the explanations for which this process has run items.
_known: set[int] = set()


class Measured:
    """What was measured of a batch of items; the numbers are sums over all items that returned.

    Attributes:
        first: whether the worker ran items of this explanation for the first time: they may take
            longer, because they import modules and fill caches.
        items: how many items returned.
        seconds: for how many seconds these items ran.
        own: how many of these seconds the thread of the items ran on a processor.
        all_threads: for how many seconds threads of the process ran on processors during this time,
            summed over all threads.
        waiting: for how many seconds the thread of the items waited for something other than a
            processor.
        looks: how often another thread tested the interpreter's lock while the items ran.
        held: how often the lock was not free in these tests.
        packing: seconds that it took to pickle the results and to load them.
        pickled: how many results could be pickled.
        size: bytes of the pickled results, with their buffers.
        failed: the first item that raised an exception: its index, and the exception in words.
        unsent: the first item whose result could not be pickled: its index, and the reason in
            words.
    """

    __slots__ = (
        *("all_threads", "failed", "first", "held", "items", "looks", "own", "packing"),
        *("pickled", "seconds", "size", "unsent", "waiting"),
    )

    def __init__(self) -> None:
        self.items = self.looks = self.held = self.pickled = self.size = 0
        self.seconds = self.own = self.all_threads = self.waiting = self.packing = 0.0
        self.first = False
        self.failed: tuple[int, str] | None = None
        self.unsent: tuple[int, str] | None = None

    def add(self, other: Measured) -> None:
        """Add the measurements of another batch."""
        self.items += other.items
        self.looks += other.looks
        self.held += other.held
        self.pickled += other.pickled
        self.size += other.size
        self.seconds += other.seconds
        self.own += other.own
        self.all_threads += other.all_threads
        self.waiting += other.waiting
        self.packing += other.packing
        self.failed = self.failed or other.failed
        self.unsent = self.unsent or other.unsent


class Batch:
    """A batch of items, which a worker runs one after the other.

    Attributes:
        indices: the indices of the items in the input.
        arguments: the positional and the keyword arguments of each item.
        looks: whether to test if the items hold the interpreter's lock.
    """

    __slots__ = ("arguments", "indices", "looks")

    def __init__(
        self, indices: list[int], arguments: list[tuple[Any, dict[str, Any]]], looks: bool
    ) -> None:
        self.indices = indices
        self.arguments = arguments
        self.looks = looks


class Trial:
    """Calls a function with the arguments of some items, and returns what was measured."""

    def __init__(self, function: Callable[..., object], name: str, number: int) -> None:
        """Prepare to run in place of `function`, which error messages call `name`.

        `number` identifies the explanation: by it a worker knows whether it has run items of the
        same explanation before.
        """
        self.function = function
        self.number = number
        self.__name__ = self.__qualname__ = name  # error messages call the function by this name

    def __call__(self, batch: Batch) -> Measured:
        """Run each item of `batch` once, one after the other."""
        measured = Measured()
        measured.first = self.number not in _known
        _known.add(self.number)
        watch = _Watch()
        try:
            if batch.looks:
                self._run_looking(batch, measured, watch)
            else:
                self._run(batch, measured, watch)
        finally:
            watch.close()
        return measured

    def _run(self, batch: Batch, measured: Measured, watch: _Watch) -> None:
        """Run each item, and measure each of them by itself."""
        for index, (args, kwargs) in zip(batch.indices, batch.arguments, strict=True):
            begin = watch.now()
            try:
                result = self.function(*args, **kwargs)
            except Exception as error:
                measured.failed = measured.failed or (index, describe(error))
                continue
            watch.add(measured, begin, 1)
            _measure_result(measured, index, result)

    def _run_looking(self, batch: Batch, measured: Measured, watch: _Watch) -> None:
        """Run all items and measure them together, while another thread tests the lock.

        The lock is the interpreter's. Between two items no clock is read: to read one would release
        the lock to the other thread.
        """
        last: tuple[int, object] | None = None
        count = 0
        looks = _Looks()
        begin = watch.now()
        try:
            for index, (args, kwargs) in zip(batch.indices, batch.arguments, strict=True):
                try:
                    last = index, self.function(*args, **kwargs)
                except Exception as error:
                    measured.failed = measured.failed or (index, describe(error))
                else:
                    count += 1
        finally:
            looks.is_on = False
            if count:
                watch.add(measured, begin, count)
            measured.looks, measured.held = looks.ended()
        if last is not None:
            _measure_result(measured, *last)


def _measure_result(measured: Measured, index: int, result: object) -> None:
    begin = perf_counter()
    try:
        size, data, buffers = pickled(result)
    except Exception as error:
        if measured.unsent is None:
            from .._transport.by_value.blame import where_it_fails

            why = describe(error) + where_it_fails(result, "the result", error)
            measured.unsent = index, why
        return
    try:
        loads(data, buffers=buffers)
    except Exception:
        # The pickle refers to names of the caller, so it can be loaded only there. The time that
        # loading takes is then not known.
        pass
    measured.packing += perf_counter() - begin
    measured.pickled += 1
    measured.size += size


def pickled(value: object, role: Role | None = None) -> tuple[int, Any, list[Any]]:
    """Pickle `value`; return how many bytes that takes in all, the pickle, and the large buffers.

    An exception of the pickling is passed on.
    """
    head, out = split(value, role=role)
    buffers: list[Any] = without_descriptors(out)
    size = sum([memoryview(buffer).nbytes for buffer in buffers])
    if head is None:
        return size, buffers.pop(), buffers
    # `value` is a `bytes` or a `bytearray`, and its contents are the only buffer.
    if isinstance(head, str):
        return size, buffers.pop(), buffers
    return size + len(head), head, buffers


class _Watch:
    """The clocks that measure the time of the thread that runs items."""

    def __init__(self) -> None:
        self._queued = _Queued()
        # The times that the clocks show for an item that does nothing. They are subtracted from
        # each measurement.
        self._nothing = (0.0, 0.0, 0.0, 0.0)
        pairs = [(self.now(), self.now()) for _ in range(_TIMES)]
        self._nothing = min(_between(*pair) for pair in pairs)

    def now(self) -> tuple[float, float, float, float]:
        """Read the clocks."""
        return perf_counter(), thread_time(), process_time(), self._queued.seconds()

    def add(self, measured: Measured, begin: tuple[float, ...], items: int) -> None:
        """Add to `measured` the times of the items that have run since the time `begin`."""
        passed = zip(_between(begin, self.now()), self._nothing, strict=True)
        seconds, own, all_threads, queued = [max(0.0, item - empty) for item, empty in passed]
        measured.items += items
        measured.seconds += seconds
        measured.own += own
        measured.all_threads += all_threads
        measured.waiting += max(0.0, seconds - own - queued)

    def close(self) -> None:
        """Close the files from which some of the clocks are read."""
        self._queued.close()


def _between(begin: tuple[float, ...], end: tuple[float, ...]) -> tuple[float, float, float, float]:
    seconds, own, all_threads, queued = [now - then for then, now in zip(begin, end, strict=True)]
    return seconds, own, all_threads, queued


class _Looks:
    """A thread that tests whether the interpreter's lock is free while items run in another.

    The thread sleeps for a moment, again and again. When it wakes up, it needs the lock. If it
    waits long for the lock although it has a processor, the code of the items holds the lock. The
    thread that runs items sometimes waits for this thread, and for longer on a busy machine, so the
    times of such items are of no use.
    """

    def __init__(self) -> None:
        self.is_on = True
        self._looks = self._held = 0
        self._over = allocate_lock()
        self._over.acquire()
        try:
            start_new_thread(self._look, ())
        except RuntimeError:  # no thread can be started, so the lock is not tested
            self._over.release()

    def ended(self) -> tuple[int, int]:
        """End the thread; return how often it tested the lock, and how often the lock was held."""
        self.is_on = False
        self._over.acquire()
        return self._looks, self._held

    def _look(self) -> None:
        queued = _Queued()
        try:
            while True:
                begin, before = perf_counter(), queued.seconds()
                sleep(_PAUSE)
                late = perf_counter() - begin - _PAUSE - (queued.seconds() - before)
                if not self.is_on:
                    break
                self._looks += 1
                self._held += late > _LATE
        finally:
            queued.close()
            self._over.release()


class _Queued:
    """How long this thread has waited for a processor, as Linux reports it; 0 on other systems."""

    def __init__(self) -> None:
        try:
            self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, AttributeError):
            # The time is not known: this is not Linux, or the kernel does not report the time.
            self._file = -1

    def seconds(self) -> float:
        """Return for how many seconds the thread has waited since it began."""
        if self._file < 0:
            return 0.0
        return int(os.pread(self._file, 100, 0).split()[1]) / 1e9

    def close(self) -> None:
        """Close the file from which the time is read."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Reply:
    """A function for measurements, which returns as many bytes as the results of the call have."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._reply: bytes | None = None

    def __call__(self, _: object) -> bytes:
        """Return the bytes, whatever the argument `_` is."""
        if self._reply is None:
            self._reply = bytes(self.size)
        return self._reply

    def __reduce__(self) -> tuple[object, ...]:
        return Reply, (self.size,)


def same(item: object) -> object:
    """Return the argument unchanged; measurements use this as a function that costs nothing."""
    return item


def burn(steps: int) -> float:
    """Use a processor for `steps` steps of a loop, and return the seconds that this took."""
    begin = perf_counter()
    for _ in range(steps):
        pass
    return perf_counter() - begin
