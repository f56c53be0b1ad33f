"""Coroutine functions in a worker: its event loop runs the items of a chunk at once."""

from __future__ import annotations

from .._transport.shadows import standard_library

TYPE_CHECKING = False  # see `light_stdlib`: workers import this
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Sequence
    from contextvars import Context
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")


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
            with standard_library:
                import asyncio

                _runner = asyncio.Runner()
                _runner.get_loop()  # it imports more of asyncio
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
                continue  # of a task that one of them started: what awaits that task has it, too

    async def _wait_for(self, index: int) -> tuple[bool, Any]:
        with standard_library:
            import asyncio

        if not self._tasks:
            loop = asyncio.get_running_loop()
            # A copy of the context for each: what one sets, the others do not see. (An empty one
            # counts as false.)
            given = self._context
            self._tasks = [
                loop.create_task(
                    _outcome(number, start, self._timeout),
                    context=None if given is None else given.copy(),
                )
                for number, start in enumerate(self._starts)
            ]
        return await self._tasks[index]

    def close(self) -> None:
        """End what still runs."""
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
    except BaseException as error:  # SystemExit, say, would end the loop and the others with it
        if limit.expired() and isinstance(error, TimeoutError):
            cancelled = error.__cause__ or error  # it knows where the coroutine was
            return False, TooLong().with_traceback(cancelled.__traceback__)
        return False, error
