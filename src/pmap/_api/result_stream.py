"""ResultStream: results as they come, input as it is needed.

Nothing here runs by itself. When the consumer asks for a result and none is there, its own thread
reads input, as far as the buffer has room, and hands it to the pool; then it waits. In between the
pool works on what it has, and the results wait in the `StreamJob`.
"""

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from .._calls.arguments import seconds_to_wait
from .._calls.call import Streamed
from .._calls.consumer_pace import ConsumerPace
from .._calls.input import SLICE, AsyncInput, Input
from .._errors import CancelledError, PoolClosedError
from .._jobs.event_loops import give_way, until
from .._transport.light_stdlib import RLock
from .standard import class_of_both

if TYPE_CHECKING:  # the verbs name this class, and leave the pool for the first call
    from .._engine.driver import Driver
    from .._jobs.stream_job import Part, StreamJob

R_co = TypeVar("R_co", covariant=True)

# Where reading is slow, how much of the time that it takes is first spent on waiting for results.
_WAIT_SHARE = 0.25
_HOW_TO_GO_ON = "pmap: the stream ends here; with .collecting, failures are values and it goes on"


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
        self._driver = driver
        self._input = streamed.input
        self._window = streamed.window
        self._buffersize = buffersize
        self._carry_on = drop_in
        self._own_driver = own_driver
        self._ordered = ordered
        # How many items go together, as far as the drop-in promises it: of a chunk that the input
        # fails in, nothing is run.
        self._unit = (streamed.call.rules.chunksize or 1) if drop_in else 1
        self._held: list[object] = []  # read, but not a whole unit yet
        self._hand: list[R_co] = []  # results that are next, the last one first
        self._failure: Exception | None = None  # what comes behind those in hand
        self._given = 0  # results that came to hand, or were raised
        self._read = 0
        self._begun = False
        self._asked = False
        self._closed = False
        self._over = False
        self._waited = False
        self._asking = RLock()  # two threads may share a stream
        self._inside = False
        self._pid = os.getpid()
        self._stream_job: StreamJob = driver.open(
            streamed.call, streamed.window, ordered=ordered, as_values=as_values
        )
        self._least = self._stream_job.ahead  # worth reading ahead whatever is known of items later
        self._pace = ConsumerPace()
        self._left = perf_counter()  # when the consumer went away last
        self._had = 0  # results that were taken when it asked last

    # --- asking --------------------------------------------------------------------------------

    def __next__(self) -> R_co:
        try:
            return self._hand.pop()
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
        self._stay_home()
        with self._asking:
            self._go_in()
            try:
                return self._ask(limit)
            except _End:
                pass
            except Exception:
                raise
            except BaseException:  # Ctrl-C: what was asked for is not wanted any more
                self.drop()
                raise
            finally:
                self._go_out()
        raise StopIteration

    def _ask(self, timeout: float | None) -> R_co:
        source = self._input
        if isinstance(source, AsyncInput):
            raise TypeError(
                f"the input of {self!r} is asynchronous: take its results by `async for`"
            )
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            while not self._hand and not self._take_up():
                self._go_on(source, timeout, until)
            if room := self._room_to_top_up():
                self._feed(source.read(room))
            # Another thread may have taken what was in hand: it needs no lock for that.
            with suppress(IndexError):
                return self._hand.pop()

    def _go_on(self, source: Input, timeout: float | None, until: float | None) -> None:
        """Read some input, or wait for results."""
        room, pause = self._next_move()
        if room:
            self._feed(source.read(room))
            return
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            from .._multiprocessing_errors import ResultTimeoutError

            raise ResultTimeoutError(f"{self!r} had no result within {timeout:g} seconds")
        waits = [wait for wait in (left, pause) if wait is not None]
        self._driver.await_more(self._stream_job, self._given, min(waits, default=None))

    def __iter__(self) -> Self:
        return self

    async def __anext__(self) -> R_co:
        try:
            return self._hand.pop()
        except IndexError:
            pass
        self._stay_home()
        self._go_in()
        try:
            return await self._ask_async()
        except _End:
            pass
        except Exception:
            raise
        except BaseException:  # the task was cancelled, or timed out
            self.drop()
            raise
        finally:
            self._go_out()
        raise StopAsyncIteration

    async def _ask_async(self) -> R_co:
        await give_way()  # a stream whose results are always there must not starve the others
        while True:
            while not self._hand and not self._take_up():
                await self._go_on_async()
            if room := self._room_to_top_up():
                self._feed(await self._read_async(room))
            with suppress(IndexError):  # a thread may have taken it
                return self._hand.pop()

    async def _go_on_async(self) -> None:
        room, pause = self._next_move()
        if room:
            self._feed(await self._read_async(room))
            await give_way()  # reading a plain iterable has kept the loop from turning
            return
        self._driver.tend(self._stream_job)
        try:
            await until(lambda wake: self._stream_job.tell(wake, self._given), pause)
        finally:
            self._stream_job.resting = True

    async def _read_async(self, room: int) -> list[object]:
        source = self._input
        return await source.read(room) if isinstance(source, AsyncInput) else source.read(room)

    def __aiter__(self) -> Self:
        return self

    def _stay_home(self) -> None:
        # Before the lock is asked for: it may have been held by a thread that is not here.
        if os.getpid() != self._pid:
            raise PoolClosedError(
                f"no result comes from {self!r}: it belongs to the process {self._pid} that this "
                "one was forked from"
            )

    def _go_in(self) -> None:
        if self._inside:
            raise RuntimeError(
                f"{self!r} is asked for a result while it is being asked for one: by its own "
                "input, by a signal handler, or by two tasks at once"
            )
        self._inside = self._asked = True
        had, self._had = self._had, self.taken
        self._pace.took(self._had - had, perf_counter() - self._left)

    def _go_out(self) -> None:
        self._left = perf_counter()
        self._inside = False
        if self._closed or self._over:
            self._input.close()

    # --- what to do next -----------------------------------------------------------------------

    @property
    def taken(self) -> int:
        """How many results were taken; a failure that was raised counts."""
        return self._given - len(self._hand) - (self._failure is not None)

    @property
    def read(self) -> int:
        """How many items of the input were read."""
        return self._read

    def __length_hint__(self) -> int:
        """Return how many results are still to come, if the input says how long it is."""
        left = self._left_to_take()
        return NotImplemented if left is None else left

    def _left_to_take(self) -> int | None:
        if self._over or self._closed:
            return 0
        unread = self._input.left(self._read)
        return None if unread is None else self._read - self.taken + unread

    def _ahead(self) -> int:
        """Return how many items to have read ahead of what was taken."""
        if self._buffersize is not None:
            return self._buffersize
        return self._pace.asks_for(self._stream_job.ahead, self._least)

    def _room(self) -> int:
        if self._input.ended:
            return 0
        return max(0, self._ahead() - (self._read - self.taken))

    def _next_move(self) -> tuple[int, float | None]:
        """Return how many items to read now, or 0 and how long to wait for results."""
        if not self._begun:
            self._driver.take_no_more()  # nothing is read for a pool that is closed
        room = self._room()
        if not room:
            return 0, None
        # Reading that takes long would hold up a result that comes meanwhile. So give those under
        # way a moment first, unless an item takes longer than reading the next one.
        pace, cost = self._input.pace.seconds, self._stream_job.cost
        under_way = self._read - self._given > len(self._held)
        slow = pace is not None and pace > SLICE and (cost is None or cost < pace)
        if slow and under_way and not self._waited:
            self._waited = True
            if self._driver.backend.runs_in_poll:
                return 0, None  # to wait is to run them, in this very thread
            return 0, _WAIT_SHARE * (pace or 0.0)
        return room, None

    def _room_to_top_up(self) -> int:
        """Return how many items to read although a result is there: none if that may take long."""
        pace = self._input.pace.seconds
        if pace is None or pace > SLICE:
            return 0
        room = self._room()
        return room if room * 4 >= self._ahead() else 0

    def _feed(self, items: list[object]) -> None:
        self._waited = False
        self._read += len(items)
        source = self._input
        if self._unit > 1:
            items = self._held + items
            unit = min(self._unit, self._buffersize or self._unit)
            whole = len(items) if source.ended and not source.error else len(items) // unit * unit
            items, self._held = items[:whole], items[whole:]
            if source.error:
                self._read -= len(self._held)
                self._held = []
        if items or source.ended:
            self.begin()
            self._driver.feed(self._stream_job, self._window, items, source.ended)

    def begin(self) -> None:
        """Begin, with no input yet; it is done by itself when the first result is asked for."""
        if not self._begun:
            self._begun = True
            if self._stream_job.call.progress is not False:
                unread = self._input.left(self._read)
                self._stream_job.expected = None if unread is None else self._read + unread
            self._driver.begin(self._stream_job)
            if self._closed:  # while the first input was read: there was nothing to cancel yet
                self._stream_job.cancel()
            if self._own_driver:
                self._driver.close()  # it goes when the job is done

    def _take_up(self) -> bool:
        """Take results that came to hand; return whether there are any. Raises what is due."""
        if self._over:
            raise _End
        if self._closed:
            raise CancelledError(f"{self!r} was closed before its end")
        stream_job = self._stream_job
        if self._failure is not None:
            error, self._failure = self._failure, None
            raise self._failed(error)
        over = stream_job.over  # asked before: what came last came before the end
        part = stream_job.take(self._given)
        if part is not None:
            self._accept(part)
            return bool(self._hand) or self._take_up()
        if self._input.ended and self._given == self._read:
            self._over = True
            raise self._input.error or _End
        if over:
            self._over = True
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
            self._given += 1
            values = values[:first]
        self._given += len(values)
        values.reverse()
        self._hand = values

    def _failed(self, error: Exception) -> Exception:
        if not self._carry_on:
            self._over = True
            self.drop()
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
        if self._begun:
            await self._stream_job.await_end()

    async def close_input(self) -> None:
        """End an asynchronous generator that is read, unless a task is just reading it."""
        if isinstance(self._input, AsyncInput) and not self._inside:
            await self._input.aclose()

    def drop(self) -> None:
        """Give it up, without waiting for anything. Any thread may do so, and a finaliser."""
        self._closed = True
        self._hand = []
        if self._begun:
            self._stream_job.cancel()
        if self._asking.acquire(blocking=False):
            try:
                if not self._inside:  # else it is closed when its reader comes out
                    self._input.close()
            finally:
                self._asking.release()

    def read_on(self) -> None:
        """Read the input to its end, however long it is: the pool's `join` waits for the results.

        Only for plain input: nobody could wait here for an asynchronous one.
        """
        source = self._input
        with self._asking:
            if self._inside or not self._begun or isinstance(source, AsyncInput):
                return
            self._go_in()
            try:
                while not (self._closed or self._stream_job.over or source.ended):
                    self._feed(source.read(1 << 12))
            except BaseException:  # what was just read is lost
                self.drop()
                raise
            finally:
                self._go_out()

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
        if stream_job is None or self._closed or self._over:
            return
        if not self._asked:
            import warnings

            warnings.warn(
                f"{self!r} was never asked for a result, so nothing has run",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )
        if self._begun:
            stream_job.cancel()

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            ordered = "IMapIterator" if self._ordered else "IMapUnorderedIterator"
            return class_of_both(type(self), ordered)

    def __reduce__(self) -> str:
        raise TypeError("a stream of results cannot be pickled: take its results, and send these")

    def __repr__(self) -> str:
        if self._over:
            state = "over"
        elif self._closed:
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
