"""Coroutine functions in a worker: an event loop runs all items of a chunk at the same time."""

from __future__ import annotations

from .._transport.shadows import standard_library

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Sequence
    from contextvars import Context
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")


class TooLong(Exception):
    """Raised if the coroutine of an item has run for longer than the call's time limit."""


_runner: asyncio.Runner | None = None


class AtOnce:
    """The items of a chunk as coroutines, which run in the event loop of this process.

    All coroutines begin together; the worker asks for their results in the order of the items.
    """

    def __init__(
        self,
        starts: Sequence[Callable[[], Coroutine[Any, Any, Any]]],
        context: Context | None,
        timeout: float | None,
    ) -> None:
        """Make the coroutines ready; all of them begin when the first result is asked for.

        Args:
            starts: for each item, a function that returns the item's coroutine.
            context: the context of which each coroutine gets a copy; None: a copy of the current
                context.
            timeout: seconds that each coroutine may run; after these the outcome is `TooLong`.
                None: a coroutine may run for any time.
        """
        global _runner
        if _runner is None:
            with standard_library:
                import asyncio

                _runner = asyncio.Runner()
                # Making the event loop imports standard modules. It is made here, where imports
                # find these, and not modules of the user with the same names.
                _runner.get_loop()
        self._runner = _runner
        self.starts = starts
        self._context = context
        self._timeout = timeout
        self._tasks: list[asyncio.Task[tuple[bool, Any]]] = []

    def result(self, index: int) -> object:
        """Wait for the coroutine at `index`; return what it returns, or raise what it raises."""
        good, value = self._run(lambda: self._wait_for(index))
        if good:
            return value
        raise value

    def _run(self, start: Callable[[], Coroutine[Any, Any, R]]) -> R:
        while True:
            try:
                return self._runner.run(start())
            except (SystemExit, KeyboardInterrupt):
                # A task that some coroutine has started raised this exception. The coroutine that
                # awaits the task gets it, too, so the wait for the results goes on here.
                continue

    async def _wait_for(self, index: int) -> tuple[bool, Any]:
        with standard_library:
            import asyncio

        if not self._tasks:
            loop = asyncio.get_running_loop()
            # Each coroutine gets its own copy of the context, so that no coroutine sees the context
            # variables that another one sets. The test is for None, because an empty context is
            # false.
            given = self._context
            self._tasks = [
                loop.create_task(
                    _outcome(number, start, self._timeout),
                    context=None if given is None else given.copy(),
                )
                for number, start in enumerate(self.starts)
            ]
        return await self._tasks[index]

    def close(self) -> None:
        """Cancel the coroutines that still run, and wait for their end."""
        if any(not task.done() for task in self._tasks):
            self._run(self._end)

    async def _end(self) -> None:
        with standard_library:
            import asyncio

        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


async def _outcome(
    number: int,  # noqa: ARG001  # see `running_item`
    start: Callable[[], Coroutine[Any, Any, Any]],
    seconds: float | None,
) -> tuple[bool, Any]:
    with standard_library:
        import asyncio

    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return True, await start()
    except BaseException as error:
        # An exception such as SystemExit would end the event loop and so the coroutines of all
        # other items. Therefore every exception is returned as an outcome.
        if limit.expired() and isinstance(error, TimeoutError):
            # The cause of a TimeoutError is the CancelledError, whose traceback leads to the line
            # at which the coroutine was cancelled.
            cancelled = error.__cause__ or error
            return False, TooLong().with_traceback(cancelled.__traceback__)
        return False, error
