"""The peers behind one interface, each used as its documentation shows, with its own defaults.

All have the same number of workers, and those that let one choose begin them by forkserver, which
is the default of pmap.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import get_context
from typing import Any, Final, TypeVar

import pmap as ours

T = TypeVar("T")
R = TypeVar("R")


class UnableError(Exception):
    """The peer has no such thing."""


class Peer(ABC):
    """A pool of workers, or something like it.

    `most` is how many tiny items it is given at most. By default some send each item as a message
    of its own, and a million of them would take minutes; their time is that of one item, which is
    the same, however many there are. `sends_closures`: it pickles functions that have no name.
    """

    most: int = 1_000_000
    sends_closures: bool = False

    @abstractmethod
    def map(self, f: Callable[[T], R], items: Sequence[T], chunksize: int | None = None) -> list[R]:
        """Return what `f` makes of each item, in order."""

    def stream(
        self, f: Callable[[T], R], items: Iterable[T], chunksize: int | None = None
    ) -> Iterator[R]:
        """Give the results as they come, in order.

        `chunksize` is for those whose default is to send items one by one.
        """
        raise UnableError

    def submit(self, f: Callable[[T], R], item: T) -> Callable[[], R]:
        """Ask for one call; what is returned waits for its result."""
        raise UnableError

    def call(self, f: Callable[[T], R], item: T) -> R:
        """Call and wait."""
        return self.submit(f, item)()

    def awaitable(self, f: Callable[[T], R], item: T) -> Awaitable[R]:
        """Ask for one call, to be awaited."""
        raise UnableError

    @abstractmethod
    def close(self) -> None:
        """End the workers."""

    def warm(self, processes: int) -> None:
        """Wait until all workers have begun."""
        self.map(abs, range(processes * 100))
        self.map(abs, range(processes * 100))


class Serial(Peer):
    """The loop that no peer is needed for."""

    sends_closures = True

    def map(self, f: Callable[[T], R], items: Sequence[T], chunksize: int | None = None) -> list[R]:
        del chunksize
        return [f(item) for item in items]

    def stream(
        self, f: Callable[[T], R], items: Iterable[T], chunksize: int | None = None
    ) -> Iterator[R]:
        del chunksize
        return map(f, items)

    def close(self) -> None:
        """There is nothing to close."""


class Pmap(Peer):
    sends_closures = True

    def __init__(self, processes: int) -> None:
        self._map = ours.pmap.using(processes=processes)
        self._apply = ours.papply.using(processes=processes)

    def map(self, f: Callable[[T], R], items: Sequence[T], chunksize: int | None = None) -> list[R]:
        return self._map(f, items, chunksize=chunksize)

    def stream(
        self, f: Callable[[T], R], items: Iterable[T], chunksize: int | None = None
    ) -> Iterator[R]:
        del chunksize
        return self._map.iter(f, items)

    def submit(self, f: Callable[[T], R], item: T) -> Callable[[], R]:
        return self._apply.async_(f, item).get

    def call(self, f: Callable[[T], R], item: T) -> R:
        return self._apply(f, item)

    def awaitable(self, f: Callable[[T], R], item: T) -> Awaitable[R]:
        return self._apply.async_(f, item)

    def close(self) -> None:
        """Leave it to the end of the program, as a program would."""


class Multiprocessing(Peer):
    def __init__(self, processes: int) -> None:
        self._pool = get_context("forkserver").Pool(processes)

    def map(self, f: Callable[[T], R], items: Sequence[T], chunksize: int | None = None) -> list[R]:
        return self._pool.map(f, items, chunksize)

    def stream(
        self, f: Callable[[T], R], items: Iterable[T], chunksize: int | None = None
    ) -> Iterator[R]:
        return self._pool.imap(f, items, chunksize or 1)

    def submit(self, f: Callable[[T], R], item: T) -> Callable[[], R]:
        return self._pool.apply_async(f, (item,)).get

    def call(self, f: Callable[[T], R], item: T) -> R:
        return self._pool.apply(f, (item,))

    def close(self) -> None:
        self._pool.terminate()


class Futures(Peer):
    """What has the interface of ``concurrent.futures.Executor``."""

    most = 3_000

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def map(self, f: Callable[[T], R], items: Sequence[T], chunksize: int | None = None) -> list[R]:
        return list(self._executor.map(f, items, chunksize=chunksize or 1))

    def stream(
        self, f: Callable[[T], R], items: Iterable[T], chunksize: int | None = None
    ) -> Iterator[R]:
        return self._executor.map(f, items, chunksize=chunksize or 1)

    def submit(self, f: Callable[[T], R], item: T) -> Callable[[], R]:
        return self._executor.submit(f, item).result

    def awaitable(self, f: Callable[[T], R], item: T) -> Awaitable[R]:
        return asyncio.get_running_loop().run_in_executor(self._executor, f, item)

    def close(self) -> None:
        self._executor.shutdown()


class Loky(Futures):
    sends_closures = True

    def __init__(self, processes: int) -> None:
        super().__init__(import_module("loky").get_reusable_executor(max_workers=processes))


class Joblib(Peer):
    most = 100_000
    sends_closures = True

    def __init__(self, processes: int) -> None:
        self._module = import_module("joblib")
        self._processes = processes

    def _run(self, f: Callable[[T], R], items: Iterable[T], **options: object) -> Iterable[R]:
        delayed = self._module.delayed(f)
        parallel = self._module.Parallel(n_jobs=self._processes, **options)
        results: Iterable[R] = parallel(delayed(item) for item in items)
        return results

    def map(self, f: Callable[[T], R], items: Sequence[T], chunksize: int | None = None) -> list[R]:
        return list(self._run(f, items, batch_size=chunksize or "auto"))

    def stream(
        self, f: Callable[[T], R], items: Iterable[T], chunksize: int | None = None
    ) -> Iterator[R]:
        batch = chunksize or "auto"
        return iter(self._run(f, items, return_as="generator", batch_size=batch))

    def call(self, f: Callable[[T], R], item: T) -> R:
        return self.map(f, [item])[0]

    def close(self) -> None:
        """Leave it to the end of the program: joblib keeps its workers warm."""


class Mpire(Peer):
    most = 100_000

    def __init__(self, processes: int) -> None:
        # Any: mpire and pebble have no types.
        self._pool: Any = import_module("mpire").WorkerPool(
            n_jobs=processes, start_method="forkserver", keep_alive=True
        )

    def _rows(self, items: Iterable[object]) -> Iterable[object]:
        # It would take a list for arguments. A number it takes for one.
        return items if isinstance(items, range) else [(item,) for item in items]

    def map(self, f: Callable[[T], R], items: Sequence[T], chunksize: int | None = None) -> list[R]:
        results: list[R] = self._pool.map(
            f,
            self._rows(items),
            iterable_len=len(items),
            chunk_size=chunksize,
            concatenate_numpy_output=False,
        )
        return results

    def stream(
        self, f: Callable[[T], R], items: Iterable[T], chunksize: int | None = None
    ) -> Iterator[R]:
        results: Iterator[R] = self._pool.imap(f, self._rows(items), chunk_size=chunksize)
        return results

    def submit(self, f: Callable[[T], R], item: T) -> Callable[[], R]:
        get: Callable[[], R] = self._pool.apply_async(f, (item,)).get
        return get

    def close(self) -> None:
        self._pool.terminate()


class Pebble(Peer):
    most = 3_000

    def __init__(self, processes: int) -> None:
        self._pool: Any = import_module("pebble").ProcessPool(
            max_workers=processes, context=get_context("forkserver")
        )

    def map(self, f: Callable[[T], R], items: Sequence[T], chunksize: int | None = None) -> list[R]:
        results: Iterator[R] = self._pool.map(f, items, chunksize=chunksize or 1).result()
        return list(results)

    def stream(
        self, f: Callable[[T], R], items: Iterable[T], chunksize: int | None = None
    ) -> Iterator[R]:
        results: Iterator[R] = self._pool.map(f, items, chunksize=chunksize or 1).result()
        return results

    def submit(self, f: Callable[[T], R], item: T) -> Callable[[], R]:
        result: Callable[[], R] = self._pool.schedule(f, args=[item]).result
        return result

    def awaitable(self, f: Callable[[T], R], item: T) -> Awaitable[R]:
        result: asyncio.Future[R] = asyncio.wrap_future(self._pool.schedule(f, args=[item]))
        return result

    def close(self) -> None:
        self._pool.stop()
        self._pool.join()


class Ray(Peer):
    """Asked for large arrays only: it has a store of objects for them."""

    most = 3_000

    def __init__(self, processes: int) -> None:
        self._module: Any = import_module("ray")
        self._module.init(
            num_cpus=processes,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )

    def map(self, f: Callable[[T], R], items: Sequence[T], chunksize: int | None = None) -> list[R]:
        del chunksize  # each item is a task

        def run(item: T) -> R:
            return f(item)  # it takes no built-in function itself

        task = self._module.remote(run)
        results: list[R] = self._module.get([task.remote(item) for item in items])
        return results

    def close(self) -> None:
        self._module.shutdown()


def _executor(processes: int) -> Peer:
    return Futures(ProcessPoolExecutor(processes, mp_context=get_context("forkserver")))


PEERS: Final[dict[str, Callable[[int], Peer]]] = {
    "pmap": Pmap,
    "serial": lambda _: Serial(),
    "Pool": Multiprocessing,
    "PPE": _executor,
    "loky": Loky,
    "joblib": Joblib,
    "mpire": Mpire,
    "pebble": Pebble,
    "Ray": Ray,
}


@contextmanager
def started(name: str, processes: int) -> Generator[Peer]:
    """Give the peer with all its workers warm; end them afterwards."""
    peer = PEERS[name](processes)
    peer.warm(processes)
    try:
        yield peer
    finally:
        peer.close()
