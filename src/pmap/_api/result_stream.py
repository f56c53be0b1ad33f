"""ResultStream: results as they come, input as it is needed.

Nothing here runs by itself. When the consumer asks for a result and none is there, its own thread
reads input, as much as `ReadAhead` says, and gives it to the pool; then it waits. In between the
pool works on what it has, and the results wait in the `StreamJob`.
"""

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from .._calls.arguments import seconds_to_wait
from .._calls.call import Streamed
from .._calls.input import AsyncInput, Input
from .._errors import CancelledError, PoolClosedError
from .._jobs.event_loops import give_way, until
from .._transport.light_stdlib import RLock, allocate_lock
from .standard import class_of_both
from .stream_states import CLOSED, NEW, OPEN, OVER

if TYPE_CHECKING:  # the verbs name this class, and leave the pool for the first call
    from .._engine.driver import Driver
    from .._jobs.stream_job import Part, StreamJob

R_co = TypeVar("R_co", covariant=True)

_HOW_TO_GO_ON = "pmap: the stream ends here; with .collecting, failures are values and it goes on"


# Held for two lines that call nothing, so no signal's handler and no finaliser can run in between,
# which might close a stream in the very thread that holds it.
_state_lock = allocate_lock()


def _renew_lock() -> None:
    """Make a new lock in a fork: a thread that does not exist here may hold the old one."""
    global _state_lock
    _state_lock = allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class _End(Exception):
    """There are no more results."""


class ResultStream(Iterator[R_co], AsyncIterator[R_co], Generic[R_co]):
    """The results of a call as they come: for ``for`` and ``async for``, and ``with`` either.

    >>> from itertools import count
    >>> from pmap import pmap
    >>> with pmap.iter(abs, count(-2)) as results:
    ...     [next(results) for _ in range(4)]
    [2, 1, 0, 1]

    The input is read in the thread that asks for a result, only while it asks, and never further
    ahead of what was taken than `buffersize`. Leaving the ``with`` block ends what runs; so does
    dropping the stream, and an exception that comes out of waiting (Ctrl-C, a cancelled task).
    """

    if not TYPE_CHECKING:  # for checkers it is made as `__init__` says

        def __new__(cls, driver: "Driver", streamed: Streamed, **_: object) -> Self:
            # Of a class of its own where the length is known: a stream that has a `__len__` and
            # raises from it would fool whoever looks whether there is one.
            sized = cls is ResultStream and streamed.input.is_sized
            return super().__new__(_SizedStream if sized else cls)

    def __init__(
        self,
        driver: "Driver",
        streamed: Streamed,
        *,
        ordered: bool,
        buffersize: int | None,
        as_values: bool = False,
        drop_in: bool = False,
        own_driver: bool = False,
    ) -> None:
        from .read_ahead import ReadAhead  # here: the verbs import this module with the package

        self._driver = driver
        self._input = streamed.input
        self._window = streamed.window
        self._carry_on = drop_in  # behind a failure, as the drop-in's iterators do
        self._own_driver = own_driver
        self._ordered = ordered
        # How many items are given to the pool together, as far as the drop-in promises it: of a
        # chunk that the input fails in, nothing is run.
        self._unit = (streamed.call.rules.chunksize or 1) if drop_in else 1
        if buffersize is not None:
            self._unit = min(self._unit, buffersize)
        self._incomplete: list[object] = []  # items that were read, but are not a whole unit yet
        self._ready: list[R_co] = []  # results that are next, the last one first
        self._failure: Exception | None = None  # what is raised behind those
        self._received = 0  # results that came to `_ready` or `_failure`
        self._read = 0
        self._state: int = NEW  # see `stream_states`
        self._asking = RLock()  # two threads may share a stream
        self._is_asked = False  # at this moment, in whatever thread
        self._pid = os.getpid()
        self._stream_job: StreamJob = driver.open(
            streamed.call, streamed.window, ordered=ordered, as_values=as_values
        )
        self._read_ahead = ReadAhead(
            streamed.input,
            self._stream_job,
            buffersize,
            runs_in_poll=driver.backend.runs_in_poll,
        )

    def _advance(self, state: int) -> None:
        """Go over to a state, unless another thread has brought the stream further."""
        with _state_lock:
            if state > self._state:
                self._state = state

    # --- asking --------------------------------------------------------------------------------

    def __next__(self) -> R_co:
        try:
            return self._ready.pop()
        except IndexError:
            pass  # not from within: what is raised below has nothing to do with it
        return self.next()

    def next(self, timeout: float | None = None) -> R_co:
        """Return the next result.

        Args:
            timeout: seconds to wait for it at most; None: as long as it takes. Reading input is
                not interrupted by it.

        Raises:
            StopIteration: there are no more.
            multiprocessing.TimeoutError: it was not there in time; ask again.
            CancelledError: the stream was closed, or its pool terminated.
            Exception: what the function raised for this item; or the input, after all results.
        """
        limit = None if timeout is None else seconds_to_wait(timeout)
        self._refuse_in_fork()
        with self._asking:
            self._begin_asking()
            try:
                return self._next_result(limit)
            except _End:
                pass
            except Exception:
                raise
            except BaseException:  # Ctrl-C: what was asked for is not wanted any more
                self.drop()
                raise
            finally:
                self._end_asking()
        raise StopIteration

    def _next_result(self, timeout: float | None) -> R_co:
        source = self._input
        if isinstance(source, AsyncInput):
            raise TypeError(
                f"the input of {self!r} is asynchronous: take its results by `async for`"
            )
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            while not self._ready and not self._receive():
                self._read_or_wait(source, timeout, until)
            if room := self._read_ahead.next_top_up(self._ahead):
                self._submit(source.read(room))
            # Another thread may have taken what was ready: it needs no lock for that.
            with suppress(IndexError):
                return self._ready.pop()

    def _read_or_wait(self, source: Input, timeout: float | None, until: float | None) -> None:
        """Read some input, or wait for results."""
        room, pause = self._next_move()
        if room:
            self._submit(source.read(room))
            return
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            from .._multiprocessing_errors import ResultTimeoutError

            raise ResultTimeoutError(f"{self!r} had no result within {timeout:g} seconds")
        waits = [wait for wait in (left, pause) if wait is not None]
        self._driver.await_more(self._stream_job, self._received, min(waits, default=None))

    def __iter__(self) -> Self:
        return self

    async def __anext__(self) -> R_co:
        try:
            return self._ready.pop()
        except IndexError:
            pass
        self._refuse_in_fork()
        self._begin_asking()
        try:
            return await self._next_result_async()
        except _End:
            pass
        except Exception:
            raise
        except BaseException:  # the task was cancelled, or timed out
            self.drop()
            raise
        finally:
            self._end_asking()
        raise StopAsyncIteration

    async def _next_result_async(self) -> R_co:
        await give_way()  # a stream whose results are always there must not starve the others
        while True:
            while not self._ready and not self._receive():
                await self._read_or_wait_async()
            if room := self._read_ahead.next_top_up(self._ahead):
                self._submit(await self._read_async(room))
            with suppress(IndexError):  # a thread may have taken it
                return self._ready.pop()

    async def _read_or_wait_async(self) -> None:
        room, pause = self._next_move()
        if room:
            self._submit(await self._read_async(room))
            await give_way()  # reading a plain iterable has kept the loop from turning
            return
        self._driver.ensure_leader(self._stream_job)
        try:
            await until(lambda wake: self._stream_job.tell(wake, self._received), pause)
        finally:
            self._stream_job.resting = True

    async def _read_async(self, room: int) -> list[object]:
        source = self._input
        return await source.read(room) if isinstance(source, AsyncInput) else source.read(room)

    def __aiter__(self) -> Self:
        return self

    def _refuse_in_fork(self) -> None:
        # Before the lock is asked for: it may have been held by a thread that is not here.
        if os.getpid() != self._pid:
            raise PoolClosedError(
                f"no result comes from {self!r}: it belongs to the process {self._pid} that this "
                "one was forked from"
            )

    def _begin_asking(self) -> None:
        if self._is_asked:
            raise RuntimeError(
                f"{self!r} is asked for a result while it is being asked for one: by its own "
                "input, by a signal handler, or by two tasks at once"
            )
        self._is_asked = True
        if self._state == NEW:
            self._advance(OPEN)
        self._read_ahead.consumer_comes(self.taken)

    def _end_asking(self) -> None:
        self._read_ahead.consumer_leaves()
        self._is_asked = False
        if self._state >= CLOSED:
            self._input.close()

    # --- what to do next -----------------------------------------------------------------------

    @property
    def taken(self) -> int:
        """How many results were taken; a failure that was raised counts."""
        return self._received - len(self._ready) - (self._failure is not None)

    @property
    def read(self) -> int:
        """How many items of the input were read."""
        return self._read

    def __length_hint__(self) -> int:
        """Return how many results are still to come, if the input says how long it is."""
        left = self._left_to_take()
        return NotImplemented if left is None else left

    def _left_to_take(self) -> int | None:
        if self._state >= CLOSED:
            return 0
        unread = self._input.left(self._read, only_reliable=True)
        return None if unread is None else self._read - self.taken + unread

    @property
    def _ahead(self) -> int:
        """How many items were read ahead of what was taken."""
        return self._read - self.taken

    def _next_move(self) -> tuple[int, float | None]:
        """Return how many items to read now, or 0 and how long to wait for results."""
        if not self._stream_job.submitted:
            self._driver.take_no_more()  # nothing is read for a pool that is closed
        under_way = self._read - self._received > len(self._incomplete)
        return self._read_ahead.next_read(self._ahead, under_way)

    def _submit(self, items: list[object]) -> None:
        """Give items that were read to the pool, as far as they are whole units."""
        self._read_ahead.items_were_read()
        self._read += len(items)
        source, unit = self._input, self._unit
        if unit > 1:
            items = self._incomplete + items
            whole = len(items) if source.ended and not source.error else len(items) // unit * unit
            items, self._incomplete = items[:whole], items[whole:]
            if source.error:
                self._read -= len(self._incomplete)
                self._incomplete = []
        if items or source.ended:
            self.begin()
            self._driver.feed(self._stream_job, self._window, items, source.ended)

    def begin(self) -> None:
        """Begin, with no input yet; it is done by itself when the first result is asked for."""
        if not self._stream_job.submitted:
            if self._stream_job.call.progress is not False:
                unread = self._input.left(self._read, only_reliable=False)
                self._stream_job.expected = None if unread is None else self._read + unread
            self._driver.begin(self._stream_job)
            if self._state >= CLOSED:  # while the first input was read: nothing was cancelled then
                self._stream_job.cancel()
            if self._own_driver:
                self._driver.close()  # it goes when the job is done

    def _receive(self) -> bool:
        """Take results that came from the pool; return whether any are ready.

        Raises what is due: the error of an item, of the input or of the call, or `_End`.
        """
        if self._state == OVER:
            raise _End
        if self._state == CLOSED:
            raise CancelledError(f"{self!r} was closed before its end")
        stream_job = self._stream_job
        if self._failure is not None:
            error, self._failure = self._failure, None
            raise self._failed(error)
        over = stream_job.over  # asked before: what came last came before the end
        part = stream_job.take(self._received)
        if part is not None:
            self._accept(part)
            return bool(self._ready) or self._receive()
        if self._input.ended and self._received == self._read:
            self._advance(OVER)
            raise self._input.error or _End
        if over:
            self._advance(OVER)
            raise stream_job.error or CancelledError(f"{self!r} has no more results")
        return False

    def _accept(self, part: "Part") -> None:
        values = part.values
        if part.failures:
            first = min(part.failures)
            self._failure = part.failures[first]
            behind = values[first + 1 :]
            if behind:
                others = {at - first - 1: e for at, e in part.failures.items() if at > first}
                self._stream_job.give_back(part.start + first + 1, behind, others)
            self._received += 1
            values = values[:first]
        self._received += len(values)
        values.reverse()
        self._ready = values

    def _failed(self, error: Exception) -> Exception:
        if not self._carry_on:
            self._advance(OVER)
            self._give_up()
            if _HOW_TO_GO_ON not in getattr(error, "__notes__", ()):
                error.add_note(_HOW_TO_GO_ON)
        return error

    # --- the end -------------------------------------------------------------------------------

    def close(self) -> None:
        """End what runs of it, and the input if that is a generator; returns when nothing runs.

        Asking for another result raises `CancelledError` then, unless there was none left.
        """
        self.drop()
        self._driver.await_end(self._stream_job)

    async def aclose(self) -> None:
        """Do what `close` does without blocking the event loop."""
        self.drop()
        await self.close_input()
        if self._stream_job.submitted:
            await self._stream_job.await_end()

    async def close_input(self) -> None:
        """End an asynchronous generator that is read, unless a task is just reading it."""
        if isinstance(self._input, AsyncInput) and not self._is_asked:
            await self._input.aclose()

    def drop(self) -> None:
        """Close it without waiting for anything. Any thread may do so, and a finaliser."""
        self._advance(CLOSED)
        self._give_up()

    def _give_up(self) -> None:
        """End what runs, and the input."""
        self._ready = []
        if self._stream_job.submitted:
            self._stream_job.cancel()
        if self._asking.acquire(blocking=False):
            try:
                if not self._is_asked:  # else its reader closes it when it is done
                    self._input.close()
            finally:
                self._asking.release()

    def read_on(self) -> None:
        """Read the input to its end, however long it is: the pool's `join` waits for the results.

        Only for plain input: no event loop runs here that could read an asynchronous one.
        """
        source = self._input
        with self._asking:
            if self._is_asked or not self._stream_job.submitted or isinstance(source, AsyncInput):
                return
            self._begin_asking()
            try:
                while not (self._state >= CLOSED or self._stream_job.over or source.ended):
                    self._submit(source.read(1 << 12))
            except BaseException:  # what was just read is lost
                self.drop()
                raise
            finally:
                self._end_asking()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        stream_job = getattr(self, "_stream_job", None)
        if stream_job is None or self._state >= CLOSED:
            return
        if self._state == NEW:
            import warnings

            warnings.warn(
                f"{self!r} was never asked for a result, so nothing has run",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )
        if stream_job.submitted:
            stream_job.cancel()

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            ordered = "IMapIterator" if self._ordered else "IMapUnorderedIterator"
            return class_of_both(type(self), ordered)

    def __reduce__(self) -> str:
        raise TypeError("a stream of results cannot be pickled: take its results, and send these")

    def __repr__(self) -> str:
        if self._state == OVER:
            state = "over"
        elif self._state == CLOSED:
            state = "closed"
        else:
            state = f"{self._read} read"
        return f"<ResultStream {self._stream_job.name} {self.taken} taken, {state}>"


class _SizedStream(ResultStream[R_co]):
    """A stream whose input has a length: so has the stream, and ``tqdm(stream)`` shows how much."""

    def __len__(self) -> int:
        left = self._left_to_take()
        if left is None:  # the input has thought better of it
            raise TypeError(f"{self!r} has no length: its input has none")
        return left

    def __bool__(self) -> bool:
        return True  # as any iterator, also at its end


_SizedStream.__name__ = _SizedStream.__qualname__ = ResultStream.__name__
_SizedStream.__module__ = "pmap"
