"""Functions of several results: `gather`, `as_completed`, `failed`, `split`, `raise_failures`."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from .._calls.describe import short_repr
from .._calls.failure import Failure
from .._jobs.event_loops import until
from .._jobs.notifier import Notifier
from .._jobs.pending import Pending
from .._types import is_iterable
from .async_result import AsyncResult

if TYPE_CHECKING:
    from typing_extensions import TypeIs
else:  # `typing` has TypeIs from Python 3.13 on; in earlier versions TypeGuard stands for it
    from typing import TypeGuard as TypeIs

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@overload
def gather() -> AsyncResult[tuple[()]]: ...
@overload
def gather(a: AsyncResult[A], /) -> AsyncResult[tuple[A]]: ...
@overload
def gather(a: AsyncResult[A], b: AsyncResult[B], /) -> AsyncResult[tuple[A, B]]: ...
@overload
def gather(
    a: AsyncResult[A], b: AsyncResult[B], c: AsyncResult[C], /
) -> AsyncResult[tuple[A, B, C]]: ...
@overload
def gather(
    a: AsyncResult[A], b: AsyncResult[B], c: AsyncResult[C], d: AsyncResult[D], /
) -> AsyncResult[tuple[A, B, C, D]]: ...
@overload
def gather(
    a: AsyncResult[A],
    b: AsyncResult[B],
    c: AsyncResult[C],
    d: AsyncResult[D],
    e: AsyncResult[E],
    /,
) -> AsyncResult[tuple[A, B, C, D, E]]: ...
@overload
def gather(*results: AsyncResult[A]) -> AsyncResult[tuple[A, ...]]: ...
def gather(*results: AsyncResult[Any]) -> AsyncResult[tuple[Any, ...]]:
    """Return one handle for several calls. Its result is the tuple of their results.

    >>> from pmap import gather, papply_async
    >>> gather(papply_async(abs, -1), papply_async(str.upper, "a")).get()
    (1, 'A')

    If calls fail, the new handle fails with the exception of the first one, in the order given, as
    soon as all calls before that one are over. The other calls go on. Cancelling the new handle
    cancels all the calls.

    Args:
        *results: the handles of the calls. Their results may have different types.

    Returns:
        The new handle.

    Raises:
        TypeError: an argument is no `AsyncResult`.
    """
    _check_handles("gather", results)
    gathered = _Gathered(results)
    return AsyncResult(gathered, tuple)


def _check_iterable(results: object) -> None:
    if not is_iterable(results):
        raise TypeError(
            f"as_completed takes handles, as a list, and got {type(results).__name__}: "
            f"{short_repr(results)}"
        )


def _check_handles(name: str, results: Iterable[object]) -> None:
    """Raise a TypeError if an element of `results` is no `AsyncResult`."""
    for number, result in enumerate(results, 1):
        if not isinstance(result, AsyncResult):
            raise TypeError(
                f"{name}'s argument {number} must be an AsyncResult, got "
                f"{type(result).__name__}: {short_repr(result)}. papply_async(f, x) makes one"
            )


class _Gathered(Pending):
    """The outcome of several calls together; `gather` returns a handle of it."""

    def __init__(self, results: tuple[AsyncResult[Any], ...]) -> None:
        super().__init__()
        self._results = results
        for result in results:
            # `when_over` would be wrong here. While callbacks run, a call is over only for the
            # thread that runs them. If two calls ended at once, each callback would find the other
            # call not over, and nobody would notice that both are.
            result._pending.when_settled(self._look)
        self._look()

    @property
    def name(self) -> str:
        return "gather"

    def _look(self) -> None:
        """Find out whether the outcome is known now; several threads may call this at once."""
        for result in self._results:
            if not result.ready():
                return
            error = result.exception()
            if error is not None:
                self.error = error
                break
        else:
            self.values = [result.get() for result in self._results]
        self.settle()

    def progress(self) -> tuple[int, int]:
        return sum(r.done for r in self._results), sum(r.total for r in self._results)

    def _cancel(self) -> None:
        for result in self._results:
            result.cancel()

    def drive(self, enough: Callable[[], bool]) -> None:
        for result in self._results:
            if not (result.ready() or enough()):
                result._pending.drive(enough)


class Completed(Iterator[AsyncResult[R_co]], AsyncIterator[AsyncResult[R_co]], Generic[R_co]):
    """An iterator over handles in the order in which their calls end; ``async for`` takes it, too.

    `as_completed` returns one.
    """

    def __init__(self, results: Iterable[AsyncResult[R_co]]) -> None:
        _check_iterable(results)
        given = list(results)
        _check_handles("as_completed", given)
        self._open = deque(result._pending for result in given)
        # The handles that are not returned yet, by their places in the input.
        self._left = dict(enumerate(given))
        # The places of handles whose calls are over. If Ctrl-C has struck while a place was
        # appended, the place may be there twice.
        self._over: deque[int] = deque()
        self._notifier = Notifier()
        for place, result in enumerate(given):
            result._pending.when_settled(partial(self._take_in, place))

    def __reduce__(self) -> str:
        raise TypeError("handles of calls cannot be pickled: get their results, and send these")

    def _take_in(self, place: int) -> None:
        self._over.append(place)
        self._notifier.notify()

    def _some(self) -> bool:
        return bool(self._over)

    def _next(self) -> AsyncResult[R_co] | None:
        """Return a handle whose call is over, once; None if all that are over were returned."""
        while self._over:
            found = self._left.pop(self._over.popleft(), None)
            if found is not None:
                return found
        return None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> AsyncResult[R_co]:
        if not self._left:
            raise StopIteration
        while (found := self._next()) is None:
            # If no other thread can, this thread runs the loop of a pool while it waits: the pool
            # of the first call that is not over. If the calls are on several pools, the other pools
            # get their turn later.
            while self._open and self._open[0].over:
                self._open.popleft()
            if self._open:
                self._open[0].drive(self._some)
            self._notifier.wait(self._some)
        return found

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AsyncResult[R_co]:
        if not self._left:
            raise StopAsyncIteration
        while (found := self._next()) is None:
            await until(lambda wake: self._notifier.add(wake, self._some))
        return found


@overload
def as_completed(results: tuple[AsyncResult[A], AsyncResult[B]], /) -> Completed[A | B]: ...
@overload
def as_completed(
    results: tuple[AsyncResult[A], AsyncResult[B], AsyncResult[C]], /
) -> Completed[A | B | C]: ...
@overload
def as_completed(
    results: tuple[AsyncResult[A], AsyncResult[B], AsyncResult[C], AsyncResult[D]], /
) -> Completed[A | B | C | D]: ...
@overload
def as_completed(
    results: tuple[AsyncResult[A], AsyncResult[B], AsyncResult[C], AsyncResult[D], AsyncResult[E]],
    /,
) -> Completed[A | B | C | D | E]: ...
@overload
def as_completed(results: Iterable[AsyncResult[R]], /) -> Completed[R]: ...
def as_completed(results: Iterable[AsyncResult[Any]], /) -> Completed[Any]:
    """Return an iterator over the handles, in the order in which their calls end.

    >>> from pmap import as_completed, papply_async
    >>> sorted(later.get() for later in as_completed([papply_async(abs, x) for x in (-2, 1)]))
    [1, 2]

    Args:
        results: an iterable of handles, which is read to its end at once.

    Returns:
        An iterator over the same handles, for ``for`` and ``async for``.

    Raises:
        TypeError: `results` is no iterable, or has an element that is no `AsyncResult`.
    """
    return Completed(results)


def failed(result: object, /) -> TypeIs[Failure]:
    """Return whether `result`, which comes from a ``.collecting`` form of a verb, is a `Failure`.

    >>> from pmap import failed, pmap
    >>> [failed(result) for result in pmap.collecting(int, ["1", "x"])]
    [False, True]
    """
    return isinstance(result, Failure)


# `pcall.collecting` returns a tuple whose places have different types. Without the overloads for
# tuples, mypy would infer `object`, the common base class, as the type of the results. For a list
# of a union of types mypy still does so: it joins the types that remain for R, while pyright keeps
# the union, and no overload changes that. An annotation changes it, either of the list or of the
# variable to which the result is assigned; tests/typing has both.
@overload
def split(results: tuple[A | Failure, B | Failure], /) -> tuple[list[A | B], list[Failure]]: ...
@overload
def split(
    results: tuple[A | Failure, B | Failure, C | Failure], /
) -> tuple[list[A | B | C], list[Failure]]: ...
@overload
def split(
    results: tuple[A | Failure, B | Failure, C | Failure, D | Failure], /
) -> tuple[list[A | B | C | D], list[Failure]]: ...
@overload
def split(
    results: tuple[A | Failure, B | Failure, C | Failure, D | Failure, E | Failure], /
) -> tuple[list[A | B | C | D | E], list[Failure]]: ...
@overload
def split(results: Iterable[R | Failure], /) -> tuple[list[R], list[Failure]]: ...
def split(results: Iterable[Any], /) -> tuple[list[Any], list[Failure]]:
    """Return two lists: the results of the items that succeeded, and the failures.

    >>> from pmap import pmap, split
    >>> good, bad = split(pmap.collecting(int, ["1", "x", "3"]))
    >>> good, [failure.index for failure in bad]
    ([1, 3], [1])

    Args:
        results: what a ``.collecting`` form of a verb returned: a list, a tuple or a stream.

    Returns:
        The list of results and the list of failures, each in the order of `results`.
    """
    good: list[Any] = []
    bad: list[Failure] = []
    for result in results:
        if isinstance(result, Failure):
            bad.append(result)
        else:
            good.append(result)
    return good, bad


@overload
def raise_failures(results: tuple[A | Failure, B | Failure], /) -> list[A | B]: ...
@overload
def raise_failures(results: tuple[A | Failure, B | Failure, C | Failure], /) -> list[A | B | C]: ...
@overload
def raise_failures(
    results: tuple[A | Failure, B | Failure, C | Failure, D | Failure], /
) -> list[A | B | C | D]: ...
@overload
def raise_failures(
    results: tuple[A | Failure, B | Failure, C | Failure, D | Failure, E | Failure], /
) -> list[A | B | C | D | E]: ...
@overload
def raise_failures(results: Iterable[R | Failure], /) -> list[R]: ...
def raise_failures(results: Iterable[Any], /) -> list[Any]:
    """Return the results as a list if none is a failure; otherwise raise all failures together.

    >>> from pmap import pmap, raise_failures
    >>> raise_failures(pmap.collecting(int, ["1", "2"]))
    [1, 2]
    >>> try:
    ...     raise_failures(pmap.collecting(int, ["1", "x", "y"]))
    ... except* ValueError as group:
    ...     print(group.message, len(group.exceptions))
    2 of 3 items failed 2

    Args:
        results: what a ``.collecting`` form of a verb returned: a list, a tuple or a stream.

    Returns:
        A list of the results.

    Raises:
        ExceptionGroup: at least one item failed. It has the errors of all failures, in their order.
    """
    good, bad = split(results)
    if bad:
        total = len(good) + len(bad)
        raise ExceptionGroup(f"{len(bad)} of {total} items failed", [f.error for f in bad])
    return good
