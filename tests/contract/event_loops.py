"""Asyncio and trio, by the same names: tasks beside each other, cancelling, time that is over."""

import asyncio
import gc
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeAlias, TypeVar

import pytest
import trio
from tests.files import marks

T = TypeVar("T")
Main: TypeAlias = Callable[[], Coroutine[Any, Any, T]]


class Task(ABC, Generic[T]):
    """A task beside others, which can be cancelled alone and keeps what came of it."""

    def __init__(self) -> None:
        self.cancelled = False  # it ended because of `cancel`
        self._results: list[T] = []
        self._error: Exception | None = None

    async def _keep(self, function: Main[T]) -> None:
        try:
            self._results.append(await function())
        except Exception as error:
            self._error = error

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.cancelled or bool(self._results) or self._error is not None

    @abstractmethod
    def cancel(self) -> None:
        """Cancel it."""

    @abstractmethod
    async def wait(self) -> None:
        """Return when it has ended, in one way or another."""

    async def result(self) -> T:
        """Return what it returns, or raise what it raises."""
        await self.wait()
        if self._error is not None:
            raise self._error
        assert not self.cancelled
        return self._results[0]


class Tasks(ABC):
    """Tasks that end with a block: a task group, or a nursery."""

    @abstractmethod
    def start_soon(self, function: Main[Any]) -> None:
        """Start a task; if that fails, all others are cancelled."""

    @abstractmethod
    def start(self, function: Main[T]) -> Task[T]:
        """Start a task that can be waited for and cancelled."""


class Scope:
    """A block that is left when its time is over."""

    expired = False  # it was left because of that


class EventLoop(ABC):
    """What asyncio and trio both have."""

    name: str

    @abstractmethod
    def run(self, main: Main[T]) -> T:
        """Run `main` in a new event loop."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Sleep."""

    @abstractmethod
    def tasks(self) -> AbstractAsyncContextManager[Tasks]:
        """Return a block whose tasks are over when it is left."""

    @abstractmethod
    def move_on_after(self, seconds: float) -> AbstractAsyncContextManager[Scope]:
        """Return a block that is cancelled after some time, and is left then without an error."""

    async def begun(self, folder: Path, *names: str) -> None:
        """Return when items have begun, without blocking the loop; tasks that wait have, too."""
        await self.sleep(0)
        while not {*names} <= {*marks(folder)}:
            await self.sleep(0.002)

    async def until(self, event: threading.Event) -> None:
        """Return when another thread has set `event`, without blocking the loop."""
        while not event.is_set():
            await self.sleep(0.002)


@contextmanager
def nothing_logged(caplog: pytest.LogCaptureFixture) -> Generator[None]:
    """Fail if a callback of an event loop takes long, or raises: that is logged."""
    with caplog.at_level(logging.WARNING):
        yield
    gc.collect()  # what was never retrieved, or destroyed too early, says so now
    assert not [r.getMessage() for r in caplog.records if r.name != "pmap.expected"]


# --- asyncio -------------------------------------------------------------------------------------


class _AsyncioTask(Task[T]):
    def __init__(self, group: asyncio.TaskGroup, function: Main[T]) -> None:
        super().__init__()
        self._task = group.create_task(self._keep(function))

    def cancel(self) -> None:
        self._task.cancel()

    async def wait(self) -> None:
        await asyncio.wait([self._task])
        self.cancelled = self._task.cancelled()


class _AsyncioTasks(Tasks):
    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group

    def start_soon(self, function: Main[Any]) -> None:
        self._group.create_task(function())

    def start(self, function: Main[T]) -> Task[T]:
        return _AsyncioTask(self._group, function)


class Asyncio(EventLoop):
    """An event loop of asyncio that watches itself: a callback that takes long is logged."""

    name = "asyncio"

    def run(self, main: Main[T]) -> T:
        return asyncio.run(main(), debug=True)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def tasks(self) -> AsyncGenerator[Tasks]:
        async with asyncio.TaskGroup() as group:
            yield _AsyncioTasks(group)

    @asynccontextmanager
    async def move_on_after(self, seconds: float) -> AsyncGenerator[Scope]:
        scope = Scope()
        timeout = asyncio.timeout(seconds)
        try:
            async with timeout:
                yield scope
        except TimeoutError:
            scope.expired = timeout.expired()
            if not scope.expired:
                raise


# --- trio ----------------------------------------------------------------------------------------


class _TrioTask(Task[T]):
    def __init__(self, nursery: trio.Nursery, function: Main[T]) -> None:
        super().__init__()
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        nursery.start_soon(self._run, function)

    async def _run(self, function: Main[T]) -> None:
        try:
            with self._scope:
                await self._keep(function)
        finally:
            self.cancelled = self._scope.cancelled_caught
            self._over.set()

    def cancel(self) -> None:
        self._scope.cancel()

    async def wait(self) -> None:
        await self._over.wait()


class _TrioTasks(Tasks):
    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(self, function: Main[Any]) -> None:
        self._nursery.start_soon(function)

    def start(self, function: Main[T]) -> Task[T]:
        return _TrioTask(self._nursery, function)


class Trio(EventLoop):
    """A run of trio."""

    name = "trio"

    def run(self, main: Main[T]) -> T:
        return trio.run(main)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    @asynccontextmanager
    async def tasks(self) -> AsyncGenerator[Tasks]:
        async with trio.open_nursery() as nursery:
            yield _TrioTasks(nursery)

    @asynccontextmanager
    async def move_on_after(self, seconds: float) -> AsyncGenerator[Scope]:
        scope = Scope()
        with trio.move_on_after(seconds) as inner:
            yield scope
        scope.expired = inner.cancelled_caught


EVENT_LOOPS: Final[tuple[EventLoop, ...]] = (Asyncio(), Trio())
