"""ResultStream: a stream gives results as they come, and reads its input only when needed.

A stream has no thread of its own. When the consumer asks for a result and none is there, the
consumer's thread reads as many items of the input as `ReadAhead` says, gives these items to the
pool, and waits for a result. Meanwhile the pool runs the items that it has, and their results wait
in the `StreamJob`.
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
from .._jobs.own_frames import cut
from .._transport.light_stdlib import RLock, allocate_lock
from .standard import class_of_both
from .stream_states import CLOSED, NEW, OPEN, OVER

# The verbs import this module early. The modules of the engine are imported at the first call.
if TYPE_CHECKING:
    from .._engine.driver import Driver
    from .._jobs.stream_job import Part, StreamJob

R_co = TypeVar("R_co", covariant=True)

_HOW_TO_GO_ON = "pmap: the stream ends here; with .collecting, failures are values and it goes on"


# This lock guards the states of all streams. It is held for two lines that call nothing, so that no
# signal handler or finaliser can run in between: a handler might close a stream in the very thread
# that holds the lock.
_state_lock = allocate_lock()


def _renew_lock() -> None:
    """Make a new lock in a forked process: a thread of the parent may hold the old lock."""
    global _state_lock
    _state_lock = allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class _End(Exception):
    """Raised inside a stream when there are no more results."""


class ResultStream(Iterator[R_co], AsyncIterator[R_co], Generic[R_co]):
    """The results of a call as they come, for ``for`` or ``async for``; also usable by ``with``.

    >>> from itertools import count
    >>> from pmap import pmap
    >>> with pmap.iter(abs, count(-2)) as results:
    ...     [next(results) for _ in range(4)]
    [2, 1, 0, 1]

    The input is read in the thread that asks for a result, only while that thread asks, and never
    further ahead of the results taken than `buffersize`. Leaving the ``with`` block ends the items
    that run; so does dropping the stream, or an exception while a result is waited for (Ctrl-C, a
    cancelled task).
    """

    if not TYPE_CHECKING:  # only type checkers need the signature of `__init__`

        def __new__(cls, driver: "Driver", streamed: Streamed, **_: object) -> Self:
            # Only a stream whose input has a length is of a class with `__len__`: code may look for
            # the method, so streams without a length must not have it.
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
        # The import is not at the top, because `import pmap` imports this module and makes no
        # stream.
        from .read_ahead import ReadAhead

        self._driver = driver
        self._input = streamed.input
        self._window = streamed.window
        # Whether the stream goes on after a failed item, as the iterators of multiprocessing do.
        self._carry_on = drop_in
        # Whether the driver (the engine) serves only this stream; then it is closed when the stream
        # ends.
        self._own_driver = own_driver
        self._ordered = ordered
        # The pool gets items in multiples of this number, so that chunks are whole, as in
        # multiprocessing: if the input fails within a chunk, no item of that chunk runs.
        self._unit = (streamed.call.rules.chunksize or 1) if drop_in else 1
        if buffersize is not None:
            self._unit = min(self._unit, buffersize)
        # Items that were read and not given to the pool, because there are too few for a whole
        # chunk.
        self._incomplete: list[object] = []
        self._ready: list[R_co] = []  # results for the consumer, the next one at the end
        # The error that the consumer gets after the results in `_ready`.
        self._failure: Exception | None = None
        self._received = 0  # how many results have come; a failure counts as one
        self._read = 0  # how many items of the input were read
        self._state: int = NEW  # one of the states in the module `stream_states`
        # A thread holds this lock while it asks for a result, because two threads may share a
        # stream.
        self._asking = RLock()
        self._is_asked = False  # whether a thread or task is asking for a result at this moment
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
        """Set the state to `state`, unless another thread has set a later state already."""
        with _state_lock:
            if state > self._state:
                self._state = state

    # --- asking for a result -------------------------------------------------------------------

    def __next__(self) -> R_co:
        try:
            return self._ready.pop()
        except IndexError:
            pass  # `next` is called outside of this `except`: its errors have no `__context__`
        try:
            return self.next()
        except StopIteration:
            raise
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

    def next(self, timeout: float | None = None) -> R_co:
        """Return the next result.

        Args:
            timeout: seconds to wait for the result at most; None: as long as the result takes.
                The timeout does not interrupt the reading of input.

        Raises:
            StopIteration: there are no more results.
            multiprocessing.TimeoutError: the result was not there in time; ask again.
            CancelledError: the stream was closed, or its pool terminated.
            Exception: the exception that the function raised for this item; or, after all results,
                the exception that the input raised.
        """
        limit = None if timeout is None else seconds_to_wait(timeout)
        self._refuse_in_fork()
        with self._asking:
            self._begin_asking()
            try:
                return self._next_result(limit)
            except _End:
                pass
            except BaseException as error:
                # Ctrl-C may have come while the thread waited for a result. Then nobody wants the
                # stream any more.
                if not isinstance(error, Exception):
                    self.drop()
                __tracebackhide__ = cut(error)
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
            # The list has no lock, so another thread may have taken the result just now.
            with suppress(IndexError):
                return self._ready.pop()

    def _read_or_wait(self, source: Input, timeout: float | None, until: float | None) -> None:
        """Read some items of the input, or wait for results, whichever is better now."""
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
        except BaseException as error:
            # The task may have been cancelled while it waited for a result. Then nobody wants the
            # stream any more.
            if not isinstance(error, Exception):
                self.drop()
            __tracebackhide__ = cut(error)
            raise
        finally:
            self._end_asking()
        raise StopAsyncIteration

    async def _next_result_async(self) -> R_co:
        # Let other tasks run, even if this stream always has results ready.
        await give_way()
        while True:
            while not self._ready and not self._receive():
                await self._read_or_wait_async()
            if room := self._read_ahead.next_top_up(self._ahead):
                self._submit(await self._read_async(room))
            # Another thread may have taken the result from the list just now.
            with suppress(IndexError):
                return self._ready.pop()

    async def _read_or_wait_async(self) -> None:
        room, pause = self._next_move()
        if room:
            self._submit(await self._read_async(room))
            # Let other tasks run: none could while a plain iterable was read.
            await give_way()
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
        # The process id is checked before the thread asks for the lock. In a forked process, a
        # thread that does not exist there may hold the lock for ever.
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

    # --- reading input and receiving results ---------------------------------------------------

    @property
    def taken(self) -> int:
        """How many results the consumer has taken; a failure that was raised counts as a result."""
        return self._received - len(self._ready) - (self._failure is not None)

    @property
    def read(self) -> int:
        """How many items of the input the stream has read."""
        return self._read

    def __length_hint__(self) -> int:
        """Return how many results are still to come, if the length of the input is known."""
        left = self._left_to_take()
        return NotImplemented if left is None else left

    def _left_to_take(self) -> int | None:
        if self._state >= CLOSED:
            return 0
        unread = self._input.left(self._read, only_reliable=True)
        return None if unread is None else self._read - self.taken + unread

    @property
    def _ahead(self) -> int:
        """How many items were read for which the consumer has not taken the result yet."""
        return self._read - self.taken

    def _next_move(self) -> tuple[int, float | None]:
        """Return how many items to read now; if 0, also how many seconds to wait for results."""
        if not self._stream_job.submitted:
            # A closed pool raises its error here, before any input is read.
            self._driver.take_no_more()
        under_way = self._read - self._received > len(self._incomplete)
        return self._read_ahead.next_read(self._ahead, under_way)

    def _submit(self, items: list[object]) -> None:
        """Give the pool items that were read, in a multiple of `_unit`, and keep the rest."""
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
            try:
                self.begin()
                self._driver.feed(self._stream_job, self._window, items, source.ended)
            except BaseException:
                # The items that were read have not reached the pool, so their results would be
                # missing. For example, the checkpoint may be unreadable. So the stream is closed.
                self.drop()
                raise

    def begin(self) -> None:
        """Hand the call to the engine without any input; the engine gets items later."""
        if not self._stream_job.submitted:
            if self._stream_job.call.progress is not False:
                unread = self._input.left(self._read, only_reliable=False)
                self._stream_job.expected = None if unread is None else self._read + unread
            self._driver.begin(self._stream_job)
            # The stream may have been closed while its first input was read. At that time the job
            # was not submitted, so it could not be cancelled.
            if self._state >= CLOSED:
                self._stream_job.cancel()
            if self._own_driver:
                # The driver (the engine) takes no new calls from now on, but it finishes this one.
                self._driver.close()

    def _receive(self) -> bool:
        """Take results that have come from the pool; return whether there are any.

        If the next result is an error (of an item, the input or the call), raise the error. If
        there are no more results, raise `_End`.
        """
        if self._state == OVER:
            raise _End
        if self._state == CLOSED:
            raise CancelledError(f"{self!r} was closed before its end")
        stream_job = self._stream_job
        if self._failure is not None:
            error, self._failure = self._failure, None
            raise self._failed(error)
        # `over` is read before the results. The last results come before the job is over, so if it
        # is over, `take` finds them.
        over = stream_job.over
        part = stream_job.take(self._received)
        if part is not None:
            self._accept(part)
            return bool(self._ready) or self._receive()
        if self._input.ended and self._received == self._read:
            call = stream_job.call
            if not over and (call.keeper is not None or call.trace is not None):
                # The job is over only when the checkpoint file has its last results, and when its
                # trace has the end of the call.
                return False
            self._advance(OVER)
            self._end_progress()
            raise self._input.error or stream_job.unkept or _End
        if over:
            if stream_job.late is not None and self._left_to_take() is not None:
                # The deadline has passed, and the input has a length, so each item gets a result:
                # items that are read from now on fail at once.
                return False
            self._advance(OVER)
            self._end_progress()
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

    def _end_progress(self) -> None:
        """Make the last update of the progress, if the progress is shown at all.

        The engine does this, too, at the end of the call. But the consumer may take the last result
        earlier, and the next bar of the program should be drawn below a bar that is closed.
        """
        if self._stream_job.call.progress is not False:
            from .._jobs.progress import watch_no_more

            watch_no_more(self._stream_job)

    def _failed(self, error: Exception) -> Exception:
        if not self._carry_on:
            self._advance(OVER)
            self._give_up()
            self._end_progress()
            if _HOW_TO_GO_ON not in getattr(error, "__notes__", ()):
                error.add_note(_HOW_TO_GO_ON)
        return error

    # --- ending the stream ---------------------------------------------------------------------

    def close(self) -> None:
        """End the items that run, and close the input if it is a generator.

        The method returns when no item of the stream runs any more. Later calls of ``next`` raise
        `CancelledError`, unless no result was left.
        """
        self.drop()
        self._driver.await_end(self._stream_job)

    async def aclose(self) -> None:
        """Close the stream as `close` does, without blocking the event loop."""
        self.drop()
        await self.close_input()
        if self._stream_job.submitted:
            await self._stream_job.await_end()

    async def close_input(self) -> None:
        """Close the input if it is an asynchronous generator that no task is reading."""
        if isinstance(self._input, AsyncInput) and not self._is_asked:
            await self._input.aclose()

    def drop(self) -> None:
        """Close the stream without waiting.

        Any thread and any finaliser may call this method.
        """
        self._advance(CLOSED)
        self._give_up()

    def _give_up(self) -> None:
        """Cancel the call, and close the input of the stream."""
        self._ready = []
        if self._stream_job.submitted:
            self._stream_job.cancel()
        if self._asking.acquire(blocking=False):
            try:
                # If another thread is reading the input at this moment, that thread closes it
                # later.
                if not self._is_asked:
                    self._input.close()
            finally:
                self._asking.release()

    def read_on(self) -> None:
        """Read the input to its end, however long it is, because `Pool.join` waits for the results.

        An asynchronous input is not read: no event loop runs here that could read the input.
        """
        source = self._input
        with self._asking:
            if self._is_asked or not self._stream_job.submitted or isinstance(source, AsyncInput):
                return
            self._begin_asking()
            try:
                while not (self._state >= CLOSED or self._stream_job.over or source.ended):
                    self._submit(source.read(1 << 12))
            except BaseException:  # the items just read are lost, so the stream cannot go on
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
    """A stream whose input has a length: ``len(stream)`` is the number of results still to come."""

    def __len__(self) -> int:
        left = self._left_to_take()
        if left is None:  # the input had a length when the stream was made, and has none any more
            raise TypeError(f"{self!r} has no length: its input has none")
        return left

    def __bool__(self) -> bool:
        return True  # like any other iterator, a stream is true even when no result is left


_SizedStream.__name__ = _SizedStream.__qualname__ = ResultStream.__name__
_SizedStream.__module__ = "pmap"
