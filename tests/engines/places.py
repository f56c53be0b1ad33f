"""The engines that the laws are tried on. Each is made when its tests begin, and ended after them.

Nothing is made when this module is imported: nodes of engines import it, too.
"""

import multiprocessing
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pmap import Options

TOP: Final = Path(__file__).parents[2]
PAGE: Final = TOP / "docs" / "backends.md"

_engines: dict[str, Any] = {}


@dataclass(frozen=True)
class Place:
    """An engine, by the name under which it stands in docs/backends.md.

    `inner`: the option ``inner_worker``. `live`: whether items run in this process.
    `instead`: what the table says of laws that are not tried on it.
    """

    name: str
    made: "Callable[[], AbstractContextManager[Any]]"
    inner: bool | None = None
    live: bool = False
    instead: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)


@dataclass(frozen=True)
class OnEngine:
    """What a test of the contract is given in place of `tests.backends.Settings`."""

    name: str
    inner: bool | None
    live: bool
    start_method: None = None

    @property
    def backend(self) -> str:
        """The word for a backend on which items can be ended as on this one."""
        return "threads" if self.live else "processes"

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
def interpreters() -> Generator[Any, None, None]:
    """Make an InterpreterPoolExecutor, which Python 3.14 has."""
    futures: Any = import_module("concurrent.futures")
    with futures.InterpreterPoolExecutor(4) as executor:
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
    """Start a Dask cluster of two worker processes; return the engine of the recipe."""
    distributed: Any = import_module("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, dashboard_address=None, host="127.0.0.1"
    )
    with cluster, distributed.Client(cluster) as client:
        yield recipe("dask")["DaskEngine"](client)


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


def recipe_text(name: str) -> str:
    """Return a recipe of docs/backends.md, as it stands there."""
    page = PAGE.read_text(encoding="utf-8")
    code = page.partition(f"<!-- recipe: {name} -->\n```python\n")[2].partition("```")[0]
    assert code, f"there is no recipe {name!r}"
    return code


def recipe(name: str) -> dict[str, Any]:
    """Return what a recipe of docs/backends.md defines, run as a module and not as a program."""
    space: dict[str, Any] = {"__name__": f"recipe_{name}"}
    exec(compile(recipe_text(name), f"<recipe {name}>", "exec"), space)
    return space


@contextmanager
def ray_cluster() -> Generator[Any, None, None]:
    """Start Ray on this machine; return the engine of the recipe."""
    ray: Any = import_module("ray")
    paths = os.pathsep.join([str(TOP / "src"), str(TOP)])
    ray.init(
        num_cpus=4,
        object_store_memory=200_000_000,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )
    try:
        yield recipe("ray")["RayEngine"]()
    finally:
        ray.shutdown()


@contextmanager
def mpi_ranks() -> Generator[Any, None, None]:
    """Return an executor on the processes that ``mpirun`` has started beside this one."""
    futures: Any = import_module("mpi4py.futures")
    with futures.MPIPoolExecutor() as executor:
        yield executor


@contextmanager
def executorlib_processes() -> Generator[Any, None, None]:
    """Make an executor of executorlib whose processes stay for further tasks."""
    executorlib: Any = import_module("executorlib")
    with executorlib.SingleNodeExecutor(max_workers=4, block_allocation=True) as executor:
        yield executor


# In the table: why a law is not tried.
_NO_END: Final = "refused: a thread cannot be ended"
_OF_THREADS: Final = {
    **dict.fromkeys(("timeout", "isolate"), _NO_END),
    "7 one item at most": "no: the program dies with the item",
    "initializer": "refused",
    "5 cancel": "no: a thread cannot be ended",
}
_OF_BARE: Final = {
    **dict.fromkeys(("timeout", "isolate", "initializer"), "refused"),
    "5 cancel": "no: the engine's worker is not ended",
    "7 one item at most": "no: the engine's worker dies",
    "10 environment": "no: those of the engine's worker",
}

THREADS: Final = Place("ThreadPoolExecutor", threads, live=True, instead=_OF_THREADS)
THREADS_INNER: Final = Place("ThreadPoolExecutor, inner workers", threads, inner=True)
PROCESSES: Final = Place("ProcessPoolExecutor", processes)
PROCESSES_BARE: Final = Place(
    "ProcessPoolExecutor, inner_worker=False", processes, inner=False, instead=_OF_BARE
)
INTERPRETERS: Final = Place("InterpreterPoolExecutor", interpreters)
LOKY: Final = Place("loky", loky_processes)
STANDARD_POOL: Final = Place("multiprocessing.Pool", standard_pool)
OUR_EXECUTOR: Final = Place("pmap.Executor", our_executor)
DASK: Final = Place("Dask", dask_cluster)
RAY: Final = Place("Ray", ray_cluster)
MPI: Final = Place("mpi4py.futures", mpi_ranks)
EXECUTORLIB: Final = Place("executorlib", executorlib_processes)
ALL: Final = (
    *(THREADS, THREADS_INNER, INTERPRETERS, PROCESSES, PROCESSES_BARE),
    *(LOKY, STANDARD_POOL, OUR_EXECUTOR, EXECUTORLIB, MPI, DASK, RAY),
)
