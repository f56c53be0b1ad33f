"""The engines that the laws are tried on. Each is made when its tests begin, and ended after them.

Nothing is made when this module is imported: nodes of engines import it, too.
"""

import multiprocessing
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pmap import Options

_engines: dict[str, Any] = {}


@dataclass(frozen=True)
class Place:
    """An engine, by the name under which it stands in docs/backends.md.

    `inner`: the option ``inner_worker``. `live`: whether items run in this process.
    """

    name: str
    made: "Callable[[], AbstractContextManager[Any]]"
    inner: bool | None = None
    live: bool = False


@dataclass(frozen=True)
class OnEngine:
    """What a test of the contract is given in place of `tests.backends.Settings`."""

    name: str
    inner: bool | None
    live: bool
    start_method: None = None

    @property
    def processes(self) -> bool:
        """Whether items run in processes of their own."""
        return not self.live

    def options(self, processes: int = 2, chunksize: int | None = None) -> "Options":
        """Return the options of a verb that runs on it."""
        return {
            "backend": _engines[self.name],
            "inner_worker": self.inner,
            "processes": processes,
            "chunksize": chunksize,
        }

    def may_begin_late(self, size: int) -> int:
        """Return how many items of a call may begin after one has failed.

        An engine cannot be told to end a chunk that runs.
        """
        return 1 if self.live else size


@contextmanager
def running(place: Place) -> Generator[OnEngine, None, None]:
    """Make the engine of a place; yield what tests are given; end the engine."""
    with place.made() as engine:
        _engines[place.name] = engine
        try:
            yield OnEngine(place.name, place.inner, place.live)
        finally:
            del _engines[place.name]


@contextmanager
def threads() -> Generator[Any, None, None]:
    """Make a ThreadPoolExecutor."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as executor:
        yield executor


@contextmanager
def processes() -> Generator[Any, None, None]:
    """Make a ProcessPoolExecutor."""
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=context) as executor:
        yield executor


@contextmanager
def loky_processes() -> Generator[Any, None, None]:
    """Make an executor of loky."""
    loky: Any = import_module("loky")
    executor = loky.get_reusable_executor(max_workers=4)
    yield executor
    executor.shutdown(kill_workers=True)


@contextmanager
def dask_cluster() -> Generator[Any, None, None]:
    """Start a Dask cluster of two worker processes; return the executor of its client."""
    distributed: Any = import_module("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, dashboard_address=None, host="127.0.0.1"
    )
    with cluster, distributed.Client(cluster) as client:
        yield client.get_executor(pure=False)


@contextmanager
def standard_pool() -> Generator[Any, None, None]:
    """Make a pool of multiprocessing."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        yield pool
    pool.join()


@contextmanager
def our_executor() -> Generator[Any, None, None]:
    """Make an Executor of pmap."""
    from pmap import Executor

    with Executor(4) as executor:
        yield executor


THREADS: Final = Place("ThreadPoolExecutor", threads, live=True)
THREADS_INNER: Final = Place("ThreadPoolExecutor, inner workers", threads, inner=True)
PROCESSES: Final = Place("ProcessPoolExecutor", processes)
PROCESSES_BARE: Final = Place("ProcessPoolExecutor, inner_worker=False", processes, inner=False)
LOKY: Final = Place("loky", loky_processes)
STANDARD_POOL: Final = Place("multiprocessing.Pool", standard_pool)
OUR_EXECUTOR: Final = Place("pmap.Executor", our_executor)
DASK: Final = Place("Dask", dask_cluster)
