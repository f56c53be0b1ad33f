"""Coroutine functions for workers: each has an event loop, and runs a chunk of items at once."""

from __future__ import annotations

TYPE_CHECKING = False  # see `light_stdlib`: workers import this
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Sequence
    from contextvars import Context
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")


class Sync:
    """A coroutine function that is called like a plain one."""

    def __init__(self, f: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self.f = f
        for name in ("__name__", "__qualname__", "__doc__"):
            value = getattr(f, name, None)
            if value is not None:
                vars(self)[name] = value

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run one call to its end, in an event loop of its own."""
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.f(*args, **kwargs))
        # Within a loop, as in a notebook, another one can only run in another thread.
        from concurrent.futures import ThreadPoolExecutor
        from contextvars import copy_context

        with ThreadPoolExecutor(1) as thread:
            call = self.f(*args, **kwargs)
            return thread.submit(copy_context().run, asyncio.run, call).result()

    def __reduce__(self) -> tuple[object, ...]:
        return Sync, (self.f,)

    def __repr__(self) -> str:
        return f"sync({getattr(self.f, '__qualname__', None) or repr(self.f)})"


def sync(f: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, R]:
    """Return the coroutine function `f` as a plain one, for the verbs.

    In a worker process it runs in an event loop that the worker keeps, and the items of a chunk run
    there at once: 64 of them, if no `chunksize` says otherwise. If the worker dies, those that
    run there are lost together. Threads, and the serial backend, run one item after the other.

    >>> import asyncio
    >>> from pmap import pmap, sync
    >>> async def double(x: int) -> int:
    ...     await asyncio.sleep(0.01)
    ...     return 2 * x
    >>> pmap(sync(double), range(5))
    [0, 2, 4, 6, 8]

    Args:
        f: a coroutine function.

    Returns:
        A function of the same parameters that returns what the coroutine returns.

    Raises:
        TypeError: `f` is no coroutine function.
    """
    if not _is_coroutine_function(f):
        raise TypeError(
            f"sync takes a coroutine function (async def), got {type(f).__name__}: {f!r}"
        )
    made: Any = Sync(f)  # its own class knows neither parameters nor result
    plain: Callable[P, R] = made
    return plain


def _is_coroutine_function(f: object) -> bool:
    import inspect

    # inspect looks through partials and methods by itself, but not at an object that is called.
    return inspect.iscoroutinefunction(f) or inspect.iscoroutinefunction(
        getattr(type(f), "__call__", None)  # noqa: B004 - the code, not whether
    )


class TooLong(Exception):
    """A coroutine ran for longer than it may."""


_runner: asyncio.Runner | None = None


class AtOnce:
    """Several calls that run in this process's event loop, all begun, ended in order."""

    def __init__(
        self,
        starts: Sequence[Callable[[], Coroutine[Any, Any, Any]]],
        context: Context | None,
        timeout: float | None,
    ) -> None:
        """Make them ready; they begin when the first result is asked for.

        `timeout`: seconds that each may run; `TooLong` is what then comes of it.
        """
        global _runner
        if _runner is None:
            import asyncio

            _runner = asyncio.Runner()
        self._runner = _runner
        self._starts = starts
        self._context = context
        self._timeout = timeout
        self._tasks: list[asyncio.Task[tuple[bool, Any]]] = []

    def result(self, index: int) -> object:
        """Return what the call at `index` returns, when it does; raise what it raises."""
        good, value = self._run(lambda: self._wait_for(index))
        if good:
            return value
        raise value

    def _run(self, start: Callable[[], Coroutine[Any, Any, R]]) -> R:
        while True:
            try:
                return self._runner.run(start())
            except (SystemExit, KeyboardInterrupt):
                continue  # of a task that one of them started: whoever awaits that has it, too

    async def _wait_for(self, index: int) -> tuple[bool, Any]:
        import asyncio

        if not self._tasks:
            loop = asyncio.get_running_loop()
            # A copy of the context for each: what one sets, the others do not see.
            self._tasks = [
                loop.create_task(
                    _outcome(start, self._timeout), context=self._context and self._context.copy()
                )
                for start in self._starts
            ]
        return await self._tasks[index]

    def close(self) -> None:
        """End what still runs."""
        if any(not task.done() for task in self._tasks):
            self._run(self._end)

    async def _end(self) -> None:
        import asyncio

        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


async def _outcome(
    start: Callable[[], Coroutine[Any, Any, Any]], seconds: float | None
) -> tuple[bool, Any]:
    import asyncio

    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return True, await start()
    except BaseException as error:  # SystemExit, say, would end the loop and the others with it
        if limit.expired() and isinstance(error, TimeoutError):
            cancelled = error.__cause__ or error  # it knows where the coroutine was
            return False, TooLong().with_traceback(cancelled.__traceback__)
        return False, error
