"""Lets a task of asyncio or of trio wait until another thread calls a function.

At run time this module finds out which of the two libraries runs the event loop. The module need
not import either library for that: the program that runs the loop has imported it.
"""

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


async def until(tell: Callable[[Callable[[], None]], object], seconds: float | None = None) -> None:
    """Wait until another thread has called the wake function, or until `seconds` are over.

    Args:
        tell: a function that is called once, with the wake function as its argument. Any thread may
            call the wake function at any time.
        seconds: how long to wait at most; None: without limit.
    """
    if _in_trio():
        await _until_in_trio(tell, seconds)
    else:
        await _until_in_asyncio(tell, seconds)


async def give_way() -> None:
    """Let other tasks of the event loop run once, and then return."""
    if _in_trio():
        import trio

        await trio.lowlevel.checkpoint()
    else:
        import asyncio

        await asyncio.sleep(0)


def spawn(f: Callable[[], Coroutine[Any, Any, None]]) -> "asyncio.Task[None]":
    """Start a task in the asyncio event loop that runs in this thread, and return the task.

    Raises:
        RuntimeError: no event loop of asyncio runs in this thread. An event loop of trio cannot be
            used: in trio, a task needs a nursery.
    """
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if loop is None or _in_trio():
        raise RuntimeError(
            "an asynchronous iterable can only be read where an event loop of asyncio runs; "
            "elsewhere go through it with `async for y in pmap.iter(f, xs)`"
        )
    return loop.create_task(f())


def in_running_loop(task: "asyncio.Task[None]") -> bool:
    """Return whether `task` belongs to the event loop that runs in this thread."""
    import asyncio

    try:
        return asyncio.get_running_loop() is task.get_loop()
    except RuntimeError:
        return False


def cancel_task(task: "asyncio.Task[None]") -> None:
    """Cancel `task`, from any thread."""
    try:
        task.get_loop().call_soon_threadsafe(task.cancel)
    except RuntimeError:
        pass  # the event loop is closed, so the task does not run any more


def _in_trio() -> bool:
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_task()
    except (RuntimeError, AttributeError):
        # no event loop of trio runs in this thread, or trio is just being imported
        return False
    return True


async def _until_in_asyncio(
    tell: Callable[[Callable[[], None]], object], seconds: float | None
) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    told: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(_set, told)
        except RuntimeError:
            pass  # the event loop is closed, so no task waits in it any more

    tell(wake)
    timer = None if seconds is None else loop.call_later(seconds, _set, told)
    try:
        await told
    finally:
        if timer is not None:
            timer.cancel()


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def _until_in_trio(
    tell: Callable[[Callable[[], None]], object], seconds: float | None
) -> None:
    import trio

    token = trio.lowlevel.current_trio_token()
    told = trio.Event()

    def wake() -> None:
        try:
            token.run_sync_soon(told.set)
        except trio.RunFinishedError:
            pass  # the event loop has ended, so no task waits in it any more

    tell(wake)
    with trio.move_on_after(float("inf") if seconds is None else seconds):
        await told.wait()
