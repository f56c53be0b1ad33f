"""`sync`, which makes a plain function of a coroutine function, so that workers can run it."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not imported, because workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")


class Sync:
    """A coroutine function as a plain function; `sync` returns an object of this class."""

    def __init__(self, f: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self.f = f
        for name in ("__name__", "__qualname__", "__doc__"):
            value = getattr(f, name, None)
            if value is not None:
                vars(self)[name] = value

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run one call to its end, in an event loop of its own, and return its result."""
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.f(*args, **kwargs))
        # This thread runs an event loop already, as in a notebook. A second loop has to run in
        # another thread.
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
    """Return the coroutine function `f` as a plain function, for the verbs.

    A worker process runs all items of a chunk at the same time, in an event loop that it keeps: 64
    items, if no `chunksize` is set. If the worker dies, all items that it was running are lost. The
    threads and serial backends run one item after the other.

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
    # Type checkers do not know that a `Sync` object has the parameters and the result of f.
    made: Any = Sync(f)
    plain: Callable[P, R] = made
    return plain


def _is_coroutine_function(f: object) -> bool:
    import inspect

    # `inspect` finds a coroutine function in a partial or a method, but does not look at the
    # `__call__` of an object.
    return inspect.iscoroutinefunction(f) or inspect.iscoroutinefunction(
        getattr(type(f), "__call__", None)  # noqa: B004 - the code, not whether
    )
